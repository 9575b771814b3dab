"""What planning reads from the texts of each JAX that is supported, as the compilers wrote them."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from spikejax.planning.hlo import KNOWN_JAX
from tests.planning.compiled_texts import FOLDER, LAYERS, TOPOLOGIES, WIDTH, WORDS, read, release

WEIGHTS, TABLE = LAYERS * WIDTH * WIDTH * 4, WORDS * WIDTH * 4  # bytes
NAMES = [f"jax-{known}-{chip}" for known in KNOWN_JAX for chip in TOPOLOGIES]


def saved_text(name: str) -> str:
    """The text of that name, such as jax-0.12-v5e."""
    return gzip.decompress((FOLDER / f"{name}.txt.gz").read_bytes()).decode()


@pytest.mark.parametrize("name", NAMES)
def test_collectives_are_those_of_the_program(name: str) -> None:
    """Catches operands of an asynchronous start that count as results, and loops that count once, in any JAX's text.

    The figures follow from the program: the layers' parameters, apart over four devices, are gathered in every round
    forward and backward; their gradient is reduced, to parts except on CPUs; so is the table's, whole.
    """
    traffic = read(saved_text(name))
    collectives = {kind: (one["count"], one["bytes"]) for kind, one in traffic["collectives"].items()}
    on_tpu, on_cpu = name.endswith("v5e"), name.endswith("cpu")
    expected = {
        "all-gather": (2 * LAYERS, WEIGHTS * (1 if on_tpu else 2))
    }  # in bfloat16 on TPUs, the products' operands
    if on_cpu:
        expected["all-reduce"] = (LAYERS + 1, WEIGHTS + TABLE)
    else:
        expected |= {"reduce-scatter": (LAYERS, WEIGHTS), "all-reduce": (1, TABLE)}
    assert collectives == expected
    assert traffic["unknown_loops"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_that_were_looked_at(name: str) -> None:
    """Catches a change of what is read from a text, memory traffic with it, that nobody meant."""
    assert read(saved_text(name)) == json.loads((FOLDER / f"{name}.json").read_text())


def test_gpu_moves_about_the_same_with_each_jax() -> None:
    """Catches asynchronous fusions and collectives, which only some releases write, whose operands count as results."""
    moved = [read(saved_text(f"jax-{known}-h100"))["memory_bytes"] for known in KNOWN_JAX]
    assert max(moved) < 1.02 * min(moved)


def test_every_release_in_range_has_its_texts() -> None:
    """Catches a range of JAX that was widened without looking at its texts, and texts that no release needs."""
    settings = (Path(__file__).parents[2] / "setup.cfg").read_text()
    bounds = re.search(r"^ +jax>=0\.(\d+)\.\d+,<0\.(\d+)$", settings, re.MULTILINE)
    assert bounds
    assert KNOWN_JAX == tuple(f"0.{minor}" for minor in range(int(bounds[1]), int(bounds[2])))
    assert {path.name.removesuffix(".txt.gz") for path in FOLDER.glob("*.txt.gz")} == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    "chip",
    [
        pytest.param("v5e", marks=pytest.mark.needs("plan-tpu")),
        pytest.param("h100", marks=pytest.mark.needs("plan-gpu")),
        "cpu",
    ],
)
def test_this_jax_writes_what_was_saved(chip: str) -> None:
    """Catches a patch release of JAX whose texts read otherwise than those that were saved of its release."""
    name = f"jax-{release(jax.__version__)}-{chip}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    code = "import json, sys; from tests.planning.compiled_texts import *; text = compile_text(sys.argv[1])"
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}; print(json.dumps(read(text)))", TOPOLOGIES[chip]],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    saved = json.loads((FOLDER / f"{name}.json").read_text())
    assert json.loads(answer.stdout)["collectives"] == saved["collectives"]
