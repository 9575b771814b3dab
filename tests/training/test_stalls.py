"""Two hosts of which one is alive but does not get on: real processes, whose collectives go over loopback."""

import json
import shutil
from pathlib import Path

import pytest

from spikejax.training.monitoring.goodput import GOODPUT
from tests.training.drive import drive
from tests.training.test_survival import job

pytestmark = pytest.mark.slow


def test_a_read_that_never_returns(tmp_path: Path, root: Path) -> None:
    """Catches hosts that wait for ever for one whose disk is lost, blame another, or leave it out of the account.

    They all end with the code that launchers start again.

    What was saved before is gone on with when its data is back.
    """
    own = tmp_path / "own"
    shutil.copytree(root, own)
    workdir = tmp_path / "run"
    stuck = job(workdir, root, processes=2, stall_seconds=5, stuck={"after_update": 5, "process": 1})
    stuck["config"] |= {"mesh.data": 2, "data.batch_size": 2, "validation.every": 100}
    stuck["config_of"] = {"1": {"data.root": str(own)}}
    again = job(workdir, root, config={"mesh.data": 1, "data.batch_size": 2, "validation.every": 100})
    ended, continued = drive([stuck, again])
    processes = json.loads((workdir / GOODPUT).read_text())["processes"]
    first, second = ((workdir / f"{process}.log").read_text() for process in range(2))
    print(f"{ended}\n---- process 0\n{first}\n---- process 1\n{second}")
    assert ended["codes"] == [5, 5], first + second
    assert ended["seconds"] < 60
    assert "spikejax: stalled: the data was not there of process 1 (" in first
    assert "process 0 of 2" in first and "it waits for: collective" in first
    assert "process 1 of 2" in second and "it waits for: data" in second
    assert "Trainer" in second or "trainer.py" in second  # of its stack
    assert "was not there" not in second
    reports = (workdir / "stalled").iterdir()  # their names begin with the time, which may be another second's
    assert sorted(path.name.partition("_")[2] for path in reports) == ["process_0.txt", "process_1.txt"]
    assert [process["spent"].get("stalled", 0) >= 5 for process in processes] == [True, False], processes
    assert continued["codes"] == [0], first
    assert "continuing from step 4" in first
