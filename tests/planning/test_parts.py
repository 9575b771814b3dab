"""The costly parts of the networks, compiled ahead of time for a TPU and for a GPU that are not here."""

import json
import re
import subprocess
import sys
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict

from spikejax.config.files import load_config
from spikejax.io.json_files import write_json
from spikejax.planning import printed_parts
from spikejax.planning.compilers import quiet
from spikejax.planning.parts import PartPlan, parts_of, plan_part
from spikejax.planning.printed_parts import HEADER, limit_of, part_line
from spikejax.planning.step_plan import Memory
from spikejax.planning.topology import open_topology

CHIPS = [
    pytest.param("v5e:1x1", marks=pytest.mark.needs("plan-tpu")),
    pytest.param("h100:1", marks=pytest.mark.needs("plan-gpu")),
]
PARTS = (
    *("spike encoder", "attention over time", "fusion", "mutual attention", "self-attention", "alignment"),
    *("optical flow", "stage 8 of all frames", "stage 8 of one frame"),
)
# Whether it compiles is asked, not how fast what comes out is: on TPUs a quarter of the time.
LEAST_EFFORT = {"v5e:1x1": {"exec_time_optimization_effort": -1.0}, "h100:1": {}}


def full_network() -> ConfigDict:
    """The published spike network on small clips, in bfloat16, its backward pass recomputed."""
    changes = ("model.compute_dtype=bfloat16", "model.remat=everything", "data.frames=5", "data.crop=32")
    return load_config("configs/spike.py:baseline", [f"--config.{change}" for change in changes])


@pytest.mark.parametrize("topology", CHIPS)
@pytest.mark.parametrize("part", [part for part in PARTS if part != "optical flow"])  # which takes too long here
def test_every_part_compiles(part: str, topology: str) -> None:
    """Catches operations and kernels that a chip's compiler refuses, in the forward or in the backward pass."""
    config = full_network()
    with quiet():
        plan = plan_part(parts_of(config)[part], config, open_topology(topology), options=LEAST_EFFORT[topology])
    assert plan.seconds and plan.schedule
    if topology == "v5e:1x1" and part in ("attention over time", "fusion", "self-attention"):
        assert plan.schedule.kernels > 0  # they are in the program, and say what they take


def test_the_parts_of_a_network() -> None:
    """Catches parts that are forgotten, cannot be named, or count wrongly: half the side is a quarter of the pixels."""
    parts = parts_of(full_network())
    assert tuple(parts) == PARTS
    assert not any("," in name for name in parts)  # --parts takes names between commas
    seven = 1 + 1 / 4 + 1 / 16 + 1 / 64 + 1 / 16 + 1 / 4 + 1
    assert parts["alignment"].times == parts["self-attention"].times == seven
    assert parts["fusion"].times == 1 + 1 / 4 + 1 / 16 + 1 / 64
    assert (parts["stage 8 of all frames"].times, parts["stage 8 of one frame"].times) == (2, 2)
    interpolating = parts_of(load_config("configs/vrt.py:009"))
    assert "alignment" not in interpolating and "fusion" not in interpolating


def test_a_part_is_planned_here() -> None:
    """Catches figures that are missing or of another part, and products that count without the backward pass."""
    config = load_config("quickstart")
    plan = plan_part(parts_of(config)["fusion"], config, open_topology("cpu:1"))
    assert plan.memory_bytes and plan.host_bytes > 10**8 and plan.compile_seconds > 0
    assert 0.9 * plan.model_flops <= plan.flops <= 1.4 * plan.model_flops
    assert (plan.schedule, plan.seconds, limit_of(plan)) == (None, None, "-")
    assert len(part_line(plan)) == len(HEADER) <= 80


def test_the_command(tmp_path: Any) -> None:
    """Catches a command that fails in the process of a part, a line that lacks, and a JSON without figures."""
    command = [
        sys.executable,
        "-m",
        "spikejax.plan",
        "--config",
        "quickstart",
        "--topology",
        "cpu:1",
        "--parts",
        "fusion",
    ]
    done = subprocess.run([*command, "--json", str(tmp_path / "x.json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^fusion +1\.33 +\d", done.stdout, re.MULTILINE)
    assert '"compile_seconds"' in (tmp_path / "x.json").read_text()


class Here:
    """A pool that works in this process, and never finishes its second part."""

    done: list[str] = []

    def __init__(self, workers: int, **_: Any) -> None:
        assert workers == 1

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Any, config: Any, topology: str, name: str) -> Future:
        """A part of any figures."""
        if self.done:
            raise KeyboardInterrupt
        self.done.append(name)
        result: Future = Future()
        result.set_result(PartPlan(name, 1.0, Memory(1, 1, 1, 1, 1), None, 2.0, 2.0, None, None, None, 3.0, 4))
        return result


def test_parts_are_kept_as_they_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Catches a JSON that is written at the end alone: Ctrl-C in the second part, after an hour, would leave none."""
    monkeypatch.setattr(printed_parts, "ProcessPoolExecutor", Here)
    keep = partial(write_json, tmp_path / "parts.json")
    with pytest.raises(KeyboardInterrupt):
        printed_parts.print_parts(load_config("quickstart"), "cpu:1", ["fusion", "alignment"], keep=keep)
    (part,) = json.loads((tmp_path / "parts.json").read_text())["parts"]
    assert (part["name"], part["compile_seconds"]) == ("fusion", 3.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--parts", "head"), "expected names of spike encoder, .*, found 'head'"),
        (("--parts", "--batch", "2"), "without --batch"),
    ],
)
def test_what_is_refused(options: tuple[str, ...], message: str) -> None:
    """Catches a part that nobody knows and options without effect, found after minutes or not at all."""
    command = [sys.executable, "-m", "spikejax.plan", "--config", "quickstart", "--topology", "cpu:1", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and re.search(message, done.stderr)
