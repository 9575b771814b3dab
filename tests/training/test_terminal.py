"""The lines on the terminal."""

import pytest

from spikejax.training.progress import Progress, duration, rate


def test_lines_say_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a rate that counts the compilation, a remaining time of the wrong sign, and lines over 80 columns."""
    now = [0.0]
    progress = Progress(300_000, clock=lambda: now[0])
    now[0] = 100.0  # compiling
    progress.start(1)
    now[0] = 110.0
    progress.update(101, 0.031)
    assert capsys.readouterr().out == "step    101/300000   0%  loss 0.03100  10.0 step/s  8 h 19 min left\n"
    now[0] = 1e6
    progress.update(299_999, 0.031)
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80
    assert progress.elapsed() == 1e6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (3660, "1 h 01 min"), (90_000, "1 d 1 h")],
)
def test_duration(seconds: float, text: str) -> None:
    """Catches minutes over 59 and units that are left out."""
    assert duration(seconds) == text


def test_rate_of_slow_steps() -> None:
    """Catches 0.0 step/s for steps that take minutes."""
    assert rate(75.0) == "75.0 s/step"
    assert rate(0.05) == "20.0 step/s"
