"""Progress of long work, with a clock that the tests turn."""

import os
import sys

import pytest

from spikejax.progress import Pace, Progress, byte_text, duration, rate, with_progress


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
    assert pace.text(101).endswith(", 0 s left")


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


def test_a_terminal_gets_one_line_that_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a line that wraps, which cannot be rewritten, and rests of a longer line that was there before."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 24)))
    now = [0.0]
    progress = Progress("writing moving photographs", total=None, unit="frame", clock=lambda: now[0])
    for _ in range(3):
        now[0] += 3.0
        progress.advance()
    progress.finish()
    shown = capsys.readouterr().err
    lines = shown.split("\r")
    assert [line.removesuffix("\n").removesuffix("\033[K") for line in lines] == [
        "",
        "writing moving photographs: 1 frames",
        "writing moving photographs: 2 frames, 3",
        "writing moving photographs: 3 frames, 3",
        "writing moving photographs: 3 frames, 3",
    ]
    assert shown.endswith("\033[K\n")


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
