"""Reports of plans whose figures are known."""

import dataclasses
import json

import pytest

from spikejax.planning.plan_text import SWEEP_HEADER, WIDTH, sweep_line, to_json, to_text
from spikejax.planning.schedule import Schedule
from spikejax.planning.step_plan import Memory, Roofline, StepPlan
from spikejax.planning.traffic import Collective, Traffic

PLAN = StepPlan(
    topology="v5p:2x2x4",
    devices=16,
    hosts=4,
    mesh={"data": 2, "fsdp": 8},
    batch_size=16,
    clip=(5, 256, 256),
    compute_dtype="bfloat16",
    remat="everything",
    steps=300_000,
    parameters=23_731_719,
    available=int(95.74 * 2**30),
    memory=Memory(arguments=3 * 2**30, outputs=2**30, aliased=2**30, temporaries=40 * 2**30, code=2**20),
    needed=43 * 2**30 + 2**20,
    flops=60e12,
    model_flops=40e12,
    cost_analysis={"flops": 7e12, "bytes accessed": 3e11},
    traffic=Traffic({"all-reduce": Collective(12, 96e6, 180e6)}, 1.5e12, 0),
    roofline=Roofline(compute=0.1307, memory=0.5425, network=0.0003),
    schedule=Schedule(memory=0.3, units=0.2, rows=0.1, kernels=0.05, gathered=2e6, scattered=3e6),
    model_flop_utilisation=0.1606,
    compile_seconds=100.0,
)


def test_a_plan_in_full() -> None:
    """Catches figures in the wrong line or unit, and lines that are wider than a terminal."""
    text = to_text(PLAN)
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert {
        "v5p:2x2x4: 16 device(s) on 4 host(s), mesh data=2 fsdp=8",
        "temporaries 40.00 GiB",
        "in place of arguments -1.00 GiB",
        "in all 43.00 GiB",
        "fits: 44.9% of 95.74 GiB",
        "products, as compiled 60.00 TFLOP",
        "all-reduce 12 96.00 MB 180.00 MB",
        "memory 542.5 ms",
        "bound by memory: 1.8 steps/s, 29.5 clips/s",
        "matrix and vector units 200.0 ms",
        "2,000,000 rows gathered, 3,000,000 scattered 100.0 ms",
        "in all: 1.5 steps/s, 24.6 clips/s",
        "300,000 steps: 2 d 6 h",
        "model FLOP utilisation then: 16.1%",
    } <= lines
    assert max(map(len, text.splitlines())) <= WIDTH


def test_a_plan_that_does_not_fit() -> None:
    """Catches a refusal that does not say how much is missing, or a plan that seems to fit."""
    nothing = dict(memory=None, traffic=None, roofline=None, schedule=None, cost_analysis={})
    refused = dataclasses.replace(PLAN, needed=100 * 2**30, **nothing)
    text = to_text(refused)
    assert "DOES NOT FIT: the compiler asks for 100.00 GiB of temporaries,\na device has 95.74 GiB" in text
    assert "60.00 TFLOP" in text and max(map(len, text.splitlines())) <= WIDTH
    assert sweep_line(refused).split()[:4] == ["data=2", "fsdp=8", "everything", ">100.0"]
    too_large = dataclasses.replace(PLAN, available=2**30)
    assert "DOES NOT FIT: 4300.1% of 1.00 GiB" in to_text(too_large)
    assert ">43.0" in sweep_line(too_large)


def test_a_line_of_a_sweep() -> None:
    """Catches columns that do not stand below their heads, and lines that are too wide."""
    line = sweep_line(dataclasses.replace(PLAN, mesh={"data": 128, "fsdp": 16, "space": 16}))
    assert len(SWEEP_HEADER) == len(line) <= WIDTH
    assert line.split()[-4:] == ["ms", "0.3", "ms", "16%"]


def test_json_holds_what_is_computed_from_other_figures() -> None:
    """Catches totals that whoever reads the file has to add up."""
    found = json.loads(json.dumps(to_json(PLAN)))
    assert found["fits"] and found["memory"]["total"] == PLAN.needed
    assert found["roofline"]["limit"] == "memory" and found["roofline"]["step"] == PLAN.roofline.step
    assert found["seconds"] == pytest.approx(0.65)  # the longer of roofline and schedule
    assert found["run_seconds"] == pytest.approx(300_000 * 0.65)
    assert found["traffic"]["collectives"]["all-reduce"]["sent"] == 180e6
