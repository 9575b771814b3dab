"""Resizing and warping of pictures, flows and features; all sampling of the networks goes through here.

Conventions: images are [n, h, w, c]; a flow is (dx, dy) in pixels on the last axis, pixel centres are at integers, and
`warp(image, flow)` samples `image` at (column + dx, row + dy). Positions are never narrower than float32, whatever the
dtype of the image.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int


def resize_bilinear(
    x: Float[Array, "n h w c"], height: int, width: int, *, align_corners: bool = False
) -> Float[Array, "n {height} {width} c"]:
    """`x` resized bilinearly, without antialiasing, clamped at the edge.

    Args:
        x: images.
        height: rows of the result.
        width: columns of the result.
        align_corners: the outer pixel centres coincide; otherwise the outer pixel edges do (half-pixel centres).
    """
    for axis, size in ((1, height), (2, width)):
        if size != x.shape[axis]:
            x = _resize_axis(x, axis, size, align_corners)
    return x


def _resize_axis(x: Array, axis: int, size: int, align_corners: bool) -> Array:
    source = x.shape[axis]
    if align_corners:
        position = np.arange(size) * ((source - 1) / max(size - 1, 1))
    else:
        position = (np.arange(size) + 0.5) * (source / size) - 0.5
    position = position.clip(0, source - 1)
    below = np.floor(position).astype(np.int32)
    above = np.minimum(below + 1, source - 1)
    shape = [1] * x.ndim
    shape[axis] = size
    weight = jnp.asarray((position - below).reshape(shape), x.dtype)
    return x[_at(axis, below)] * (1 - weight) + x[_at(axis, above)] * weight


def _at(axis: int, index: np.ndarray) -> tuple[slice | np.ndarray, ...]:
    return (slice(None),) * axis + (index,)


def pixel_grid(height: int, width: int, dtype: jnp.dtype) -> Float[Array, "1 {height} {width} 2"]:
    """The position (column, row) of every pixel."""
    columns = lax.broadcasted_iota(dtype, (1, height, width), 2)
    rows = lax.broadcasted_iota(dtype, (1, height, width), 1)
    return jnp.stack([columns, rows], axis=-1)


def warp(
    image: Float[Array, "n h w c"], flow: Float[Array, "n h w 2"], *, padding: Literal["zeros", "border"] = "zeros"
) -> Float[Array, "n h w c"]:
    """`image` sampled bilinearly where `flow` points to.

    Args:
        image: what is sampled.
        flow: (dx, dy) in pixels, float32 or float64.
        padding: outside the image there are zeros, or the position is moved to the border.
    """
    n, height, width, channels = image.shape
    position = pixel_grid(height, width, flow.dtype) + flow
    if padding == "border":
        limit = jnp.asarray([width - 1, height - 1], flow.dtype).reshape(1, 1, 1, 2)
        position = jnp.clip(position, jnp.zeros_like(limit), limit)
    sampled = sample_bilinear(image.reshape(n, height, width, 1, channels), position.reshape(n, -1, 1, 2))
    return sampled.reshape(image.shape)


def sample_bilinear(image: Float[Array, "n h w g c"], position: Float[Array, "n p g 2"]) -> Float[Array, "n p g c"]:
    """`image` at `position` (column, row), zeros outside; each of the g groups of channels has positions of its own."""
    corner = jnp.floor(position)
    fraction = position - corner
    weighted = []
    for right in (0, 1):
        for down in (0, 1):
            neighbour = corner + jnp.asarray([right, down], corner.dtype).reshape(1, 1, 1, 2)
            weight_x, weight_y = (
                fraction[..., axis] if far else 1 - fraction[..., axis] for axis, far in ((0, right), (1, down))
            )
            pixels, inside = _gather_pixels(image, neighbour)
            weight = jnp.where(inside, weight_x * weight_y, jnp.zeros((), weight_x.dtype)).astype(image.dtype)
            weighted.append(pixels * weight[..., None])
    return sum(weighted[1:], weighted[0])


def warp_nearest4(image: Float[Array, "n h w c"], flow: Float[Array, "n h w 2"]) -> Float[Array, "n h w 4*c"]:
    """The four integer neighbours of where `flow` points to, as four images on the channel axis, zeros outside.

    Their order is (floor x, floor y), (floor x, ceil y), (ceil x, floor y), (ceil x, ceil y). No gradient
    reaches the flow.
    """
    n, height, width, channels = image.shape
    position = lax.stop_gradient(pixel_grid(height, width, flow.dtype) + flow)
    below, above = jnp.floor(position), jnp.ceil(position)
    neighbours = []
    for x in (below, above):
        for y in (below, above):
            neighbour = jnp.stack([x[..., 0], y[..., 1]], axis=-1).reshape(n, -1, 1, 2)
            pixels, inside = _gather_pixels(image.reshape(n, height, width, 1, channels), neighbour)
            neighbours.append(jnp.where(inside[..., None], pixels, jnp.zeros((), image.dtype)).reshape(image.shape))
    return jnp.concatenate(neighbours, axis=-1)


def _gather_pixels(image: Array, neighbour: Float[Array, "n p g 2"]) -> tuple[Float[Array, "n p g c"], Array]:
    """The pixels at integer positions, and which positions are inside (elsewhere the nearest inside pixel is read)."""
    n, height, width, groups, channels = image.shape
    column, row = neighbour[..., 0], neighbour[..., 1]
    inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    column = jnp.clip(column, 0, width - 1).astype(jnp.int32)
    row = jnp.clip(row, 0, height - 1).astype(jnp.int32)
    group = lax.broadcasted_iota(jnp.int32, column.shape, 2)
    index: Int[Array, "n p g"] = (row * width + column) * groups + group
    flat = image.reshape(n, height * width * groups, channels)
    gathered = jnp.take_along_axis(flat, index.reshape(n, -1, 1), axis=1, mode="promise_in_bounds")
    return gathered.reshape(*index.shape, channels), inside
