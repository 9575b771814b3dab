"""Progress of long work, with a clock that the tests turn."""

import contextlib
import io
import json
import os
import struct
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest
from tqdm import std

from spikejax import cli
from spikejax.errors import InputError
from spikejax.progress import (
    Pace,
    Progress,
    byte_text,
    count_text,
    duration,
    rate,
    say,
    say_detail,
    show_progress_as,
    with_progress,
)


@pytest.fixture
def json_style() -> Iterator[None]:
    """Progress in JSON, for one test."""
    show_progress_as("json")
    yield
    show_progress_as("text")


def test_the_time_before_the_first_units_is_no_part_of_the_pace() -> None:
    """Catches an estimate that repeats the compilation for every unit, or has it end before it is done."""
    now = [0.0]
    pace = Pace(100, unit="frame", clock=lambda: now[0])
    assert (pace.started, pace.text(0)) == (False, "")
    now[0] = 50.0
    pace.start(2)
    assert (pace.started, pace.text(2)) == (True, "")
    now[0] = 60.0
    assert pace.text(22) == "2.0 frames/s, 39 s left"
    assert pace.text(7) == "2.0 s/frame, 3 min 06 s left"
    assert pace.text(100).endswith(", 0 s left")
    assert "left" not in pace.text(101)


def test_one_is_no_plural() -> None:
    """Catches "1 frames"."""
    assert [count_text(count, "frame") for count in (0, 1, 2, 1250)] == [
        "0 frames",
        "1 frame",
        "2 frames",
        "1,250 frames",
    ]


def test_a_log_gets_few_lines_and_a_last_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a log with a line per frame, and one that says nothing of how it ended."""
    now = [0.0]
    progress = Progress("writing", total=100, unit="frame", clock=lambda: now[0])
    for _ in range(100):
        now[0] += 0.25
        progress.advance()
    progress.finish()
    assert capsys.readouterr().err.splitlines() == [
        "writing: 40/100 frames, 4.0 frames/s, 15 s left",
        "writing: 80/100 frames, 4.0 frames/s, 5 s left",
        "writing: 100/100 frames, 4.0 frames/s, 25 s",
    ]


def counts(progress: Progress, now: list[float], units: int) -> None:
    """Does so many units, a second each, and ends."""
    for _ in range(units):
        now[0] += 1.0
        progress.advance()
    progress.finish()


def test_a_file_that_announces_another_number(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches 50/25 frames, 0 s left that last for long, and an end that looks as if half were missing."""
    now = [0.0]
    counts(Progress("restoring", total=25, unit="frame", clock=lambda: now[0]), now, 45)
    assert capsys.readouterr().err.splitlines() == [
        "restoring: 10/25 frames, 1.0 frames/s, 15 s left",
        "restoring: 20/25 frames, 1.0 frames/s, 5 s left",
        "restoring: 30 frames, 1.0 frames/s",
        "restoring: 40 frames, 1.0 frames/s",
        "restoring: 45/45 frames, 1.0 frames/s, 45 s",
    ]
    counts(Progress("restoring", total=25, unit="frame", clock=lambda: now[0]), now, 15)
    assert capsys.readouterr().err.splitlines()[1:] == ["restoring: 15/15 frames, 1.0 frames/s, 15 s"]


def test_a_file_that_announces_another_number_for_programs(
    capsys: pytest.CaptureFixture[str], json_style: None
) -> None:
    """Catches a total that is less than what is done, by which a program's bar would go over its end."""
    now = [0.0]
    counts(Progress("restoring", total=2, unit="frame", clock=lambda: now[0]), now, 4)
    counts(Progress("restoring", total=8, unit="frame", clock=lambda: now[0]), now, 4)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    more = [(0, 2, None), (1, 2, None), (2, 2, 0.0), (3, None, None), (4, None, None), (4, 4, 0.0)]
    less = [(0, 8, None), (1, 8, None), (2, 8, 6.0), (3, 8, 5.0), (4, 8, 4.0), (4, 4, 0.0)]
    assert [(line["done"], line["total"], line["seconds_left"]) for line in lines] == more + less


def test_a_bar_of_a_file_that_announces_another_number() -> None:
    """Catches a bar that goes back to empty at its end, or that stays half full."""
    for total, units in ((2, 4), (8, 4)):
        now, screen = [0.0], Screen()
        counts(
            Progress("restoring", total=total, unit="frame", stream=screen, clock=lambda now=now: now[0]), now, units
        )
        shown = screen.getvalue().split("\r")
        assert shown[-1].startswith("restoring |####################| 4/4 frames, ")
        assert ("restoring: 3 frames, " in screen.getvalue()) == (total == 2)


