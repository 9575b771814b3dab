"""The one command: what it lists, how it passes on, what it says of mistakes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from spikejax import __version__
from spikejax.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code of `spikejax ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["spikejax", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_every_command_is_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a command that was added and cannot be found, one listed and gone, and lines too long for a terminal."""
    files = {
        path.stem
        for path in (ROOT / "spikejax").glob("[!_]*.py")
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text()).body)
    }
    assert files | {"convert"} == set(COMMANDS)
    assert run_main(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    listed = [line.split() for line in text.partition("commands:\n")[2].splitlines()]
    assert {words[0] for words in listed} == set(COMMANDS)
    assert all(len(words) > 3 for words in listed)


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a version that is not the package's."""
    assert run_main(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"spikejax {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a command (spikejax --help lists them), found none"),
        (["trian"], "found 'trian'; did you mean 'train'?"),
        (["--verbose"], "found '--verbose'"),
        (["cli"], "found 'cli'"),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a traceback, silence, and a module of the library run as if it were a command."""
    assert run_main(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("spikejax: error: expected a command") and error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("way", [["-m", "spikejax", "convert"], ["-m", "convert"]], ids=" ".join)
def test_convert_is_the_same_both_ways(way: list[str], tmp_path: Path) -> None:
    """Catches `spikejax convert` that is other code than `python -m convert`, or loses arguments or the exit code."""
    missing = tmp_path / "weights.pth"
    done = subprocess.run(
        [sys.executable, *way, "info", str(missing)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert str(missing) in done.stderr and done.stderr.count("\n") == 1
