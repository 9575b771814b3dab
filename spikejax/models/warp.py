"""Resizing and warping of pictures, flows and features; all sampling of the networks goes through here.

Conventions: images are [n, h, w, c]; a flow is (dx, dy) in pixels on the last axis, pixel centres are at integers, and
`warp(image, flow)` samples `image` at (column + dx, row + dy). Positions are never narrower than float32, whatever the
dtype of the image.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from spikejax.kernels import sampling as kernel
from spikejax.kernels.choice import Choice, choose
from spikejax.kernels.sampling_layout import of_warp


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
    height, width = image.shape[1:3]
    position = pixel_grid(height, width, flow.dtype) + flow
    if padding == "border":
        limit = jnp.asarray([width - 1, height - 1], flow.dtype).reshape(1, 1, 1, 2)
        position = jnp.clip(position, jnp.zeros_like(limit), limit)
    return _sample_everywhere(image, position)


def _sample_everywhere(image: Float[Array, "n h w c"], position: Float[Array, "n h w 2"]) -> Float[Array, "n h w c"]:
    """`image` at a position (column, row) for every pixel, zeros outside."""
    n, height, width, channels = image.shape
    sampling, choice = of_warp(channels), _choose(image)
    if choice.form == "plain":
        sampled = sample_bilinear(image.reshape(n, height, width, 1, channels), position.reshape(n, -1, 1, 2))
        return sampled.reshape(image.shape)
    groups = image.reshape(n, 1, height, width, sampling.groups, sampling.channels)
    return kernel.sample(groups, None, position[:, None, None], None, sampling, choice).reshape(image.shape)


def _choose(image: Float[Array, "n h w c"]) -> Choice:
    _, height, width, channels = image.shape
    return choose(lambda form: kernel.fits(form, of_warp(channels), dtype=image.dtype, rows=height, columns=width))


class Corner(NamedTuple):
    """One of the four pixels around every position.

    Attributes:
        flat_index: for `gather_pixels`; of the nearest pixel inside the image.
        weight: its part in a bilinear sample; 0 outside the image.
        slope: how that changes with the position's (column, row).
    """

    flat_index: Int[Array, "n *p g"]
    weight: Float[Array, "n *p g"]
    slope: Float[Array, "n *p g 2"]


def bilinear_corners(position: Float[Array, "n *p g 2"], height: int, width: int) -> list[Corner]:
    """The four pixels of a height x width image around every position (column, row)."""
    corner = jnp.floor(position)
    fraction = position - corner
    zero = jnp.zeros((), position.dtype)
    corners = []
    for right in (0, 1):
        for down in (0, 1):
            index, inside = _pixel_index(corner[..., 0] + right, corner[..., 1] + down, height, width)
            (weight_x, slope_x), (weight_y, slope_y) = (
                (fraction[..., axis], 1) if far else (1 - fraction[..., axis], -1)
                for axis, far in ((0, right), (1, down))
            )
            slope = jnp.stack([slope_x * weight_y, slope_y * weight_x], axis=-1)
            weight = jnp.where(inside, weight_x * weight_y, zero)
            corners.append(Corner(index, weight, jnp.where(inside[..., None], slope, zero)))
    return corners


def sample_bilinear(image: Float[Array, "n h w g c"], position: Float[Array, "n *p g 2"]) -> Float[Array, "n *p g c"]:
    """`image` at `position` (column, row), zeros outside; each of the g groups of channels has positions of its own."""
    pixels = flatten_pixels(image)
    weighted = [
        gather_pixels(pixels, corner.flat_index) * corner.weight.astype(image.dtype)[..., None]
        for corner in bilinear_corners(position, *image.shape[1:3])
    ]
    return sum(weighted[1:], weighted[0])


def warp_nearest4(image: Float[Array, "n h w c"], flow: Float[Array, "n h w 2"]) -> Float[Array, "n h w 4*c"]:
    """The four integer neighbours of where `flow` points to, as four images on the channel axis, zeros outside.

    Their order is (floor x, floor y), (floor x, ceil y), (ceil x, floor y), (ceil x, ceil y). No gradient
    reaches the flow.
    """
    height, width = image.shape[1:3]
    position = lax.stop_gradient(pixel_grid(height, width, flow.dtype) + flow)
    below, above = jnp.floor(position), jnp.ceil(position)
    corners = [jnp.stack([x[..., 0], y[..., 1]], axis=-1) for x in (below, above) for y in (below, above)]
    if _choose(image).form != "plain":
        return jnp.concatenate([_sample_everywhere(image, corner) for corner in corners], axis=-1)
    flat = flatten_pixels(image[..., None, :])
    neighbours = []
    for corner in corners:
        index, inside = _pixel_index(corner[..., None, 0], corner[..., None, 1], height, width)
        pixels = gather_pixels(flat, index)
        neighbours.append(jnp.where(inside[..., None], pixels, jnp.zeros((), image.dtype))[..., 0, :])
    return jnp.concatenate(neighbours, axis=-1)


def flatten_pixels(image: Float[Array, "n h w g c"]) -> Float[Array, "n hwg c"]:
    """The pixels of every group of channels, in the order in which `gather_pixels` and `add_pixels` count them."""
    return rearrange(image, "n h w g c -> n (h w g) c")


def gather_pixels(pixels: Float[Array, "n hwg c"], index: Int[Array, "n *p g"]) -> Float[Array, "n *p g c"]:
    """The pixels at `index`, (row * width + column) * groups + group."""
    gathered = jnp.take_along_axis(pixels, index.reshape(len(index), -1, 1), axis=1, mode="promise_in_bounds")
    return gathered.reshape(*index.shape, pixels.shape[-1])


def add_pixels(
    pixels: Float[Array, "n hwg c"], index: Int[Array, "n *p g"], more: Float[Array, "n *p g c"]
) -> Float[Array, "n hwg c"]:
    """`pixels` with `more` added at `index`: what is left of `gather_pixels` in a backward pass."""

    def add(pixels: Array, index: Array, more: Array) -> Array:
        return pixels.at[index].add(more, mode="promise_in_bounds")

    return jax.vmap(add)(pixels, index.reshape(len(index), -1), more.reshape(len(index), -1, pixels.shape[-1]))


def _pixel_index(
    column: Float[Array, "n *p g"], row: Float[Array, "n *p g"], height: int, width: int
) -> tuple[Int[Array, "n *p g"], Bool[Array, "n *p g"]]:
    """`gather_pixels`' index of whole positions, or of the nearest ones inside, and whether they are inside."""
    inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    column = jnp.clip(column, 0, width - 1).astype(jnp.int32)
    row = jnp.clip(row, 0, height - 1).astype(jnp.int32)
    group = lax.broadcasted_iota(jnp.int32, column.shape, column.ndim - 1)
    return (row * width + column) * column.shape[-1] + group, inside
