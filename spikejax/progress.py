"""Progress of long work: how much is done, how fast, and how long the rest will take.

On a terminal and in a notebook it is a bar of tqdm's; in a log, a line now and then; for other programs
(`--progress json`), a JSON object a line with task, done, total, unit, rate (units a second) and seconds_left, of which
total, rate and seconds_left are null where they are not known. `--quiet` shows none of it, nor what a command is about
to do; `--verbose` says more of that.

A total may be no more than what a file announces: once more than that is done, nobody knows it, and work that ends
earlier has done all that there was.
"""

import json
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

Item = TypeVar("Item")

STYLES = ("text", "json")
_NONE = "none"  # with --quiet
# On a terminal the bar is drawn in place; in a log file lines would fill pages, so there they come rarely.
_BAR_SECONDS, _JSON_SECONDS, _LOG_SECONDS = 0.2, 1.0, 10.0
_BAR_WIDTH, _BARS_AT_ONCE = 20, 20
_SHORTEST = 1e-9  # seconds for a unit, below which a rate says nothing
_drawing = threading.RLock()
# Of the process, as its stderr is.
_style = "text"
_verbose = False


@runtime_checkable
class Stream(Protocol):
    """What progress is written to: a file of text, such as stderr."""

    def write(self, text: str, /) -> int:
        """Writes a text."""

    def flush(self) -> None:
        """Lets readers have what was written."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""

    def fileno(self) -> int:
        """The file descriptor; raises `OSError` where there is none."""


def show_progress_as(style: str, *, verbose: bool = False) -> None:
    """Has all progress of this process shown as the options of `spikejax.cli.add_progress` say.

    Args:
        style: one of `STYLES`, or "none".
        verbose: whether `say_detail` says something.
    """
    global _style, _verbose
    assert style in (*STYLES, _NONE), style
    _style, _verbose = style, verbose


def is_quiet() -> bool:
    """Whether nothing is to be said but warnings, errors and results."""
    return _style == _NONE


def say(text: str, stream: Stream | None = None) -> None:
    """Says on stderr, or a stream, what the work has come to, unless the command was asked to be quiet."""
    if not is_quiet():
        print(text, file=stream or sys.stderr, flush=True)


def say_detail(text: str) -> None:
    """Says on stderr what is of interest where the command was asked to be verbose."""
    if _verbose:
        print(text, file=sys.stderr, flush=True)


def shows_json() -> bool:
    """Whether progress is written for other programs."""
    return _style == "json"


@dataclass(frozen=True)
class Standing:
    """How far some work is.

    Attributes:
        task: what is being done.
        done: units that are done.
        total: number of units, None if it is not known.
        unit: what is counted, in the singular.
        rate: units a second, None if it is not known yet.
        seconds_left: None if it is not known.
    """

    task: str
    done: int
    total: int | None
    unit: str
    rate: float | None = None
    seconds_left: float | None = None

    def json_line(self) -> str:
        """A JSON object in one line."""
        return json.dumps({name: round(v, 3) if isinstance(v, float) else v for name, v in vars(self).items()})

    def counted(self, pace: str) -> str:
        """The units in words, such as "120/420 frames", and the pace behind them."""
        of_total = "" if self.total is None else f"/{self.total}"
        return ", ".join(part for part in (f"{self.done}{of_total} {self.unit}s", pace) if part)


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
        seconds = self._seconds(done)
        if seconds is None:
            return ""
        left = self._seconds_left(done, seconds)
        return rate(seconds, self._unit) + ("" if left is None else f", {duration(left)} left")

    def standing(self, task: str, done: int) -> Standing:
        """The same in numbers."""
        seconds = self._seconds(done)
        if seconds is None:
            return Standing(task, done, self._believed(done), self._unit)
        per_second = 1 / max(seconds, _SHORTEST)
        return Standing(task, done, self._believed(done), self._unit, per_second, self._seconds_left(done, seconds))

    def _believed(self, done: int) -> int | None:
        """The total, unless more than that is done."""
        return None if self._total is None or done > self._total else self._total

    def _seconds(self, done: int) -> float | None:
        """Seconds for a unit."""
        if self._first is None or done <= self._first[0]:
            return None
        return (self._clock() - self._first[1]) / (done - self._first[0])

    def _seconds_left(self, done: int, seconds: float) -> float | None:
        total = self._believed(done)
        return None if total is None else seconds * (total - done)


class Progress:
    """A line such as `writing scenes: 120/420 frames, 35.1 frames/s, 9 s left`; safe to use from several threads."""

    def __init__(
        self,
        task: str,
        *,
        total: int | None,
        unit: str,
        stream: Stream | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
            task: what is being done.
            total: number of units, as far as it is known before; None if it is not.
            unit: what is counted, in the singular.
            stream: where to write to, default stderr.
            clock: the time in seconds.
        """
        self._task, self._total, self._unit, self._clock = task, total, unit, clock
        self._pace = Pace(total, unit=unit, clock=clock)
        self._done = 0
        self._started_at = self._shown_at = clock()
        self._lock = threading.Lock()
        self._view = _open_view(stream, Standing(task, 0, total, unit))

    def advance(self, count: int = 1) -> None:
        """Counts finished units and shows the line, now and then."""
        with self._lock:
            self._done += count
            if not self._pace.started:
                self._pace.start(self._done)
            now = self._clock()
            if now - self._shown_at >= self._view.interval:
                self._shown_at = now
                self._view.show(self._pace.standing(self._task, self._done), self._pace.text(self._done))

    def finish(self, *, complete: bool = True) -> None:
        """Shows the last line: all of the time, and the rate over all of it.

        Args:
            complete: whether all is done, however much there was said to be; otherwise the work is given up.
        """
        with self._lock:
            seconds = self._clock() - self._started_at
            each = max(seconds / max(self._done, 1), _SHORTEST)
            total = self._done if complete and self._total is not None else self._total
            standing = Standing(self._task, self._done, total, self._unit, 1 / each if self._done else None, 0.0)
            self._view.close(standing, f"{rate(each, self._unit)}, {duration(seconds)}" if self._done else "")


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
    complete = False
    try:
        for item in items:
            yield item
            progress.advance(size(item))
        complete = True
    finally:
        progress.finish(complete=complete)


