"""The 3x3x3 convolution by a kernel, interpreted here, against the layer that defines it."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

from spikejax.kernels import convolution_3d_tpu
from spikejax.kernels.choice import Choice, Target
from spikejax.models import layers
from spikejax.models.layers import Conv3D
from spikejax.models.rngs import make_rngs
from spikejax.models.spike_encoder import ResidualBlock3D
from tests.kernels.comparison import times_chosen
from tests.models.parameters import build_random, normal


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The plain form is exact."""
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize("blocks", ("one", "several"))
def test_convolution(blocks: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches taps in the wrong order, edges that are not zero, rows of another block, frame or clip, and gradients."""
    if blocks == "several":  # of two rows, and products of one row at once
        monkeypatch.setattr(convolution_3d_tpu, "_PIXELS", 32)
        monkeypatch.setattr(convolution_3d_tpu, "_AT_ONCE", 16)
    layer = build_random(lambda rngs: Conv3D(5, 7, rngs=rngs))
    assert times_chosen(monkeypatch, layers, layer, jnp.asarray(normal(2, 3, 6, 16, 5)), dtype=dtype) == 1


@pytest.mark.parametrize(("frames", "stride"), [(1, 1), (2, 2)])
def test_short_clips_odd_sizes_and_strides(frames: int, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches frames before the first and after the last, rows that only 1 divides, and a stride's other pixels."""
    layer = build_random(lambda rngs: Conv3D(3, 4, stride=stride, rngs=rngs))
    assert times_chosen(monkeypatch, layers, layer, jnp.asarray(normal(1, frames, 5, 48, 3)), dtype="float32") == 1


@pytest.mark.slow
def test_what_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a sum after the ReLU, and a gradient of either that does not come back."""
    block = build_random(lambda rngs: ResidualBlock3D(6, rngs=rngs))
    assert times_chosen(monkeypatch, layers, block, jnp.asarray(normal(1, 2, 4, 16, 6)), dtype="float32") == 2
    monkeypatch.undo()
    layer = build_random(lambda rngs: Conv3D(3, 4, rngs=rngs))
    x, added = (jnp.asarray(normal(1, 2, 4, 16, width)) for width in (3, 4))
    assert times_chosen(monkeypatch, layers, layer, x, dtype="float32", added=added) == 1


def test_devices_that_share_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches clips whose rows every device convolves whole."""
    layer = Conv3D(3, 4, rngs=make_rngs(0))
    for space, by_kernel in ((1, True), (2, False)):
        mesh = Mesh(np.array(jax.devices()[:1] * space).reshape(1, space), ("data", "space"))  # nothing runs on it
        choice = Choice("tpu", interpret=True, target=Target("tpu", mesh, ("data",), "space"))
        monkeypatch.setattr(layers, "choose", lambda fits, choice=choice: choice)
        x = jax.ShapeDtypeStruct((1, 2, 4, 16, 3), jnp.float32)
        traced = str(jax.make_jaxpr(lambda x: layer(x))(x))
        assert ("pallas_call" in traced) == by_kernel and ("conv_general_dilated" in traced) != by_kernel


@pytest.mark.parametrize(
    ("columns", "features", "fits"),
    [(16, 8, True), (24, 8, False), (16, 129, False), (4096, 8, False)],
)
def test_what_it_takes(columns: int, features: int, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a width or features that the kernel would compute wrongly."""
    layer = nnx.eval_shape(lambda: Conv3D(features, 8, rngs=make_rngs(0)))
    asked = []

    def choose(fits: Any) -> Choice:
        asked.append(fits("tpu"))
        return Choice("plain")

    monkeypatch.setattr(layers, "choose", choose)
    x = jax.ShapeDtypeStruct((1, 2, 4, columns, features), jnp.float32)
    jax.eval_shape(lambda layer, x: layer(x), layer, x)
    assert asked == [fits]
