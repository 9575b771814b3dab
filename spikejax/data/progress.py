"""Progress of a long job on the terminal: how much is done, how fast, and how long it will still take."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

# On a terminal the line is rewritten in place; in a log file it would fill pages, so there it comes rarely.
_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 10.0


class Progress:
    """A line such as `writing scenes: 120/420 frames, 35.1/s, 9 s left`; safe to call from several threads."""

    def __init__(self, task: str, *, total: int | None, unit: str, stream: TextIO | None = None):
        """Starts the clock.

        Args:
            task: what is being done.
            total: number of units, None if it is not known.
            unit: plural of what is counted.
            stream: where to write to, default stderr.
        """
        self._task = task
        self._total = total
        self._unit = unit
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty()
        self._done = 0
        self._start = self._last = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, count: int = 1) -> None:
        """Counts finished units and shows the line, now and then."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._last >= (_TERMINAL_SECONDS if self._in_place else _LOG_SECONDS):
                self._last = now
                self._show(now)

    def finish(self) -> None:
        """Shows the last line."""
        with self._lock:
            self._show(time.monotonic())
            if self._in_place:
                print(file=self._stream)

    def _show(self, now: float) -> None:
        seconds = max(now - self._start, 1e-9)
        rate = self._done / seconds
        of_total = "" if self._total is None else f"/{self._total}"
        text = f"{self._task}: {self._done}{of_total} {self._unit}, {rate:.1f}/s"
        if self._total is not None and self._done < self._total and rate > 0:
            text += f", {(self._total - self._done) / rate:.0f} s left"
        else:
            text += f", {seconds:.1f} s"
        start, end = ("\r", "\033[K") if self._in_place else ("", "\n")
        print(start + text, end=end, file=self._stream, flush=True)
