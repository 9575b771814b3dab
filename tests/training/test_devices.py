"""The whole network on 8 devices: the same losses as on one, and nothing sent that need not be."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from spikejax.distributed import sharding
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training.step import describe_network

pytestmark = pytest.mark.slow

MODEL = dict(
    backbone="vrt",
    vrt=dict(
        window=(2, 4, 4), depths=(2,) * 7 + (1,), dims=(8,) * 8, heads=(2,) * 8, independent=(), deformable_groups=2
    ),
    spike=dict(bins=4, channels=(8,) * 4, heads=2, fusion="cross_attention"),
    compute_dtype="float32",
    remat="none",
    kernels="auto",
)
SIZES = {"input": 3, "voxels": 4}


@cache
def parameters() -> Any:
    """Random numbers for the whole network."""
    shapes = describe_network(lambda: build_restorer(MODEL, rngs=make_rngs(0))).shapes
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(scale=0.1, size=leaf.shape).astype(np.float32), shapes)


def answer(mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """What the devices of `mesh` make of a batch, in short, and the collectives of their program."""
    network = describe_network(lambda: build_restorer(MODEL, rngs=make_rngs(0)))
    params = jax.device_put(parameters(), sharding.parameter_shardings(network.shapes, network.axes, mesh))
    rng = np.random.default_rng(0)
    batch = {name: rng.uniform(size=(8, 2, 32, 32, size)).astype(np.float32) for name, size in SIZES.items()}
    placed = sharding.put_batch(batch, mesh, 8)
    program = jax.jit(nnx.merge(network.graph, params).__call__).lower(placed["input"], placed["voxels"]).compile()
    collectives = re.findall(r" (all-gather|all-to-all|collective-permute|all-reduce)(?:-start)?\(", program.as_text())
    recon = np.asarray(program(placed["input"], placed["voxels"]))
    return {"rows": recon.mean((0, 1, 3, 4)).tolist(), "collectives": sorted(set(collectives))}


def main() -> None:
    """Prints the answers of some meshes as JSON."""
    answers = {"1x1x1": answer(sharding.make_mesh({"data": 1, "fsdp": 1, "space": 1}, devices=jax.devices()[:1]))}
    for data, fsdp, space in ((8, 1, 1), (2, 1, 4)):
        mesh = sharding.make_mesh({"data": data, "fsdp": fsdp, "space": space})
        answers[f"{data}x{fsdp}x{space}"] = answer(mesh)
    print(json.dumps(answers))


def test_network_on_eight_devices() -> None:
    """Catches clips or rows that end up elsewhere, and clips that devices send each other though each has its own."""
    printed = subprocess.run(
        [sys.executable, "-c", "from tests.training.test_devices import main; main()"],
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(printed.stdout)
    assert answers["8x1x1"]["collectives"] == []
    for mesh in ("8x1x1", "2x1x4"):
        np.testing.assert_allclose(answers[mesh]["rows"], answers["1x1x1"]["rows"], rtol=1e-5, err_msg=mesh)
