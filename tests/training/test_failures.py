"""Two hosts of which one fails alone: real processes."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.drive import drive, losses
from tests.training.test_survival import STEPS, job

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("process", [0, 1])
def test_a_disk_that_is_full_for_one_host(tmp_path: Path, root: Path, process: int) -> None:
    """Catches a host that waits for one whose save has failed, and one that ends in a stack trace or another code.

    Nothing half-written is left to be taken for a checkpoint, and one process goes on with what both had.
    """
    workdir = tmp_path / "run"
    settings: dict[str, Any] = {"mesh.data": 2, "data.batch_size": 2, "validation.every": 100}
    full = job(workdir, root, processes=2, full={"after_update": 3, "process": process}, config=settings)
    again = job(workdir, root, config=settings | {"mesh.data": 1})
    ended, continued = drive([full | {"stall_seconds": 60}, again])
    logs = [(workdir / f"{number}.log").read_text() for number in range(2)]
    print(f"{ended}\n---- process 0\n{logs[0]}\n---- process 1\n{logs[1]}")
    assert ended["codes"] == [2, 2]
    reason = "no space left on the disk; checkpoints are whole and the same command continues from them"
    here, there = ([line for line in log.splitlines() if line.startswith("spikejax: ")] for log in logs)
    if process:
        here, there = there, here
    assert here == [f"spikejax: error: {reason} (OSError: [Errno 28] No space left on device)"]
    assert len(there) == 1
    assert there[0].startswith(f"spikejax: error: process {process} of 2 (")
    assert f") has failed, which ends all: {reason} (" in there[0]
    assert "Traceback" not in "".join(logs)
    assert continued["codes"] == [0]
    assert "continuing from step 2" in logs[0]
    assert not list(workdir.rglob("*orbax-checkpoint-tmp*"))
    assert list(losses(workdir / "0")) == [*range(1, STEPS + 1)]
