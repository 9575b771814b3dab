"""Progress of long work: how much is done, how fast, and how long the rest will take."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

Item = TypeVar("Item")

# On a terminal the line is rewritten in place; in a log file it would fill pages, so there it comes rarely.
_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 10.0


class Pace:
    """How fast units get done, and how long the rest will take.

    The clock starts when the first of them are done: what comes before (compiling, starting workers) is not repeated.
    """

    def __init__(self, total: int | None, *, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Waits for the first units.

        Args:
            total: number of units, None if it is not known.
            unit: what is counted, in the singular.
            clock: the time in seconds.
        """
        self._total, self._unit, self._clock = total, unit, clock
        self._first: tuple[int, float] | None = None

    @property
    def started(self) -> bool:
        """Whether the first units are done."""
        return self._first is not None

    def start(self, done: int) -> None:
        """Starts the clock, with `done` units done."""
        self._first = done, self._clock()

    def text(self, done: int) -> str:
        """What is known with `done` units done, such as "35.1 frames/s, 9 s left"; "" before the first are done."""
        if self._first is None or done <= self._first[0]:
            return ""
        seconds = (self._clock() - self._first[1]) / (done - self._first[0])
        left = "" if self._total is None else f", {duration(seconds * max(self._total - done, 0))} left"
        return rate(seconds, self._unit) + left


class Progress:
    """A line such as `writing scenes: 120/420 frames, 35.1 frames/s, 9 s left`; safe to use from several threads."""

    def __init__(
        self,
        task: str,
        *,
        total: int | None,
        unit: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
            task: what is being done.
            total: number of units, None if it is not known.
            unit: what is counted, in the singular.
            stream: where to write to, default stderr.
            clock: the time in seconds.
        """
        self._task, self._total, self._unit, self._clock = task, total, unit, clock
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty()
        self._pace = Pace(total, unit=unit, clock=clock)
        self._done = 0
        self._started_at = self._shown_at = clock()
        self._lock = threading.Lock()

    def advance(self, count: int = 1) -> None:
        """Counts finished units and shows the line, now and then."""
        with self._lock:
            self._done += count
            if not self._pace.started:
                self._pace.start(self._done)
            now = self._clock()
            if now - self._shown_at >= (_TERMINAL_SECONDS if self._in_place else _LOG_SECONDS):
                self._shown_at = now
                self._show(self._pace.text(self._done))

    def finish(self) -> None:
        """Shows the last line: all of the time, and the rate over all of it."""
        with self._lock:
            seconds = self._clock() - self._started_at
            self._show(f"{rate(seconds / max(self._done, 1), self._unit)}, {duration(seconds)}" if self._done else "")
            if self._in_place:
                print(file=self._stream)

    def _show(self, pace: str) -> None:
        of_total = "" if self._total is None else f"/{self._total}"
        text = ", ".join(part for part in (f"{self._task}: {self._done}{of_total} {self._unit}s", pace) if part)
        if self._in_place:
            # A line that wraps could not be rewritten.
            print(f"\r{text[: shutil.get_terminal_size().columns - 1]}\033[K", end="", file=self._stream, flush=True)
        else:
            print(text, file=self._stream, flush=True)


def with_progress(
    items: Iterable[Item], task: str, *, total: int | None, unit: str, size: Callable[[Item], int] = lambda _: 1
) -> Iterator[Item]:
    """Yields `items` and shows how many of them were worked on.

    Args:
        items: what is worked on.
        task: what is being done.
        total: number of units, None if it is not known.
        unit: what is counted, in the singular.
        size: units of an item.
    """
    progress = Progress(task, total=total, unit=unit)
    try:
        for item in items:
            yield item
            progress.advance(size(item))
    finally:
        progress.finish()


def rate(seconds: float, unit: str) -> str:
    """Units per second, or seconds per unit where that is the larger number.

    Args:
        seconds: for one unit.
        unit: in the singular.
    """
    if seconds > 1:
        return f"{seconds:.1f} s/{unit}"
    return f"{1 / max(seconds, 1e-9):.1f} {unit}s/s"


def duration(seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = round(seconds)
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60:02d} min"
    if minutes:
        return f"{minutes} min {whole % 60:02d} s"
    return f"{whole} s"


def byte_text(count: float) -> str:
    """A number of bytes in the largest unit that leaves a whole number before the point."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
