"""Kernels over 8 devices that share clips and rows: the same results and gradients as on one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from spikejax.distributed import sharding
from spikejax.kernels import sampling, window_attention, windows
from spikejax.kernels.choice import Choice
from spikejax.kernels.convolution_3d import convolve_3d
from spikejax.kernels.gated_mlp import gated_mlp
from spikejax.kernels.over_time import over_time
from spikejax.kernels.over_time_layout import OverTime
from spikejax.kernels.sampling_layout import PART, TAPS, Sampling, of_warp
from spikejax.kernels.window_layout import Cut, Heads
from tests.kernels.comparison import with_gradients
from tests.models.parameters import normal

MESHES = {"1": (1, 1), "data 2, space 4": (2, 4), "data 8, which divides no clips": (8, 1)}


def array(*shape: int, seed: int) -> Array:
    """Random numbers, float32."""
    return jnp.asarray(normal(*shape, seed=seed), jnp.float32)


def convolution(choice: Choice) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """A deformable convolution of two clips."""
    how = Sampling(sources=1, groups=2, channels=4, outputs=3, scale=5.0)
    base = jnp.asarray(np.random.default_rng(1).uniform(-2, 18, (2, 1, 1, 16, 8, 2)), jnp.float32)
    weights = array(1, TAPS * how.groups * how.channels, how.outputs, seed=3)
    given = array(2, 1, 16, 8, 2, 4, seed=0), array(2, 1, 16, 8, how.parts * PART, seed=2), base, weights
    return lambda *given: sampling.sample(*given, how, choice), given


def warping(choice: Choice) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """The warping of two clips."""
    image, _, base, _ = convolution(choice)[1]
    return lambda image, base: sampling.sample(image, None, base, None, of_warp(8), choice), (
        image.reshape(2, 1, 16, 8, 1, 8),
        base,
    )


def attention(choice: Choice) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """The attention in eight windows of two clips, with regions and a bias."""
    heads = Heads(2, 8, window_attention.lanes_of("tpu", 16))
    qkv = np.zeros((2, 8, 32, 3, heads.lanes))
    qkv[..., :16] = normal(2, 8, 32, 3, 16)
    regions = jnp.asarray(np.random.default_rng(4).integers(0, 4, (8, 32)), jnp.int32)
    given = jnp.asarray(qkv.reshape(2, 8, 32, -1), jnp.float32), array(2, 32, 32, seed=5)
    return lambda qkv, bias: window_attention.window_attention(qkv, bias, regions, heads, choice), given


def attention_over_time(choice: Choice) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """The fusion of two clips with two."""
    shapes = ((8,), (8,)) * 2 + ((8, 8), (8,)) * 4 + ((8,), (8,), (8, 16), (16,), (16, 8), (8,))
    parameters = [array(*shape, seed=number) for number, shape in enumerate(shapes)]
    bias = parameters.pop(7)  # of the keys: it changes nothing, and its gradient is rounding alone
    clips = array(2, 2, 8, 16, 8, seed=20), array(2, 2, 8, 16, 8, seed=21)

    def fused(x: Array, y: Array, *parameters: Array) -> Array:
        return over_time((x, y), (*parameters[:7], bias, *parameters[7:]), OverTime(2, asks=True), choice)

    return fused, (*clips, *parameters)


def convolution_in_time_and_space(choice: Choice) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """The 3-D convolution of two clips, with something added."""
    given = array(2, 2, 8, 16, 3, seed=0), array(3, 3, 3, 3, 4, seed=1), array(4, seed=2), array(2, 2, 8, 16, 4, seed=3)
    return lambda *given: convolve_3d(*given, False, choice), given


def norm_and_mlp(choice: Choice) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """The second half of a block of two clips, the second one dropped to a half."""
    shapes = (8,), (8,), (8, 16), (16,), (8, 16), (16,), (16, 8), (8,)
    parameters = [array(*shape, seed=number) for number, shape in enumerate(shapes)]
    scale = jnp.asarray([1.0, 0.5], jnp.float32)
    return lambda x, *parameters: gated_mlp(x, scale, parameters, choice), (array(2, 2, 8, 16, 8, seed=20), *parameters)


def windows_and_back(choice: Choice) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """Two clips, cut into shifted windows and put together again, the second one dropped to a half."""
    heads, cut = Heads(2, 4, window_attention.lanes_of("tpu", 8), masked=True), Cut(2, (1, 4, 4))
    shapes = (8,), (8,), (8, 3 * heads.lanes), (3 * heads.lanes,), (heads.lanes, 8), (8,)
    parameters = [array(*shape, seed=number) for number, shape in enumerate(shapes)]
    flag, scale = jnp.ones(1, jnp.int32), jnp.asarray([1.0, 0.5], jnp.float32)

    def through(x: Array, *parameters: Array) -> Array:
        norm, (matrix, bias), (kernel, added) = parameters[:2], parameters[2:4], parameters[4:]
        (qkv,) = windows.into_windows(x, flag, norm, ((matrix, bias, None),), (heads,), cut, choice)
        values = qkv[..., 2 * heads.lanes :]
        return windows.out_of_windows(x, (values,), flag, scale, (kernel,), added, cut, choice)

    return through, (array(2, 3, 16, 16, 8, seed=20), *parameters)


OPERATIONS = {
    "3-D convolution": convolution_in_time_and_space,
    "convolution": convolution,
    "warping": warping,
    "attention": attention,
    "attention over time": attention_over_time,
    "norm and MLP": norm_and_mlp,
    "windows and back": windows_and_back,
}


def main() -> None:
    """Prints what every operation gives on every mesh, as JSON."""
    answers = {}
    for name, (data, space) in MESHES.items():
        mesh = sharding.make_mesh({"data": data, "fsdp": 1, "space": space}, devices=jax.devices()[: data * space])
        choice = Choice("tpu", interpret=True, target=sharding.kernel_target(mesh))
        for operation, make in OPERATIONS.items():
            function, given = make(choice)
            answers[f"{operation} {name}"] = [
                np.asarray(x, np.float64).ravel().tolist() for x in jax.tree.leaves(with_gradients(function, *given))
            ]
    print(json.dumps(answers))


@pytest.mark.slow
def test_kernels_on_eight_devices() -> None:
    """Catches clips, rows or windows that end up elsewhere, gradients that are not summed or are summed twice."""
    ran = subprocess.run(
        [sys.executable, "-c", "from tests.kernels.test_devices import main; main()"],
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    answers = json.loads(ran.stdout.splitlines()[-1])
    for operation in OPERATIONS:
        for name in MESHES:
            ours, alone = answers[f"{operation} {name}"], answers[f"{operation} 1"]
            assert len(ours) == len(alone) >= 3
            for x, y in zip(ours, alone, strict=True):
                extent = np.abs(y).max()
                np.testing.assert_allclose(x, y, rtol=0, atol=2e-6 * extent, err_msg=f"{operation}, {name}")
