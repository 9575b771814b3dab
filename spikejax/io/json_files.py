"""JSON files that hold one mapping: readable, and written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.paths import UserPath


def write_json(path: UserPath, content: Mapping[str, Any]) -> None:
    """Writes a mapping as readable JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: UserPath) -> dict[str, Any] | None:
    """The mapping in a JSON file, None if there is no file; raises `InputError` if it holds anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"expected JSON, found {type(error).__name__} ({error}): {path}") from error
    if not isinstance(content, dict):
        raise InputError(f"expected a JSON object, found {type(content).__name__}: {path}")
    return content
