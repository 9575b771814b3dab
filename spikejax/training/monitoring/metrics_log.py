"""WORKDIR/metrics.jsonl: every number that a run logs, a JSON object on each line.

    {"step": 100, "group": "training", "name": "loss", "value": 0.0123, "time": 1761926400.123}

`step` is the number of updates done, GROUP/NAME the curve, `time` seconds since 1970. A value that is not finite is
null, with a "text" beside it that says which one: "nan", "inf" or "-inf" (JSON has no word for them).

A run that goes on from step S removes the lines after S, which a process that was killed has left, and whatever is no
such line, as the last one that was cut: every point is there once. What a checkpoint at S is to follow is on disk
before it is (`flush`).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write

METRICS_LOG = "metrics.jsonl"


@dataclass(frozen=True)
class MetricPoint:
    """A line.

    Attributes:
        step: updates done.
        group: of curves, such as "training".
        name: of the curve within its group, such as "loss/charbonnier".
        value: the number, finite or not.
        time: when it was logged, seconds since 1970.
    """

    step: int
    group: str
    name: str
    value: float
    time: float

    @property
    def curve(self) -> str:
        """GROUP/NAME."""
        return f"{self.group}/{self.name}"

    def to_line(self) -> str:
        """The line, with its end."""
        value = {"value": self.value} if math.isfinite(self.value) else {"value": None, "text": str(self.value)}
        fields = {"step": self.step, "group": self.group, "name": self.name, **value, "time": round(self.time, 3)}
        return json.dumps(fields) + "\n"

    @classmethod
    def from_line(cls, line: str) -> MetricPoint:
        """The point of a line; raises ValueError for what is none."""
        try:
            fields: dict[str, Any] = json.loads(line)
            value = fields["value"] if fields["value"] is not None else fields["text"]
            point = cls(fields["step"], fields["group"], fields["name"], float(value), float(fields["time"]))
        except (KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"expected a point, found {type(error).__name__}") from error
        texts = isinstance(point.group, str) and isinstance(point.name, str)
        if not texts or type(point.step) is not int or point.step < 0 or not math.isfinite(point.time):
            raise ValueError("expected a point, found a value of another kind")
        return point


def read_points(path: Path) -> Iterator[MetricPoint]:
    """Yields the points of a file, if there is one; lines that are none, as those that were cut, are left out.

    Raises:
        InputError: what is there is no file, or cannot be read.
    """
    if not path.exists():
        return
    for line in _content(path).split(b"\n"):
        try:
            yield MetricPoint.from_line(line.decode())
        except ValueError:
            continue


def _content(path: Path) -> bytes:
    """The bytes of a file, as a line may be cut within a letter."""
    if not path.is_file():  # of a pipe, reading would wait
        raise InputError(f"expected a file, found {'a folder' if path.is_dir() else 'no plain file'}: {path}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"expected a file that can be read, found {error.strerror}: {path}") from error


class MetricsLog:
    """The file of a run under way.

    Attributes:
        removed: what was there of steps after the one that the run goes on from.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        """Removes what does not belong to a run that has done `step` updates."""
        points = list(read_points(path))
        kept = [point for point in points if point.step <= step]
        self.removed = [point for point in points if point.step > step]
        self._step = step
        # Written already at this step: by a validation at the end, say, before the process was stopped.
        self._written = {point.curve for point in kept if point.step == step}
        text = "".join(point.to_line() for point in kept)
        if not path.exists() or path.read_bytes() != text.encode():
            with atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8", newline="\n")
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def write(self, step: int, group: str, values: Mapping[str, float]) -> dict[str, float]:
        """Adds a point to each curve of a group.

        Returns:
            what was added: a point that is there already, of the step that the run went on from, is not added again.
        """
        now = time.time()
        points = [MetricPoint(step, group, name, float(value), now) for name, value in values.items()]
        added = [point for point in points if step != self._step or point.curve not in self._written]
        self._written |= {point.curve for point in added if step == self._step}
        self._file.write("".join(point.to_line() for point in added))
        self._file.flush()
        return {point.name: point.value for point in added}

    def holds(self, group: str) -> bool:
        """Whether there is a point of the group, of the step that the run goes on from."""
        return any(curve.startswith(f"{group}/") for curve in self._written)

    def flush(self) -> None:
        """Returns when all that was written is on disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends writing."""
        try:
            self.flush()
        finally:
            self._file.close()