def rate(seconds: float, unit: str) -> str:
    """Units per second, or seconds per unit where that is the larger number.

    Args:
        seconds: for one unit.
        unit: in the singular.
    """
    if seconds > 1:
        return f"{seconds:.1f} s/{unit}"
    return f"{1 / max(seconds, _SHORTEST):.1f} {unit}s/s"


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


def count_text(count: int, noun: str) -> str:
    """How many of something there are: "1 frame", "1,250 frames"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def byte_text(count: float) -> str:
    """A number of bytes in the largest unit that leaves a whole number before the point."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


# ---- What shows it: `interval` is the seconds between two times; `close` is the last time ----


class _LogLines:
    """A line of text each time."""

    interval = _LOG_SECONDS

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def show(self, standing: Standing, pace: str) -> None:
        """Shows where the work stands; `pace` is its pace in words."""
        print(f"{standing.task}: {standing.counted(pace)}", file=self._stream, flush=True)

    close = show


class _Nothing:
    """Nothing, ever."""

    interval = float("inf")

    def show(self, standing: Standing, pace: str) -> None:
        """Shows nothing."""

    close = show


class _JsonLines:
    """A JSON object each time, and one before anything is done."""

    interval = _JSON_SECONDS

    def __init__(self, stream: Stream, standing: Standing) -> None:
        self._stream = stream
        self.show(standing, "")

    def show(self, standing: Standing, pace: str) -> None:
        """Shows where the work stands; `pace` is its pace in words."""
        print(standing.json_line(), file=self._stream, flush=True)

    close = show


class _Bar:
    """A bar of tqdm's, on a terminal or in a notebook.

    tqdm draws it; when, and at what pace, is decided here: by its own clock compiling would count.
    """

    interval = _BAR_SECONDS

    def __init__(self, stream: Stream, standing: Standing) -> None:
        kind, notebook = _bar_class()
        # A notebook's bar has the width that is left.
        self._bar_text = "{bar}" if notebook else f"{{bar:{_BAR_WIDTH}}}"
        self._stream = None if notebook else stream
        # A terminal without a window has 0 rows and columns, at which tqdm writes nothing.
        size = {"nrows": _BARS_AT_ONCE, "ncols": self._columns()}
        self._bar = kind(total=standing.total, file=stream, bar_format=self._format(standing, ""), **size)

    def show(self, standing: Standing, pace: str) -> None:
        """Shows where the work stands; `pace` is its pace in words."""
        self._set(standing, pace)
        self._bar.refresh()

    def close(self, standing: Standing, pace: str) -> None:
        """Shows it for the last time, and goes on to the next line."""
        self._set(standing, pace)
        self._bar.close()

    def _set(self, standing: Standing, pace: str) -> None:
        self._bar.n, self._bar.total = standing.done, standing.total
        self._bar.bar_format = self._format(standing, pace)
        self._bar.ncols = self._columns()

    def _columns(self) -> int | None:
        """The longest line that does not wrap; None in a notebook."""
        if self._stream is None:
            return None
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except OSError:
            columns = 0
        return (columns or shutil.get_terminal_size().columns) - 1

    def _format(self, standing: Standing, pace: str) -> str:
        """What tqdm draws: it fills in the bar, and cuts the line at the width of the terminal."""
        texts = (standing.task, standing.counted(pace))
        task, counted = (text.replace("{", "{{").replace("}", "}}") for text in texts)
        return f"{task} |{self._bar_text}| {counted}" if standing.total else f"{task}: {counted}"


def _open_view(stream: Stream | None, standing: Standing) -> _LogLines | _JsonLines | _Bar | _Nothing:
    """The view that fits where stderr, or another stream, goes to."""
    target = stream or sys.stderr
    if is_quiet():
        return _Nothing()
    if shows_json():
        return _JsonLines(target, standing)
    if target.isatty() or (stream is None and "IPython" in sys.modules and _bar_class()[1]):
        return _Bar(target, standing)
    return _LogLines(target)


def _bar_class() -> tuple[Any, bool]:
    """The tqdm of a notebook in a notebook, else that of a terminal; and whether it is the former."""
    # Imported only where a bar is drawn, since it takes a while.
    from tqdm import std

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", std.TqdmExperimentalWarning)
        from tqdm.autonotebook import tqdm

    class Bar(tqdm):
        # No thread that draws a bar which has stopped, and no lock that is shared with other processes.
        monitor_interval = 0
        _lock = _drawing

    return Bar, tqdm is not std.tqdm
