"""What the time of a run went to, over all the processes that it took: which part of it made progress.

WORKDIR/goodput.json has a process after the other, each with the seconds by cause that are not those of updates; what
is left over are updates. A process that goes on from an earlier step than the one before it came to does updates again:
the time that those took then counts as lost to `redone`. Time between two processes belongs to none of them and is
stated beside them, from the last that is known of one to the start of the next.

    {"processes": [{"started": 1761926400.1, "heard": 1761926460.2, "from": 0, "to": 40, "seconds": 60.1,
                    "spent": {"starting": 4.0, "compiling": 20.1, ...}}]}
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spikejax.errors import InputError
from spikejax.io.json_files import read_json, write_json
from spikejax.progress import duration

GOODPUT = "goodput.json"
# Time that updates do not take, by what it is lost to. "stalled": until --stall-seconds ended the process.
CAUSES = ("starting", "reading", "compiling", "data", "saving", "validation", "redone", "stalled")
# Between two writes of the file, unless what is logged is about to be kept.
_SECONDS = 10.0


@dataclasses.dataclass
class ProcessTime:
    """The time of one process of a run.

    Attributes:
        started: when, in seconds since 1970.
        heard: when it said something last.
        first: updates done when it began.
        last: updates done.
        seconds: that it took.
        spent: of those, by cause.
    """

    started: float
    heard: float
    first: int
    last: int
    seconds: float
    spent: dict[str, float]

    @property
    def updating(self) -> float:
        """Seconds of updates that count."""
        return max(0.0, self.seconds - sum(self.spent.values()))

    def go_back_to(self, step: int) -> None:
        """Counts the updates after `step` as done for nothing."""
        kept = max(step, self.first)
        if kept < self.last:
            lost = self.updating * (self.last - kept) / (self.last - self.first)
            self.spent["redone"] = self.spent.get("redone", 0.0) + lost
            self.last = kept

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        spent = {cause: round(seconds, 3) for cause, seconds in self.spent.items() if seconds}
        return {
            "started": round(self.started, 3),
            "heard": round(self.heard, 3),
            "from": self.first,
            "to": self.last,
            "seconds": round(self.seconds, 3),
            "spent": spent,
        }

    @classmethod
    def from_json(cls, fields: Any) -> ProcessTime:
        """Of the file; raises ValueError for what is none."""
        try:
            spent = {cause: float(fields["spent"].get(cause, 0.0)) for cause in CAUSES}
            numbers = [float(fields[name]) for name in ("started", "heard", "seconds")]
            first, last = fields["from"], fields["to"]
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError("expected the time of a process") from error
        whole = type(first) is int and type(last) is int and 0 <= first <= last
        if not whole or not all(map(math.isfinite, [*numbers, *spent.values()])) or min(spent.values()) < 0:
            raise ValueError("expected the time of a process")
        return cls(numbers[0], numbers[1], first, last, numbers[2], spent)


class Goodput:
    """The account of a run's time, which the first host keeps."""

    def __init__(
        self,
        path: Path | None,
        *,
        step: int,
        started: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Goes on with the account of earlier processes.

        Args:
            path: the file; None = nothing is read or written.
            step: updates done.
            started: when this process was, by `clock`.
            clock: seconds that nobody sets.
            wall: seconds since 1970.
            note: told, in one line, that what was there cannot be used.
        """
        self._path, self._clock, self._wall, self._begin = path, clock, wall, started
        self._before = _read(path, note)
        self.redone = max([process.last for process in self._before], default=step) - step
        for process in self._before:
            process.go_back_to(step)
        elapsed = clock() - started
        self._own = ProcessTime(wall() - elapsed, wall(), step, step, elapsed, dict.fromkeys(CAUSES, 0.0))
        self._written = -math.inf

    @property
    def goes_on(self) -> bool:
        """Whether the run had a process before this one."""
        return bool(self._before)

    def add(self, cause: str, seconds: float) -> None:
        """Counts seconds for a cause."""
        self._own.spent[cause] += seconds

    @contextlib.contextmanager
    def spent_on(self, cause: str) -> Iterator[None]:
        """Counts the block's time for a cause."""
        begin = self._clock()
        try:
            yield
        finally:
            self.add(cause, self._clock() - begin)

    def first_update(self) -> float:
        """Seconds from the start of the process until now, when its first update is done.

        Those that no cause has are the start's.
        """
        seconds = self._clock() - self._begin
        self._own.spent["starting"] = max(0.0, seconds - sum(self._own.spent.values()))
        return seconds

    def count(self, step: int) -> None:
        """Notes the updates that are done."""
        self._own.last = step

    def stalled(self, seconds: float) -> None:
        """Notes that nothing has ended for so long, and that the process ends."""
        self.add("stalled", seconds)
        self.write(at_once=True)

    def write(self, *, at_once: bool = False) -> None:
        """Writes the file, if it is a while since that was done last."""
        now = self._clock()
        if self._path is None or not (at_once or now - self._written >= _SECONDS):
            return
        self._written = now
        self._hear()
        write_json(self._path, {"processes": [process.to_json() for process in (*self._before, self._own)]})

    def totals(self) -> dict[str, float]:
        """The account so far, over all processes.

        Returns:
            "share" of the time that made progress, from 0 to 1; seconds of "updating", of each cause, and "between"
            processes; the number of "processes".
        """
        self._hear()
        processes = [*self._before, self._own]
        whole = sum(process.seconds for process in processes)
        updating = sum(process.updating for process in processes)
        spent = {cause: sum(process.spent.get(cause, 0.0) for process in processes) for cause in CAUSES}
        gaps = (max(0.0, after.started - before.heard) for before, after in zip(processes, processes[1:], strict=False))
        share = updating / whole if whole > 0 else 0.0
        return {"share": share, "updating": updating, **spent, "between": sum(gaps), "processes": len(processes)}

    def text(self) -> str:
        """The totals, in a line."""
        return goodput_text(self.totals())

    def _hear(self) -> None:
        self._own.heard, self._own.seconds = self._wall(), self._clock() - self._begin


def goodput_text(totals: Mapping[str, float]) -> str:
    """What `Goodput.totals` says, in a line: the causes that took a second or more, the longest first."""
    whole = totals["updating"] + sum(totals[cause] for cause in CAUSES)
    lost = sorted((cause for cause in CAUSES if totals[cause] >= 1), key=lambda cause: -totals[cause])
    count = int(totals["processes"])
    of = f"{duration(whole)} in {count} process{'es' if count > 1 else ''}"
    causes = ", ".join(f"{cause} {duration(totals[cause])}" for cause in lost)
    between = f"; {duration(totals['between'])} between processes" if totals["between"] >= 1 else ""
    return f"{100 * totals['share']:.0f}% of {of} made progress{'; ' if causes else ''}{causes}{between}"


def _read(path: Path | None, note: Callable[[str], None]) -> list[ProcessTime]:
    if path is None:
        return []
    try:
        content = read_json(path)
        if content is None:
            return []
        processes = content.get("processes")
        if not isinstance(processes, list):
            raise ValueError("expected a list")
        return [ProcessTime.from_json(fields) for fields in processes]
    except (InputError, ValueError):
        note(f"the time of earlier processes cannot be read, and is counted from now on: {path}")
        return []
