"""The command line of planning, with the stand-in for a network."""

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from spikejax import plan
from spikejax.cli import run
from spikejax.errors import InputError
from spikejax.planning import printed_plans
from spikejax.planning.plan_text import WIDTH
from spikejax.planning.step_plan import StepPlan, plan_step
from spikejax.planning.topology import Topology
from tests.stand_ins import build_stand_in

CONFIG = """
from tests.stand_ins import tiny_config

def get_config():
    return tiny_config()
"""


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A small configuration on the devices that there are."""
    for name in ("JAX_PLATFORMS", "JAX_ENABLE_COMPILATION_CACHE"):  # set by the command, for this process
        monkeypatch.setenv(name, "cpu" if name == "JAX_PLATFORMS" else "true")
    monkeypatch.setattr(printed_plans, "plan_step", functools.partial(plan_step, build=build_stand_in))
    (tmp_path / "config.py").write_text(CONFIG)
    return ["--config", str(tmp_path / "config.py"), "--topology", f"cpu:{jax.device_count()}"]


def cramp(monkeypatch: pytest.MonkeyPatch, available: int) -> None:
    """Gives the devices less memory than they have."""
    roomy = printed_plans.plan_step

    def cramped(config: ConfigDict, topology: Topology, **options: Any) -> StepPlan:
        return dataclasses.replace(roomy(config, topology, **options), available=available)

    monkeypatch.setattr(printed_plans, "plan_step", cramped)


@pytest.mark.slow
def test_plan_of_a_batch(arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Catches a batch that is not the one asked for, progress among the figures, and JSON that lacks some."""
    plan.main([*arguments, "--batch", "4", "--json", str(tmp_path / "plan.json")])
    printed = capfd.readouterr()
    assert "4 clip(s) of 2x16x16, float32, remat none" in printed.out
    assert "temporaries" in printed.out and "compiling" not in printed.out
    assert "compiling for cpu:" in printed.err and "fits, " in printed.err
    assert max(map(len, printed.out.splitlines())) <= WIDTH
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["batch_size"] == 4 and figures["fits"]
    assert figures["memory"]["total"] == figures["needed"]


@pytest.mark.slow
def test_largest_batch(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Catches a search that leaves out the configuration's own batch, or forgets the clips of the other parts."""
    cramp(monkeypatch, 1_200_000)
    plan.main([*arguments, "--json", str(tmp_path / "plan.json")])
    printed = capfd.readouterr().out
    figures = json.loads((tmp_path / "plan.json").read_text())
    assert figures["batch_size"] == 2
    assert f"largest batch that fits: {figures['largest_batch']} clip(s)" in printed
    assert figures["largest_batch"] > 2


@pytest.mark.slow
def test_sweep(arguments: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Catches policies that are left out, lines that do not fit, and a table without its figures."""
    plan.main([*arguments, "--sweep", "--batch", "2", "--remat", "none", "--remat", "blocks"])
    printed = capfd.readouterr()
    lines = printed.out.splitlines()
    assert [line.split()[3] for line in lines[2:]] == ["none", "blocks"]
    assert "compiling 2/2" in printed.err and "min left" in printed.err
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--mesh", "rows=2"], "--mesh: expected axes of data, fsdp.*found rows"),
        (["--mesh", "data=3"], "mesh.data: 3 does not divide"),
        (["--remat", "all"], "--remat: expected one of none, blocks, everything"),
        (["--topology", "v9:4x4"], "--topology: expected a chip of v4, v5e"),
        (["--config.data.cropp=3"], "did you mean"),
    ],
)
def test_wrong_input(arguments: list[str], more: list[str], told: str) -> None:
    """Catches minutes of compiling before a slip is told."""
    with pytest.raises(InputError, match=told):
        plan.main([*arguments, *more])


@pytest.mark.slow
def test_nothing_fits(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a search that goes on for ever, or ends without a word."""
    cramp(monkeypatch, 10)
    with pytest.raises(InputError, match="expected a batch that fits cpu:"):
        plan.main([*arguments, "--config.data.batch_size=1"])


@pytest.mark.parametrize("words", [["--mesh", "data"], ["--batch", "0"], ["--mesh", "data=1", "--mesh", "data=2"]])
def test_arguments_that_make_no_sense(
    arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a traceback where argparse's line would do."""
    monkeypatch.setattr("sys.argv", ["plan", *arguments, *words])
    with pytest.raises(SystemExit) as ended:
        run(plan.main)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_compile_cache_is_left_alone(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a cache of the user's that is asked for programs of chips that are not here, which JAX warns about."""
    monkeypatch.setattr(plan, "_print_plans", lambda options, config: {})
    plan.main(arguments)
    assert os.environ["JAX_ENABLE_COMPILATION_CACHE"] == "false"
