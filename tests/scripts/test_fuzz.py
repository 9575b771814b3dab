"""The fuzzer: what it calls a problem, that its inputs can be made again, and a short run of it."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spikejax.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the script."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import fuzz

    return fuzz


def fails(error: BaseException) -> Any:
    """A reader that raises."""

    def read(folder: Path) -> None:
        raise error

    return read


def prints(text: str) -> Any:
    """A reader that prints."""
    return lambda folder: print(text, end="", flush=True)


ENDS = {
    "done": (prints("1 frame restored\n"), 0, ""),
    "refused": (fails(InputError("expected a, found b: c")), 2, ""),
    "traceback": (fails(KeyError("a")), None, "traceback: KeyError in "),
    "exit": (fails(SystemExit(7)), 7, "exit code 7"),
    "silent": (fails(SystemExit(2)), 2, "exit code 2 with 0 lines that say why"),
    "memory": (fails(MemoryError()), None, "more memory than allowed"),
    "warning": (prints("UserWarning: odd\n"), 0, "a library prints: UserWarning: odd"),
    "decoder": (prints("[mov @ 0x1] odd\n"), 0, "a library prints: [mov @ 0x1] odd"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_what_is_a_problem(kind: str, fuzz: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Catches a fuzzer that takes a traceback, a silent end or a chattering library for right, or a line for wrong."""
    from spikejax.cli import _exit_code  # noqa: F401  imported before the descriptors change

    read, code, problem = ENDS[kind]

    class Reader:
        pass

    reader = Reader()
    reader.read = read  # type: ignore[attr-defined]

    class Printed:
        """What was captured so far, as the file that a worker prints to."""

        def seek(self, place: int) -> None:
            pass

        def read(self) -> bytes:
            captured = capfd.readouterr()
            return (captured.out + captured.err).encode()

    ending = fuzz.run_input(reader, tmp_path, Printed())
    assert ending.code == code
    assert ending.problem.startswith(problem) and bool(ending.problem) == bool(problem)


def test_inputs_can_be_made_again(fuzz: Any) -> None:
    """Catches damage that a seed does not repeat, and kinds of files that are left as they are."""
    from fuzz_mutations import damage

    for whole in (b"\x89PNG\r\n\x1a\n" + bytes(40), b'{"a": [1, 2.5]}', b"t0,t1\n1,2\n", bytes(range(256))):
        made = [damage(whole, random.Random(seed)) for seed in range(200)]
        assert made == [damage(whole, random.Random(seed)) for seed in range(200)]
        assert sum(data != whole for data in made) > 150


@pytest.mark.slow
def test_a_short_run(tmp_path: Path) -> None:
    """Catches whole inputs that are refused, and damaged ones that end in anything but their exit code and line."""
    command = [sys.executable, "scripts/fuzz.py", "--seconds", "600", "--inputs", "100", "--seed", "7"]
    ended = subprocess.run(
        [*command, "--keep", str(tmp_path / "kept")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = [line.split("|") for line in ended.stdout.splitlines() if line.startswith("| ")]
    kinds, total = len(table) - 2, int(table[-1][2])
    assert kinds >= 27 and total == 100 + kinds  # the whole ones too
