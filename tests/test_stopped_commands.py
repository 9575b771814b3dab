"""SIGTERM at the points where commands wait for long: each ends in time, keeps what is done, and goes on afterwards."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spikejax import evaluate, restore
from spikejax.models.traits import NetworkTraits
from spikejax.stopping import TIDY_SECONDS
from spikejax.training.signals import GRACE_SECONDS
from tests.ending import seconds_to_end
from tests.evaluation.test_folders import use as use_for_evaluation
from tests.evaluation.test_folders import write_tree
from tests.inference.small_input import FRAMES, Brighten, restorer_of, write_inputs
from tests.stand_ins import tiny_config

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
# What a process of a busy machine takes more, to end.
MORE_SECONDS = 10
MORE_FRAMES = 20
TILES = ["--tile", "2,24,32", "--overlap", "0,8,8"]
STUCK = """
import hashlib, os, sys
from pathlib import Path
from spikejax import cli

def stuck(*arguments, **options):
    print("stuck", file=sys.stderr, flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)

def then_lose(picture, function):
    def call(*arguments, **options):
        os.rename(picture, picture + ".gone")
        os.mkfifo(picture)
        print("stuck", file=sys.stderr, flush=True)
        return function(*arguments, **options)
    return call

"""
NEVER_COMPILES = "import jax; jax.stages.Lowered.compile = stuck\n"
RESTORE = """
from spikejax import restore
from spikejax.inference import restore_run
from tests.inference.small_input import Brighten, restorer_of
restore._load = lambda options: restorer_of(Brighten(None))
{stuck}
cli.run(restore.main)
"""
EVALUATE = """
import pytest
from spikejax import evaluate
from spikejax.evaluation import run
from spikejax.models.traits import NetworkTraits
from tests.evaluation.test_folders import use
use(pytest.MonkeyPatch(), NetworkTraits())
{stuck}
cli.run(evaluate.main)
"""
TRAIN = """
from spikejax.training import loop
from tests.stand_ins import build_stand_in, tiny_config
{stuck}

def main(arguments):
    outcome = loop.train(tiny_config(), arguments[0], build=build_stand_in)
    if outcome.stopped_by:
        raise SystemExit(128 + outcome.stopped_by)

cli.run(main)
"""


@contextlib.contextmanager
def started(program: str, *arguments: str, log: Path) -> Iterator[subprocess.Popen]:
    """A command in a process that does not outlive the block; what it says goes to `log`."""
    with log.open("w") as file:
        command = [sys.executable, "-c", STUCK + program, *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until(what: Callable[[], bool], process: subprocess.Popen, log: Path) -> None:
    """Returns once something is so; fails if the process ends before, or after four minutes."""
    end = time.monotonic() + 240
    while not what():
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)


def stopped(program: str, *arguments: str, log: Path, seconds: float, kept: Callable[[], bool] = lambda: True) -> str:
    """What a command says that is told to end where it is stuck, once something is kept; it has to end in time."""
    with started(program, *arguments, log=log) as process:
        wait_until(lambda: "stuck\n" in log.read_text() and kept(), process, log)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert seconds_to_end(process) < seconds + MORE_SECONDS, log.read_text()
        assert process.returncode == 143, log.read_text()
    said = log.read_text()
    assert "Traceback" not in said and said.count("stopped by SIGTERM") >= 1, said
    return said


def give_back(picture: Path) -> None:
    """Puts a picture in the place of the pipe."""
    os.replace(f"{picture}.gone", picture)


@pytest.mark.parametrize("name", ["out", "out.mkv"])
@pytest.mark.parametrize("point", ["compiling", "reading"])
def test_restoring(point: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a restoring that outlives its machine, loses frames that are done, or cannot go on."""
    inputs = write_inputs(tmp_path)
    for number in range(FRAMES, MORE_FRAMES):  # more than are read, cut and restored ahead
        shutil.copy(inputs / "blur" / "000000.png", inputs / "blur" / f"{number:06d}.png")
    last, output = inputs / "blur" / f"{MORE_FRAMES - 1:06d}.png", tmp_path / name
    work = tmp_path / f".{name}.partial"
    stuck = NEVER_COMPILES
    if point == "reading":
        stuck = f"restore_run.restore_job = then_lose({str(last)!r}, restore_run.restore_job)"
    given = ["--network", "work", "--input", str(inputs / "blur"), "--output", str(output), *TILES]

    def kept() -> bool:
        return point == "compiling" or any((work / "frames").glob("[!.]*.png"))

    stopped(RESTORE.format(stuck=stuck), *given, log=tmp_path / "log", seconds=TIDY_SECONDS, kept=kept)
    assert not output.exists()
    if point == "reading":
        give_back(last)
        assert any((work / "frames").glob("*.png"))
    monkeypatch.setattr(restore, "_load", lambda options: restorer_of(Brighten(None)))
    restore.main([*given, "--resume"])
    restore.main([*given[: given.index("--output")], "--output", str(tmp_path / f"whole{output.suffix}"), *TILES])
    whole = tmp_path / f"whole{output.suffix}"
    if output.suffix:
        assert output.read_bytes() == whole.read_bytes()
    else:
        for path in whole.glob("*.png"):
            assert (output / path.name).read_bytes() == path.read_bytes()
    assert not work.exists()


