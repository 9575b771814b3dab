import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from spikejax.cli import run
from spikejax.errors import InputError


def exit_code(error: BaseException | None) -> object:
    """How the process ends when its main function raises `error`."""

    def main(_: Sequence[str]) -> None:
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as caught:
        run(main)
    return caught.value.code


def test_success() -> None:
    """Catches a run that went well and reports a failure."""
    assert exit_code(None) == 0


def test_a_wrong_input_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback, or a message of several lines, for a user's mistake."""
    assert exit_code(InputError("expected a\n  video")) == 2
    assert capsys.readouterr().err == "spikejax: error: expected a video\n"


def test_the_traceback_can_be_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a developer left without the place of an error."""
    monkeypatch.setenv("SPIKEJAX_TRACEBACK", "1")
    assert exit_code(InputError("wrong")) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith("spikejax: error: wrong\n")


def test_ctrl_c() -> None:
    """Catches an interrupted run that a script takes for a finished one."""
    assert exit_code(KeyboardInterrupt()) == 130


def test_a_fault_of_the_program_keeps_its_traceback() -> None:
    """Catches a bug disguised as the user's mistake."""

    def main(_: Sequence[str]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_closed_pipe_is_quiet() -> None:
    """Catches a traceback after `... | head -1`."""
    program = "from spikejax.cli import run; run(lambda _: print('line ' * 10_000))"
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")
