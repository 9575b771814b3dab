"""SpyNet's pyramid, with levels whose answers are known."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array

from spikejax.models.rngs import make_rngs
from spikejax.models.spynet import LEVELS, SCALES, PyramidLevel, SpyNet
from tests.models import loops

SHOWN: list[Array] = []


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


class KnownLevel(nnx.Module):
    """Adds the same flow everywhere, and notes what it is shown."""

    def __init__(self, flow: tuple[float, float]):
        self.flow = flow

    def __call__(self, x: Array) -> Array:
        """The level's addition to the flow."""
        SHOWN.append(x)
        return jnp.broadcast_to(jnp.asarray(self.flow, x.dtype), (*x.shape[:3], 2))


class KnownLevels(SpyNet):
    """SpyNet with known levels, coarsest first."""

    def __init__(self, *flows: tuple[float, float]):
        self.levels = nnx.List(KnownLevel(flow) for flow in flows)


def run(network: SpyNet, reference: np.ndarray, supporting: np.ndarray) -> tuple[tuple[Array, ...], list[Array]]:
    """The network's flows, and what its levels were shown."""

    @jax.jit
    def compiled(reference: Array, supporting: Array) -> tuple[tuple[Array, ...], list[Array]]:
        SHOWN.clear()
        return network(reference, supporting), list(SHOWN)

    return compiled(jnp.asarray(reference), jnp.asarray(supporting))


def pictures(*shape: int, seed: int = 0) -> np.ndarray:
    """Random pictures in [0, 1]."""
    return np.random.default_rng(seed).uniform(size=shape)


@pytest.mark.slow
def test_a_level_is_five_7x7_convolutions() -> None:
    """Catches a ReLU too many or too few, and padding that shrinks the flow."""
    level = nnx.jit(lambda: PyramidLevel(rngs=make_rngs(0)))()
    x = pictures(1, 4, 5, 8)
    expected = x
    for number, layer in enumerate(level.convolutions):
        kernel, bias = (np.asarray(p[...], np.float64) for p in (layer.kernel, layer.bias))
        expected = loops.convolution(expected, kernel, bias)
        if number < 4:
            expected = np.maximum(expected, 0)
    np.testing.assert_allclose(jax.jit(level)(jnp.asarray(x)), expected, atol=1e-12)


@pytest.mark.slow
def test_levels_double_the_flow_and_the_result_is_in_pixels_of_its_scale() -> None:
    """Catches a flow that is resized but not rescaled: between levels, and from multiples of 32 to the real size."""
    additions = tuple((1.0 / 2**level, -0.5 * level) for level in range(LEVELS))
    picture = pictures(2, 17, 40, 3)  # 32 x 64 inside
    flows, _ = run(KnownLevels(*additions), picture, picture)
    flow = np.zeros(2)
    by_level = [flow := 2 * flow + np.array(addition) for addition in additions]
    for scale, answer, expected in zip(SCALES, flows, by_level[::-1], strict=False):
        rows, columns = 17 // scale, 40 // scale
        assert answer.shape == (2, rows, columns, 2)
        unit = np.array([columns / (64 // scale), rows / (32 // scale)])
        np.testing.assert_allclose(answer, np.broadcast_to(expected * unit, answer.shape), atol=1e-12)


def test_a_level_sees_the_reference_the_warped_other_and_the_flow() -> None:
    """Catches the wrong picture warped, a warp with zeros outside, an order of the 8 channels, no normalisation."""
    network = KnownLevels((1.0, 0.0), *((0.0, 0.0),) * (LEVELS - 1))
    reference, supporting = pictures(1, 64, 32, 3), pictures(1, 64, 32, 3, seed=1)
    _, shown = run(network, reference, supporting)
    assert [x.shape for x in shown] == [(1, 2 * 2**level, 2**level, 8) for level in range(LEVELS)]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = [(picture - mean) / std for picture in (reference, supporting)]
    # The finest level is given 2^5 pixels to the right: the last column, everywhere.
    np.testing.assert_allclose(shown[-1][..., :3], normalised[0], atol=1e-12)
    last_column = np.broadcast_to(normalised[1][:, :, -1:], normalised[1].shape)
    np.testing.assert_allclose(shown[-1][..., 3:6], last_column, atol=1e-12)
    np.testing.assert_allclose(shown[-1][..., 6:], np.broadcast_to([32.0, 0.0], (1, 64, 32, 2)), atol=1e-12)
    # The coarsest is given no flow, and averages of 32 x 32 pixels.
    averages = [picture.reshape(1, 2, 32, 1, 32, 3).mean((2, 4)) for picture in normalised]
    np.testing.assert_allclose(shown[0][..., :6], np.concatenate(averages, axis=-1), atol=1e-12)
    assert not shown[0][..., 6:].any()


def test_pictures_become_multiples_of_32() -> None:
    """Catches padding instead of resizing, and sizes rounded down."""
    picture = pictures(1, 33, 20, 3)
    _, shown = run(KnownLevels(*((0.0, 0.0),) * LEVELS), picture, picture)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (loops.resize(picture, 64, 32, align_corners=False) - mean) / std
    np.testing.assert_allclose(shown[-1][..., :3], expected, atol=1e-12)
