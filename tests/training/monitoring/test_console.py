"""The lines on the terminal."""

import json
import os
import sys

import pytest

from spikejax.progress import show_progress_as
from spikejax.training.monitoring.console import Terminal, summary


def test_lines_say_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a rate that counts the compilation, a remaining time of the wrong sign, and lines over 80 columns."""
    now = [0.0]
    terminal = Terminal(300_000, clock=lambda: now[0])
    now[0] = 100.0  # compiling
    terminal.pace.start(1)
    now[0] = 110.0
    terminal.update(101, 0.031, {"charbonnier": 0.031})
    assert capsys.readouterr().out == "step    101/300000   0%  loss 0.03100  10.0 steps/s, 8 h 19 min left\n"
    now[0] = 1e6
    terminal.update(299_999, 0.031, {"charbonnier": 0.031})
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80
    assert terminal.elapsed() == 1e6


def test_other_programs_are_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches JSON among the lines for people, a rate that counts the compilation, and hosts that all speak."""
    now = [0.0]
    show_progress_as("json")
    try:
        for show in (True, False):
            terminal = Terminal(1000, show=show, clock=lambda: now[0])
            now[0] += 100.0  # compiling
            terminal.pace.start(1)
            now[0] += 10.0
            terminal.update(101, 0.031, {"charbonnier": 0.031})
    finally:
        show_progress_as("text")
    shown = capsys.readouterr()
    assert shown.out == "step  101/1000  10%  loss 0.03100  10.0 steps/s, 1 min 30 s left\n"
    assert json.loads(shown.err) == {
        "task": "training", "done": 101, "total": 1000, "unit": "step", "rate": 10.0, "seconds_left": 89.9,
    }  # fmt: skip
    Terminal(10).update(2, 0.05, {"charbonnier": 0.05})
    assert capsys.readouterr().err == ""


def test_terms_of_a_loss_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a perceptual term that grows while the loss falls, and nobody can see it."""
    Terminal(10).update(2, 0.05, {"charbonnier": 0.03, "perceptual": 0.02})
    assert capsys.readouterr().out == "step  2/10  20%  loss 0.05000 = charbonnier 0.03000 + perceptual 0.02000\n"


def test_summary_names_what_papers_state() -> None:
    """Catches a summary with a list of metrics of its own, and scores of the wrong way round."""
    scores = {"psnr_blur": 20.0, "psnr_y_blur": 21.0, "lpips_blur": 0.5, "mine_blur": 1.0}
    scores |= {"psnr_recon": 22.5, "psnr_y_recon": 23.0, "lpips_recon": 0.25, "mine_recon": 2.0}
    assert summary(scores) == "PSNR 20.00 -> 22.50 dB (+2.50), LPIPS 0.5000 -> 0.2500, MINE 1.0000 -> 2.0000"


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
