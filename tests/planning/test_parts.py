"""The costly parts of the networks, compiled ahead of time for a TPU and for a GPU that are not here."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import Array

from spikejax.kernels.choice import Target, trace_for
from spikejax.models.alignment import ParallelWarping, WarpingOptions
from spikejax.models.blocks import BlockOptions, TMSAGroup
from spikejax.models.flows import ClipFlows
from spikejax.models.spike_encoder import SpikeEncoder3D
from spikejax.models.stage import ResidualGroup
from spikejax.models.temporal import SpikeTemporalSA, TemporalCrossAttnFuse
from spikejax.planning.compilers import quiet
from spikejax.planning.topology import open_topology

CHIPS = [
    pytest.param("tpu", "v5e:1x1", marks=pytest.mark.needs("plan-tpu")),
    pytest.param("cuda", "h100:1", marks=pytest.mark.needs("plan-gpu")),
]
FRAMES, SIZE, WIDTH, BINS = 6, 32, 96, 32
# Whether it compiles is asked, not how fast what comes out is: on TPUs a quarter of the time.
LEAST_EFFORT = {"tpu": {"exec_time_optimization_effort": -1.0}, "cuda": {}}


def features(width: int = WIDTH, frames: int = FRAMES) -> jax.ShapeDtypeStruct:
    """The features of a clip."""
    return jax.ShapeDtypeStruct((1, frames, SIZE, SIZE, width), jnp.bfloat16)


def flows(frames: int) -> jax.ShapeDtypeStruct:
    """The flows of so many frames."""
    return jax.ShapeDtypeStruct((1, frames, SIZE, SIZE, 2), jnp.float32)


def group(*, mutual: bool) -> Callable[[nnx.Rngs], TMSAGroup]:
    """Two blocks of a stage, the second one shifted."""
    options = BlockOptions(heads=6, window=(2 if mutual else FRAMES, 8, 8), remat="everything")
    return lambda rngs: TMSAGroup(WIDTH, options, mutual=mutual, drop_rates=(0.0, 0.1), rngs=rngs)


def stage_8(rngs: nnx.Rngs) -> ResidualGroup:
    """A group of stage 8, with heads of 20 features."""
    options = BlockOptions(heads=6, window=(1, 8, 8), remat="everything")
    return ResidualGroup(120, options, drop_rates=(0.0, 0.1), rngs=rngs)


def fusion(rngs: nnx.Rngs) -> TemporalCrossAttnFuse:
    """A block that fuses."""
    return TemporalCrossAttnFuse(WIDTH, heads=4, residual="features", rngs=rngs)


FLOWS = ClipFlows(backward=(flows(FRAMES - 1),), forward=(flows(FRAMES - 1),))
# Each part, and what it is called with.
PARTS: dict[str, tuple[Callable[[nnx.Rngs], nnx.Module], tuple[Any, ...]]] = {
    "encoder": (lambda rngs: SpikeEncoder3D(BINS, (WIDTH,) * 4, rngs=rngs), (features(BINS),)),
    "temporal attention": (lambda rngs: SpikeTemporalSA(WIDTH, heads=4, rngs=rngs), (features(),)),
    "fusion": (fusion, (features(), features())),
    "self group": (group(mutual=False), (features(),)),
    "mutual group": (group(mutual=True), (features(),)),
    "parallel warping": (
        lambda rngs: ParallelWarping(WIDTH, WarpingOptions(sources=1, groups=16, scale=1), rngs=rngs),
        (features(), FLOWS),
    ),
    "stage 8": (stage_8, (features(120),)),
}


def step(definition: Any, parameters: Any, *arguments: Any) -> Any:
    """The gradients of all parameters and of what is floating point in the arguments."""

    def loss(parameters: Any, *arguments: Any) -> Array:
        results = jax.tree.leaves(nnx.merge(definition, parameters)(*arguments))
        return jnp.stack([result.astype(jnp.float32).sum() for result in results]).sum()

    return jax.grad(loss, argnums=tuple(range(1 + len(arguments))))(parameters, *arguments)


@pytest.mark.parametrize(("platform", "topology"), CHIPS)
@pytest.mark.parametrize("part", PARTS)
def test_every_part_compiles(part: str, platform: str, topology: str) -> None:
    """Catches operations and kernels that a chip's compiler refuses, in the forward or in the backward pass."""
    make, arguments = PARTS[part]
    definition, parameters = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    with quiet():
        place = jax.sharding.SingleDeviceSharding(open_topology(topology).devices[0])
        on_chip = partial(jax.tree.map, lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place))
        with trace_for(Target(platform)):
            traced = jax.jit(partial(step, definition)).trace(on_chip(parameters), *on_chip(arguments))
        compiled = traced.lower().compile(compiler_options=LEAST_EFFORT[platform])
    sizes = [math.prod(x.shape) for x in jax.tree.leaves(compiled.out_info)]
    assert sum(sizes) >= sum(math.prod(x.shape) for x in jax.tree.leaves(parameters))
