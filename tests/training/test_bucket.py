"""Runs in a bucket, with their data: killed, continued by a machine that has nothing of it, measured, restored.

The servers are packages' own, on this machine. The network is the tests' stand-in, which compiles in seconds; what is
done one after the other shares a process, so that everything is imported three times for each kind of bucket.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.training.monitoring.metrics_log import METRICS_LOG, read_points
from tests.ending import seconds_to_end
from tests.small_run import overrides

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
KINDS = [pytest.param("gs", marks=pytest.mark.needs("gcs")), pytest.param("s3", marks=pytest.mark.needs("s3"))]
BINS = 4
# What commands are called with in one process: a list of [command, arguments ...] in JSON.
_CALL = """import importlib, json, sys
for command, *words in json.loads(sys.argv[1]):
    importlib.import_module(f"spikejax.{command}").main(words)"""
_UPLOAD = """import pathlib, sys; from spikejax.io.paths import copy_file, user_path
folder, target = pathlib.Path(sys.argv[1]), user_path(sys.argv[2])
for file in folder.rglob("*"):
    file.is_file() and copy_file(file, target / file.relative_to(folder).as_posix())"""


@dataclass(frozen=True)
class Served:
    """A bucket.

    Attributes:
        url: of it.
        environment: variables of processes to which the server is the vendor's.
    """

    url: str
    environment: dict[str, str]


def google_variables(address: str) -> dict[str, str]:
    """What makes a server Google Cloud Storage."""
    return {
        "STORAGE_EMULATOR_HOST": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks Google for the kind of the bucket
    }


def s3_variables(address: str) -> dict[str, str]:
    """What makes a server S3."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


SERVERS = {"gs": ("gcs_server.py", google_variables), "s3": ("s3_server.py", s3_variables)}


@pytest.fixture(scope="module", params=KINDS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A bucket of each kind, on a server of its own."""
    script, variables = SERVERS[request.param]
    command = [sys.executable, ROOT / "tests" / script]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    yield Served(f"{request.param}://bucket", surroundings(variables(address) | cache))
    server.kill()
    server.wait()
    server.stdout.close()


def surroundings(variables: dict[str, str]) -> dict[str, str]:
    """Environment variables of a process of these tests."""
    return os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"} | variables


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set on the disk."""
    root = tmp_path_factory.mktemp("data") / "data"
    sizes = {"train_sequences": 2, "val_sequences": 1, "frames": 3, "height": 32, "width": 32}
    write_moving_photographs(root, seed=0, bins=BINS, max_motion=8.0, **sizes)
    return root


def training(data: object, workdir: object) -> list[str]:
    """The words that train the stand-in: six updates, of which every second one is saved."""
    network = {"model__backbone": f"{ROOT / 'tests' / 'stand_ins.py'}:build_stand_in", "model__spike__bins": BINS}
    source = {"data__source": "folder", "data__root": data, "training__loggers": ()}
    steps = {"training__steps": 6, "training__checkpoint_every": 2, "validation__every": 3}
    words = overrides(**network, **source, **steps, optimizer__frozen="", training__start_at_zero="")
    return ["train", "--config", "quickstart", *words, "--workdir", str(workdir)]


def using(workdir: object, clip: object, spikes: Path, output: Path) -> list[list[str]]:
    """The words that measure a network and restore a clip."""
    restore = ["--input", str(clip), "--spikes", str(spikes), "--tile", "3,32,32", "--output", str(output / "frames")]
    return [
        ["evaluate", "--trust-code", "--workdir", str(workdir), "--output", str(output / "scores")],
        ["restore", "--trust-code", "--network", str(workdir), *restore],
    ]


def call(environment: dict[str, str], *commands: list[str]) -> str:
    """What commands say that end well, done in one process."""
    return python(environment, _CALL, json.dumps(commands))


def python(environment: dict[str, str], *arguments: object) -> str:
    """What a program says that ends well."""
    words = [sys.executable, "-c", *map(str, arguments)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kill_at(step: int, environment: dict[str, str], command: list[str]) -> None:
    """Kills a command when it says that it has done so many steps."""
    words = [sys.executable, "-c", _CALL, json.dumps([command])]
    run = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.stdout is not None
    said = []
    with run.stdout:
        for line in run.stdout:
            said.append(line)
            if line.startswith("step") and f" {step}/" in line:
                break
        else:
            pytest.fail("".join(said))
        run.kill()
        run.wait()


def curves(workdir: Path) -> list[tuple[int, str, float]]:
    """Every point of a run's curves but those of times."""
    groups = ("training", "validation")
    return [(p.step, p.curve, p.value) for p in read_points(workdir / METRICS_LOG) if p.group in groups]


def scores(folder: Path) -> object:
    """What an evaluation measured."""
    return json.loads((folder / "metrics.json").read_text())["total"]


@pytest.fixture(scope="module")
def on_disk(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on a disk, not interrupted: WORKDIR/run, and what came of it beside."""
    folder = tmp_path_factory.mktemp("disk")
    (sequence,) = (data / "val").glob("*/")
    inputs = sequence / "blur", sequence / "spike"
    call(surroundings({}), training(data, folder / "run"), *using(folder / "run", *inputs, folder))
    return folder


def test_a_run_in_a_bucket_is_the_run_on_a_disk(served: Served, data: Path, on_disk: Path, tmp_path: Path) -> None:
    """Catches anything that is lost, done twice or read wrong where the workdir, the data or a clip is in a bucket."""
    workdir, root = f"{served.url}/runs/killed", f"{served.url}/data"
    python(served.environment, _UPLOAD, data, root)
    kill_at(5, served.environment, training(root, workdir))
    another_machine = served.environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    (sequence,) = (data / "val").glob("*/")
    inputs = f"{root}/val/{sequence.name}/blur", sequence / "spike"
    said = call(another_machine, training(root, workdir), *using(workdir, *inputs, tmp_path))
    assert "continuing from step 4 of" in said or "continuing from step 2 of" in said

    (mirror,) = (tmp_path / "cache").glob("spikejax/buckets/*/mirror/killed")
    assert curves(mirror) == curves(on_disk / "run")
    assert scores(tmp_path / "scores") == scores(on_disk / "scores")
    frames = sorted((on_disk / "frames").glob("*.png"))
    assert len(frames) == 3
    assert all(frame.read_bytes() == (tmp_path / "frames" / frame.name).read_bytes() for frame in frames)


UNREACHABLE = {
    "gs": google_variables("http://127.0.0.1:1"),
    "s3": s3_variables("http://127.0.0.1:1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_that_cannot_be_reached_is_one_line(kind: str) -> None:
    """Catches a minute of trying again at the start of a command, and a traceback at the end of it."""
    words = [sys.executable, "-m", "spikejax.train", "--config", "quickstart", "--workdir", f"{kind}://bucket/run"]
    process = subprocess.Popen(words, env=surroundings(UNREACHABLE[kind]), stderr=subprocess.PIPE, text=True)
    seconds = seconds_to_end(process)
    _, errors = process.communicate()
    assert process.returncode == 2, errors
    (line,) = errors.splitlines()
    assert line.startswith("spikejax: error: expected a bucket that can be read, found ") and "127.0.0.1:1" in line
    assert seconds < 30  # 12 s of waiting and what imports take on a busy machine; it was 68 s
