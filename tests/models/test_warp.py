"""Resizing and warping against loops over single pixels."""

from collections.abc import Iterator
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from spikejax.models.warp import pixel_grid, resize_bilinear, sample_bilinear, warp, warp_nearest4
from tests.models import loops


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def images(*shape: int, seed: int = 0) -> np.ndarray:
    """Random images."""
    return np.random.default_rng(seed).normal(size=shape)


def flows(*shape: int, size: float = 3.0) -> np.ndarray:
    """Random flows; some of them leave the image, on every side."""
    return np.random.default_rng(1).normal(size=(*shape, 2)) * size


@pytest.mark.parametrize("align_corners", (True, False))
@pytest.mark.parametrize("size", ((10, 14), (3, 4), (5, 9), (1, 1), (5, 7)))
def test_resizing_samples_every_pixel(size: tuple[int, int], align_corners: bool) -> None:
    """Catches half-pixel centres mixed up with aligned corners, an edge that is not clamped, antialiasing."""
    image = images(2, 5, 7, 3)
    resized = resize_bilinear(jnp.asarray(image), *size, align_corners=align_corners)
    np.testing.assert_allclose(resized, loops.resize(image, *size, align_corners=align_corners), atol=1e-12)


def test_resizing_a_single_row() -> None:
    """Catches a division by zero where an axis has one pixel: the coarsest level of a small clip."""
    image = images(1, 1, 2, 1)
    for align_corners in (True, False):
        resized = resize_bilinear(jnp.asarray(image), 3, 4, align_corners=align_corners)
        np.testing.assert_allclose(resized, loops.resize(image, 3, 4, align_corners=align_corners), atol=1e-12)


def test_the_grid_holds_column_then_row() -> None:
    """Catches swapped coordinates, which square pictures hide."""
    grid = np.asarray(pixel_grid(3, 5, jnp.dtype(jnp.float32)))
    assert grid.shape == (1, 3, 5, 2)
    assert grid[0, 2, 4].tolist() == [4, 2]


@pytest.mark.parametrize("padding", ("zeros", "border"))
def test_warping_samples_every_pixel(padding: Literal["zeros", "border"]) -> None:
    """Catches a wrong corner weight, swapped (dx, dy), a wrong sign, and what happens outside."""
    image, flow = images(2, 5, 7, 3), flows(2, 5, 7)
    warped = jax.jit(partial(warp, padding=padding))(jnp.asarray(image), jnp.asarray(flow))
    np.testing.assert_allclose(warped, loops.warp(image, flow, padding), atol=1e-12)


@pytest.mark.parametrize("padding", ("zeros", "border"))
@pytest.mark.parametrize("dtype", (jnp.float32, jnp.bfloat16))
def test_zero_flow_is_the_identity(dtype: type, padding: Literal["zeros", "border"]) -> None:
    """Catches positions in the image's own dtype: bfloat16 does not know column 301. Bitwise."""
    image = jnp.asarray(images(1, 2, 400, 1), dtype)
    warped = jax.jit(partial(warp, padding=padding))(image, jnp.zeros((1, 2, 400, 2), jnp.float32))
    assert warped.dtype == dtype
    assert jnp.array_equal(warped, image)


def test_an_integer_flow_is_a_shift() -> None:
    """Catches a flow that is read as where pixels go to, instead of where they come from. Bitwise."""
    image = jnp.asarray(images(1, 6, 8, 2))
    flow = jnp.broadcast_to(jnp.asarray([2.0, -1.0]), (1, 6, 8, 2))
    # Row 1, column 0 comes from row 0, column 2.
    shifted = jnp.pad(image[:, :-1, 2:], ((0, 0), (1, 0), (0, 2), (0, 0)))
    assert jnp.array_equal(jax.jit(warp)(image, flow), shifted)
    clamped = jnp.pad(image[:, :-1, 2:], ((0, 0), (1, 0), (0, 2), (0, 0)), mode="edge")
    assert jnp.array_equal(jax.jit(partial(warp, padding="border"))(image, flow), clamped)


def test_far_away_there_is_nothing() -> None:
    """Catches positions that overflow an integer and come back inside."""
    distances = jnp.asarray([1e3, 1e9, 1e18, -1e18], jnp.float32).reshape(4, 1, 1, 1)
    image, flow = jnp.ones((4, 4, 4, 1), jnp.float32), jnp.broadcast_to(distances, (4, 4, 4, 2))
    assert not jax.jit(warp)(image, flow).any()
    assert not jax.jit(warp_nearest4)(image, flow).any()
    assert jax.jit(partial(warp, padding="border"))(image, flow).all()


@pytest.mark.slow
def test_warping_has_the_gradient_of_its_values() -> None:
    """Catches a gradient that does not reach the flow or the image, or reaches them wrongly, at the border as well."""
    # Off the integers, where the interpolation has a kink.
    flow = np.random.default_rng(1).integers(-2, 3, (1, 4, 5, 2)) + np.random.default_rng(2).uniform(
        0.2, 0.8, (1, 4, 5, 2)
    )
    check_grads(
        lambda image, flow: warp(jnp.asarray(image), jnp.asarray(flow)),
        (images(1, 4, 5, 2), flow),
        order=1,
        modes=["rev"],
    )


def test_groups_of_channels_have_their_own_positions() -> None:
    """Catches channels that are sampled at another group's positions."""
    image = images(2, 4, 5, 3, 2)
    position = np.random.default_rng(1).uniform(-1.5, 5.5, (2, 6, 3, 2))
    samples = sample_bilinear(jnp.asarray(image), jnp.asarray(position))
    for n, p, group in np.ndindex(2, 6, 3):
        expected = loops.bilinear(image[n, :, :, group], *position[n, p, group])
        np.testing.assert_allclose(samples[n, p, group], expected, atol=1e-12)


def test_nearest4_takes_the_four_neighbours() -> None:
    """Catches another order of the four images, channels that are interleaved, whole-numbered flows (floor = ceil)."""
    image, flow = images(2, 5, 7, 3), flows(2, 5, 7)
    flow[0, :, :3] = flow[0, :, :3].round()
    warped = jax.jit(warp_nearest4)(jnp.asarray(image), jnp.asarray(flow))
    np.testing.assert_array_equal(warped, loops.nearest4(image, flow))


def test_nearest4_gives_the_flow_no_gradient_and_the_image_its_own() -> None:
    """Catches a gradient of rounding, which would be zero or wrong but not nothing, and an image cut off with it."""
    image, flow = images(1, 5, 7, 3), flows(1, 5, 7)
    of_image, of_flow = jax.jit(jax.grad(lambda *args: warp_nearest4(*args).sum(), argnums=(0, 1)))(image, flow)
    assert not of_flow.any()
    # Every pixel counts as often as it was read.
    reads = np.zeros((5, 7))
    for row, column in np.ndindex(5, 7):
        x, y = column + flow[0, row, column, 0], row + flow[0, row, column, 1]
        for left in (np.floor(x), np.ceil(x)):
            for top in (np.floor(y), np.ceil(y)):
                if 0 <= left < 7 and 0 <= top < 5:
                    reads[int(top), int(left)] += 1
    np.testing.assert_array_equal(of_image[0], np.repeat(reads[..., None], 3, axis=-1))