@pytest.mark.parametrize("point", ["compiling", "reading"])
def test_evaluating(point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an evaluation that outlives its machine, measures again what is measured, or cannot go on."""
    for folder, seed in (("lq", 0), ("gt", 1)):
        write_tree(tmp_path / folder, {"x": 2, "y": 3}, seed=seed)
    last, output = tmp_path / "lq" / "y" / "im3.png", tmp_path / "out"
    scores = tmp_path / ".out.partial" / "scores" / "x.json"
    stuck = NEVER_COMPILES
    if point == "reading":
        stuck = f"run._measure = then_lose({str(last)!r}, run._measure)"
    given = ["--network", "w.safetensors", "--input", str(tmp_path / "lq"), "--sharp", str(tmp_path / "gt")]
    given += ["--metrics", "psnr", "--output"]

    def kept() -> bool:
        return point == "compiling" or scores.exists()

    program = EVALUATE.format(stuck=stuck)
    stopped(program, *given, str(output), log=tmp_path / "log", seconds=TIDY_SECONDS, kept=kept)
    assert not output.exists()
    read = use_for_evaluation(monkeypatch, NetworkTraits())
    if point == "reading":
        give_back(last)
    evaluate.main([*given, str(output)])
    assert set(read) == ({"y"} if point == "reading" else {"x", "y"})
    evaluate.main([*given, str(tmp_path / "whole")])
    assert json.loads((output / "metrics.json").read_text()) == json.loads(
        (tmp_path / "whole" / "metrics.json").read_text()
    )
    assert not (tmp_path / ".out.partial").exists()


@pytest.mark.parametrize(
    ("stuck", "seconds"),
    [
        ("loop.data_root = stuck", TIDY_SECONDS),
        ("loop.initial_state = stuck", TIDY_SECONDS),
        (NEVER_COMPILES, GRACE_SECONDS),
    ],
    ids=["data", "checkpoint", "compiling"],
)
def test_training(stuck: str, seconds: float, tmp_path: Path) -> None:
    """Catches a training that outlives its machine before its first update, or that does not begin afterwards."""
    workdir = tmp_path / "run"
    stopped(TRAIN.format(stuck=stuck), str(workdir), log=tmp_path / "log", seconds=seconds)
    log = tmp_path / "again"
    with started(TRAIN.format(stuck=""), str(workdir), log=log) as process:
        assert process.wait(timeout=300) == 0, log.read_text()
    assert f"done: {tiny_config().training.steps} steps" in log.read_text()
