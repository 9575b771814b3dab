"""A run whose workdir is in a bucket: killed, continued by a machine that has nothing of it, measured and restored."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikejax.training.monitoring.metrics_log import METRICS_LOG, read_points
from tests.small_run import overrides

pytestmark = [pytest.mark.slow, pytest.mark.needs("gcs")]
ROOT = Path(__file__).parents[2]
RUN = ["--config", "quickstart", *overrides(training__steps=12, training__checkpoint_every=3, validation__every=6)]
WORKDIR = "gs://bucket/runs/killed"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables of processes to which a server on this machine is Google Cloud Storage."""
    server = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "gcs_server.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    yield os.environ | {
        "STORAGE_EMULATOR_HOST": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # asks Google for the kind of the bucket
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "PYTHONPATH": str(ROOT),
    }
    server.kill()
    server.wait()
    server.stdout.close()


def command(environment: dict[str, str], *arguments: object) -> str:
    """What a command says that ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "spikejax", *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kill_at(step: int, environment: dict[str, str], *arguments: object) -> None:
    """Kills a command when it says that it has done so many steps."""
    run = subprocess.Popen(
        [sys.executable, "-m", "spikejax", *map(str, arguments)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert run.stdout is not None
    with run.stdout:
        for line in run.stdout:
            if line.startswith("step") and f" {step}/" in line:
                break
        run.kill()
        run.wait()


def curves(workdir: Path) -> list[tuple[int, str, float]]:
    """Every point of a run's curves but those of times."""
    groups = ("training", "validation")
    return [(p.step, p.curve, p.value) for p in read_points(workdir / METRICS_LOG) if p.group in groups]


def scores(folder: Path) -> dict:
    """What an evaluation measured."""
    return {name: value for name, value in json.loads((folder / "metrics.json").read_text()).items() if name == "total"}


def test_a_run_in_a_bucket_is_the_run_on_a_disk(environment: dict[str, str], tmp_path: Path) -> None:
    """Catches anything that is lost, done twice or read wrong where the workdir is in a bucket."""
    disk = tmp_path / "run"
    command(environment, "train", *RUN, "--workdir", disk)
    kill_at(8, environment, "train", *RUN, "--workdir", WORKDIR)
    another_machine = environment | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    said = command(another_machine, "train", *RUN, "--workdir", WORKDIR)
    assert "continuing from step 6 of" in said or "continuing from step 3 of" in said

    (mirror,) = (tmp_path / "cache").glob("spikejax/buckets/*/mirror/killed")
    assert curves(mirror) == curves(disk)
    for workdir, name in ((WORKDIR, "bucket"), (disk, "disk")):
        command(another_machine, "evaluate", "--workdir", workdir, "--output", tmp_path / name)
    assert scores(tmp_path / "bucket") == scores(tmp_path / "disk")

    (sequence,) = (disk / "data" / "val").glob("*/")
    clip = ["--input", sequence / "blur", "--spikes", sequence / "spike", "--tile", "3,32,32"]
    for network, name in ((WORKDIR, "restored_bucket"), (disk, "restored_disk")):
        command(another_machine, "restore", "--network", network, *clip, "--output", tmp_path / name)
    frames = sorted((tmp_path / "restored_disk").glob("*.png"))
    assert frames and all(
        frame.read_bytes() == (tmp_path / "restored_bucket" / frame.name).read_bytes() for frame in frames
    )
