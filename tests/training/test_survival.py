"""Runs that are killed, spread over hosts, or lose one of them."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from spikejax.training.monitoring.metrics_log import METRICS_LOG, read_points
from spikejax.training.step import Build
from spikejax.training.trained_params import load_for_inference
from tests.training.drive import HEARTBEAT_SECONDS, drive, losses

pytestmark = pytest.mark.slow

KILLS = 4
STEPS = 12


def last_params(workdir: Path, build: Build) -> dict[str, Any]:
    """The parameters after the last update."""
    return load_for_inference(workdir, which="last", build=build)[1]


def curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """The (step, value) of each curve of a metrics.jsonl."""
    points = defaultdict(list)
    for point in read_points(path):
        points[point.curve].append((point.step, point.value))
    return dict(points)


def job(workdir: Path, root: Path, **more: Any) -> dict[str, Any]:
    """A run of `STEPS` updates that saves and validates at times."""
    settings = {"data.source": "folder", "data.root": str(root), "data.batch_size": 4, "training.steps": STEPS}
    settings |= {"training.checkpoint_every": 2, "validation.every": 6} | more.pop("config", {})
    return {"workdir": str(workdir), "config": settings, **more}


def test_killed_at_random_points_is_the_run_that_was_not(tmp_path: Path, root: Path, build: Build) -> None:
    """Catches anything that is lost or done twice when the process dies: while computing, saving or validating.

    The points differ from day to day; SPIKEJAX_TEST_SEED, which is printed, chooses the same ones again.
    """
    seed = int(os.environ.get("SPIKEJAX_TEST_SEED", time.time_ns() % 10**9))
    print(f"SPIKEJAX_TEST_SEED={seed}")
    draw = random.Random(seed)
    points = sorted(draw.sample(range(1, STEPS), KILLS))
    kills = [
        dict(number=int(signal.SIGKILL), after_update=point, delay=round(draw.uniform(0, 0.15), 3)) for point in points
    ]
    jobs = [job(tmp_path / "whole", root)]
    jobs += [job(tmp_path / "killed", root, signal=kill) for kill in kills]
    ends = drive([*jobs, job(tmp_path / "killed", root)])
    for kill, end in zip([None, *kills, None], ends, strict=True):
        print(f"kill {kill}: exit codes {end['codes']} after {end['seconds']} s")
    print((tmp_path / "killed" / "0.log").read_text())
    # The last ones may have been done before their kill was due.
    assert ends[0]["codes"] == ends[-1]["codes"] == [0]
    assert {code for end in ends[1:-1] for code in end["codes"]} <= {-signal.SIGKILL, 0}
    assert sum(end["codes"] == [-signal.SIGKILL] for end in ends) >= KILLS - 2
    assert losses(tmp_path / "killed" / "0") == losses(tmp_path / "whole" / "0")
    whole, killed = last_params(tmp_path / "whole", build), last_params(tmp_path / "killed", build)
    jax.tree.map(np.testing.assert_array_equal, whole, killed)


def test_curves_of_a_run_that_was_killed_twice(tmp_path: Path, root: Path, build: Build) -> None:
    """Catches points twice or lost, or a curve that goes back in time, where a run was killed and went on.

    Both kills come some updates after the last checkpoint, so that what was logged since comes again.
    """
    every_four = {"config": {"training.checkpoint_every": 4}}
    kills = [dict(number=int(signal.SIGKILL), after_update=point, delay=0.0) for point in (7, 11)]
    jobs = [job(tmp_path / "whole", root, **every_four)]
    jobs += [job(tmp_path / "killed", root, signal=kill, **every_four) for kill in kills]
    ends = drive([*jobs, job(tmp_path / "killed", root, **every_four)])
    log = (tmp_path / "killed" / "0.log").read_text()
    assert [end["codes"] for end in ends] == [[0], [-signal.SIGKILL], [-signal.SIGKILL], [0]], log
    whole, killed = (curves(tmp_path / name / METRICS_LOG) for name in ("whole", "killed"))
    print("training/loss in metrics.jsonl:", killed["training/loss"])
    assert whole.keys() == killed.keys()
    for curve, points in killed.items():
        # Times are others, and the first update of a process, which is compiled, has none.
        if curve.startswith(("training/", "validation/")):
            assert points == whole[curve], curve
        assert sorted(set(points)) == points, curve
    assert [step for step, _ in killed["training/loss"]] == [*range(1, STEPS + 1)]
    assert [step for step, _ in killed["validation/psnr_recon"]] == [6, 12]
    events = EventAccumulator(str(tmp_path / "killed" / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    for curve, points in killed.items():
        shown = [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in events.Tensors(curve)]
        if curve == "training/loss":
            print("training/loss in TensorBoard:", [(step, float(value)) for step, value in shown])
        assert shown == [(step, np.float32(value)) for step, value in points], curve


def test_two_hosts_are_one(tmp_path: Path, root: Path, build: Build) -> None:
    """Catches hosts that train on the same clips, checkpoints that only their writers can read, and peers that hang.

    Two processes with two devices each go on with a run of one process; one that is told to stop stops both, and one
    process goes on with theirs; and when one is killed the other ends too, and one process goes on with what they had.
    """
    two = dict(processes=2, config={"mesh.data": 2, "mesh.fsdp": 2})
    stop = dict(number=int(signal.SIGTERM), after_update=5, delay=0.0, process=1)
    kill = dict(number=int(signal.SIGKILL), after_update=5, delay=0.0, process=1)
    to_two, to_one, broken = tmp_path / "to_two", tmp_path / "to_one", tmp_path / "broken"
    half = dict(number=int(signal.SIGTERM), after_update=5, delay=0.0)
    alone = dict(config={"mesh.data": 1, "mesh.space": 2})
    jobs = [
        job(tmp_path / "whole", root, config={"mesh.data": 2}),
        job(to_two, root, signal=half, **alone),
        job(to_two, root, **two),
        job(to_one, root, signal=stop, **two),
        job(to_one, root, **alone),
        job(broken, root, signal=kill, **two),
        job(broken, root, **alone),
    ]
    whole, first_half, second_half, stopped, continued, bereft, restarted = drive(jobs, devices=2)
    logs = "\n".join(f"{path}:\n{path.read_text()[-3000:]}" for path in sorted(tmp_path.glob("*/?.log")))
    assert [whole["codes"], first_half["codes"], second_half["codes"]] == [[0], [143], [0, 0]], logs
    assert (stopped["codes"], continued["codes"]) == ([143, 143], [0]), logs
    assert bereft["codes"] == [-signal.SIGABRT, -signal.SIGKILL], logs
    assert restarted["codes"] == [0], logs
    assert bereft["seconds"] < 10 * HEARTBEAT_SECONDS
    expected = losses(tmp_path / "whole" / "0")
    for workdir in (to_two, to_one, broken):
        found = losses(workdir / "0")
        assert found.keys() == expected.keys()
        print(workdir.name, {step: (expected[step], found[step]) for step in (1, STEPS // 2, STEPS)})
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)
        for step, loss in losses(workdir / "1").items():  # as the other host saw it
            np.testing.assert_allclose(loss, expected[step], rtol=1e-5)
        events = list((workdir / "tensorboard").iterdir())
        assert len(events) == 2  # one of each run, whatever the number of its hosts


JOIN = """
from spikejax.cli import run
from spikejax.distributed import hosts
run(lambda arguments: hosts.join("127.0.0.1:1", 2, 1, wait_seconds=2, heartbeat_seconds=10))
"""


def test_a_host_that_never_comes() -> None:
    """Catches a job that waits for its peers without end, or ends in a stack trace of the runtime."""
    ended = subprocess.run(
        [sys.executable, "-c", JOIN], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        "spikejax: error: the other hosts of the run did not come within 2 s "
        "(this is process 1 of 2, the coordinator 127.0.0.1:1)\n"
    )


def test_sigterm_ends_a_run_that_waits_for_a_picture(tmp_path: Path, root: Path, build: Build) -> None:
    """Catches a process that outlives its 30 s in a read that never returns, and loses the updates since its save."""
    data = tmp_path / "data"
    shutil.copytree(root, data)
    waits = job(
        tmp_path / "waits",
        data,
        stuck={"after_update": 5, "process": 0},
        signal=dict(number=int(signal.SIGTERM), after_update=5, delay=1.0),
        config={"training.checkpoint_every": 100},
    )
    (ended,) = drive([waits])
    log = (tmp_path / "waits" / "0.log").read_text()
    assert ended["codes"] == [128 + signal.SIGTERM], log
    assert "stopped by SIGTERM while waiting: step 5 is kept; the same command continues from there" in log
    whole = job(tmp_path / "whole", root, config={"training.checkpoint_every": 100})
    goes_on = job(tmp_path / "waits", root, config={"training.checkpoint_every": 100})
    assert [end["codes"] for end in drive([whole, goes_on])] == [[0], [0]]
    jax.tree.map(
        np.testing.assert_array_equal,
        last_params(tmp_path / "whole", build),
        last_params(tmp_path / "waits", build),
    )
