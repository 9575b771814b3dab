"""The folder that a preparation writes: begun once, continued by the same settings alone, by one process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spikejax.data.datasets.layout import DESCRIPTION, UNFINISHED, read_description, write_description
from spikejax.errors import InputError
from spikejax.io import alone
from spikejax.io.places import check_can_be_written, resolved

# Locked while a preparation is at work, by the system, which also lets go of it for a process that was killed.
_LOCK = ".prepare.lock"


def check_apart(source: Path, root: Path) -> None:
    """Raises `InputError` if the output lies in the source, or the other way round."""
    here, there = root.resolve(), source.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise InputError(f"expected an output apart from the source, found {root} and {source}")


def check_continues(root: Path, description: Mapping[str, Any]) -> None:
    """Raises `InputError` where there is something else than a data set that was begun with the same settings.

    So it does where there is none and none can be written.
    """
    place = resolved(root)
    if place.exists() and not place.is_dir():
        raise InputError(f"expected a folder to write to, found a file: {root}")
    present = read_description(root)
    if present is not None:
        differing = [key for key, value in description.items() if present.get(key) != value]
        if differing:
            wanted, existing = (
                ", ".join(f"{key} {values.get(key)!r}" for key in differing) for values in (description, present)
            )
            raise InputError(f"expected a data set with {wanted}, found one with {existing}: {root / DESCRIPTION}")
        return
    if place.exists() and not all(map(_is_ours, place.iterdir())):
        raise InputError(f"expected a new or empty folder, or one that was begun before, found something else: {root}")
    check_can_be_written(place / DESCRIPTION)


def begin(root: Path, description: Mapping[str, Any]) -> None:
    """Begins a data set, unless it was begun before."""
    if read_description(root) is not None:
        return
    root.mkdir(parents=True, exist_ok=True)
    (root / UNFINISHED).touch()
    write_description(root, description)


def _is_ours(entry: Path) -> bool:
    """Whether a file is one that a preparation leaves that was killed before it knew what to write."""
    return entry.name in (UNFINISHED, _LOCK) or (entry.name.startswith(".") and ".partial" in entry.name)


@contextlib.contextmanager
def working_alone(root: Path) -> Iterator[None]:
    """Marks a data set as unfinished, and keeps other processes from working on it at the same time.

    Raises:
        InputError: another process does; or nothing can be written there any more.
    """
    # A file of its own: Windows does not let one be removed that is locked.
    with alone.working_alone(root / _LOCK, root):
        (root / UNFINISHED).touch()
        for leftover in root.rglob(".*.partial*"):  # of a process that was killed
            leftover.unlink()
        yield
