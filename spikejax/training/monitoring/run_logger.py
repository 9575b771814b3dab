"""What a logger is: something that a run's metrics, texts and pictures are handed to, such as TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from spikejax.errors import InputError
from spikejax.io.json_files import read_json


@dataclass(frozen=True)
class RunStart:
    """A run that begins, or goes on.

    Attributes:
        workdir: its folder.
        step: updates done. Whatever a logger has of later steps was handed to it by a process that was killed, and
            will come again.
        handed_over: (step, GROUP/NAME) of the points after `step` that such a process has logged.
        settings: every value of the configuration, by its dotted key.
    """

    workdir: Path
    step: int
    handed_over: frozenset[tuple[int, str]]
    settings: Mapping[str, Any]


class RunLogger:
    """The base of loggers. Everything but `scalars` may stay as it is: left out."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes a point of each curve GROUP/NAME; values may be NaN and infinite."""
        raise NotImplementedError

    def texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Takes texts by their names: the configuration, versions, the table of parameters."""

    def pictures(self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> None:
        """Takes pictures by their names."""

    def flush(self) -> None:
        """Brings to disk what was handed over, as far as that is this process's affair: a checkpoint follows."""

    def close(self) -> None:
        """Ends the run, which may go on later in another process."""


def read_identity(path: Path, *names: str) -> dict[str, str] | None:
    """What a logger calls the run, kept in a JSON file of texts with these names; None if there is no file.

    Raises:
        InputError: the file holds anything else.
    """
    kept = read_json(path)
    if kept is not None and not all(isinstance(kept.get(name), str) for name in names):
        raise InputError(
            f"expected the texts {', '.join(names)} (without the file a new run begins), found none: {path}"
        )
    return kept
