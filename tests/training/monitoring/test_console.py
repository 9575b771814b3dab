"""The lines on the terminal."""

import os
import sys

import pytest

from spikejax.training.monitoring.console import Terminal


def test_lines_say_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a rate that counts the compilation, a remaining time of the wrong sign, and lines over 80 columns."""
    now = [0.0]
    terminal = Terminal(300_000, clock=lambda: now[0])
    now[0] = 100.0  # compiling
    terminal.pace.start(1)
    now[0] = 110.0
    terminal.update(101, 0.031)
    assert capsys.readouterr().out == "step    101/300000   0%  loss 0.03100  10.0 steps/s, 8 h 19 min left\n"
    now[0] = 1e6
    terminal.update(299_999, 0.031)
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80
    assert terminal.elapsed() == 1e6


def test_notes_are_broken_for_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches lines that a terminal cuts within a word, paths in two pieces, and logs that cannot be searched."""
    text = f"expected {'a word ' * 12}in /a/rather-long/{'path/' * 20}"
    Terminal(1).note(text)
    assert capsys.readouterr().out == text + "\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((80, 24)))
    Terminal(1).note(text)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert [len(line) <= 80 for line in lines] == [True, True, False]  # the last one is the path