class Screen(io.StringIO):
    """A terminal, as far as it can be asked."""

    def isatty(self) -> bool:
        """See `Stream`."""
        return True


def read_all(descriptor: int) -> str:
    """What was written to a terminal that nobody writes to any more."""
    parts = []
    with contextlib.suppress(OSError):  # Linux's end of a terminal's file
        while parts[-1:] != [b""]:
            parts.append(os.read(descriptor, 10_000))
    os.close(descriptor)
    return b"".join(parts).decode()


@pytest.mark.parametrize("total", [3, None])
@pytest.mark.parametrize("columns", [100, 45, 0])
def test_a_terminal_gets_a_line_that_fits(total: int | None, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a line that wraps and cannot be rewritten, a task's braces that are filled in, and no last line."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))  # where 0 columns are said
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    now = [0.0]
    with open(theirs, "w", encoding="utf-8") as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        progress = Progress("writing {photographs}", total=total, unit="frame", clock=lambda: now[0])
        for _ in range(3):
            now[0] += 3.0
            progress.advance()
        progress.finish()
    shown = read_all(ours)
    assert shown.endswith("\r\n") and shown.count("\n") == 1
    bars = ["", "██████▋", "█████████████▎", "█" * 20, "█" * 20]
    expected = [
        f"writing {{photographs}} |{bar:20}| {text}" if total else f"writing {{photographs}}: {text.replace('/3', '')}"
        for bar, text in zip(
            bars,
            (
                "0/3 frames",
                "1/3 frames",
                "2/3 frames, 3.0 s/frame" + (", 3 s left" if total else ""),
                "3/3 frames, 3.0 s/frame" + (", 0 s left" if total else ""),
                "3/3 frames, 3.0 s/frame, 9 s",
            ),
            strict=True,
        )
    ]
    lines = [line.rstrip() for line in shown.split("\r") if line.strip()]
    assert lines == [line[: (columns or 60) - 1].rstrip() for line in expected]


def test_a_bar_starts_no_thread_and_leaves_tqdm_as_it_was() -> None:
    """Catches the thread and the lock between processes that tqdm makes for each kind of bar."""
    before = threading.enumerate()
    progress = Progress("writing", total=2, unit="frame", stream=Screen())
    progress.advance(2)
    assert threading.enumerate() == before
    assert "_lock" not in vars(std.tqdm)
    progress.finish()
    assert not std.tqdm._instances


def test_a_notebook_gets_a_bar_of_its_own(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches log lines in a notebook, whose stderr is no terminal, and a bar of characters within its bar."""
    formats = []

    class NotebookBar(std.tqdm):
        def display(self, msg: str | None = None, pos: int | None = None) -> bool:
            formats.append(self.bar_format)
            return True

    monkeypatch.setattr("tqdm.autonotebook.tqdm", NotebookBar)
    with_progress_of_two = with_progress("ab", "reading", total=2, unit="frame")
    assert list(with_progress_of_two) == ["a", "b"]
    assert capsys.readouterr().err.count("reading: 2/2") == 1 and formats == []  # not in a notebook
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    assert list(with_progress("ab", "reading", total=2, unit="frame")) == ["a", "b"]
    assert formats[0] == "reading |{bar}| 0/2 frames"
    assert formats[-1].startswith("reading |{bar}| 2/2 frames, ")
    monkeypatch.undo()


def test_other_programs_get_json(capsys: pytest.CaptureFixture[str], json_style: None) -> None:
    """Catches lines that no program can read, a rate that counts compiling, and an end that is not said."""
    now = [0.0]
    progress = Progress("writing", total=100, unit="frame", clock=lambda: now[0])
    now[0] = 50.0  # compiling
    for _ in range(100):
        now[0] += 0.25
        progress.advance()
    progress.finish()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    start, first, second, *_, last = lines
    names = {"task": "writing", "total": 100, "unit": "frame"}
    assert start == names | {"done": 0, "rate": None, "seconds_left": None}
    assert first == names | {"done": 1, "rate": None, "seconds_left": None}
    assert second == names | {"done": 5, "rate": 4.0, "seconds_left": 23.75}
    assert last == names | {"done": 100, "rate": round(100 / 75, 3), "seconds_left": 0.0}
    assert len(lines) == 27
    Progress("counting", total=None, unit="row").finish()
    assert json.loads(capsys.readouterr().err.splitlines()[-1]) == {
        "task": "counting", "done": 0, "total": None, "unit": "row", "rate": None, "seconds_left": 0.0,
    }  # fmt: skip


def test_threads_count_together(capsys: pytest.CaptureFixture[str], json_style: None) -> None:
    """Catches units that are lost between threads, and lines of two of them that are mixed."""
    ticks = iter(range(10**6))
    progress = Progress("writing", total=4000, unit="frame", clock=lambda: next(ticks))
    threads = [threading.Thread(target=lambda: [progress.advance() for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.finish()
    counts = [json.loads(line)["done"] for line in capsys.readouterr().err.splitlines()]
    assert counts == [*range(4001), 4000]


class Applied(Exception):
    """Raised in place of what sets the style."""


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("train", "--config quickstart --workdir w"),
        ("restore", "--network n --input i --output o"),
        ("evaluate", "--workdir w --output o"),
        ("prepare", "--output o"),
        ("simulate", "--input i --output o"),
        ("view", "--input i --output o.png"),
    ],
)
def test_every_command_that_shows_progress_has_the_option(
    command: str, arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a command without the option, one that does not heed it, and one that heeds it too late."""

    def apply(style: str, *, verbose: bool) -> None:
        raise Applied(f"{style} {verbose}")

    module = import_module(f"spikejax.{command}")
    monkeypatch.setattr(cli, "show_progress_as", apply)
    for words, style in (
        ([], "text False"),
        (["--progress", "json"], "json False"),
        (["--quiet"], "none False"),
        (["-v"], "text True"),
    ):
        with pytest.raises(Applied, match=f"^{style}$"):
            module.main([*arguments.split(), *words])
    with pytest.raises(SystemExit) as end:
        module.main([*arguments.split(), "--progress", "xml"])
    assert end.value.code == 2
    assert "--progress: invalid choice: 'xml'" in capsys.readouterr().err
    for words, other in ((["-q", "-v"], "--verbose"), (["--quiet", "--progress", "json"], "--progress json")):
        with pytest.raises(InputError, match=f"expected --quiet or {other}, found both"):
            module.main([*arguments.split(), *words])


def test_quiet_and_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches progress and remarks that --quiet leaves on stderr, and details that show without --verbose."""
    try:
        for style, verbose, lines in (("text", False, 2), ("text", True, 3), ("none", False, 0)):
            show_progress_as(style, verbose=verbose)
            progress = Progress("restoring", total=2, unit="frame")
            progress.advance()
            progress.finish()
            say("compiling")
            say_detail("a device needs 1 GB")
            assert capsys.readouterr().err.count("\n") == lines
    finally:
        show_progress_as("text")


def test_nothing_done(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a division by zero at the end of work that had nothing to do."""
    Progress("writing", total=0, unit="frame").finish()
    assert capsys.readouterr().err == "writing: 0/0 frames\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (3660, "1 h 01 min"), (90_000, "1 d 1 h")],
)
def test_duration(seconds: float, text: str) -> None:
    """Catches minutes over 59 and units that are left out."""
    assert duration(seconds) == text


def test_rate_of_slow_work() -> None:
    """Catches 0.0 steps/s for steps that take minutes."""
    assert rate(75.0, "step") == "75.0 s/step"
    assert rate(0.05, "step") == "20.0 steps/s"


def test_progress_of_items_ends_with_them(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a line that stays open when the work is given up, and items counted before their work."""
    for item in with_progress([[1, 2], [3], [4]], "reading", total=4, unit="frame", size=len):
        if item == [3]:
            break
    assert capsys.readouterr().err.startswith("reading: 2/4 frames, ")
    assert list(with_progress("abc", "reading", total=3, unit="frame")) == ["a", "b", "c"]
    assert capsys.readouterr().err.startswith("reading: 3/3 frames, ")


def test_bytes_in_words() -> None:
    """Catches units that are off by a thousand, and a number of bytes with a fraction."""
    texts = [byte_text(count) for count in (0, 999, 1000, 25_640, 3_000_000, 1_234_567_890, 4e13)]
    assert texts == ["0 bytes", "999 bytes", "1.0 kB", "25.6 kB", "3.0 MB", "1.23 GB", "40000.00 GB"]
