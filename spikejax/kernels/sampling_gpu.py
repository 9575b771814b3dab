"""Deformable convolution for GPUs (Pallas, Triton): every pixel gathers what it looks at, and its gradient is added.

A program works on a block of pixels and on all channels of one source, each of which goes to the positions of its own
group; nothing but the result is written to memory. The gradient of the pictures is added there by atomic additions of
float32, whose order, and so whose last bits, change from run to run. The gradient of the kernel is a product of the
samples, which are written for it, and of the result's gradient.

Triton's blocks are powers of 2: 96 channels are read as 128, of which 32 are masked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from spikejax.kernels.blocks_gpu import power_of_2
from spikejax.kernels.products import product
from spikejax.kernels.sampling_layout import PART, SLOT, TAPS, Sampling

_BLOCK = 32
_MAX_CHANNELS = 256


def fits(sampling: Sampling, *, rows: int, columns: int) -> bool:
    """Whether the blocks of a source's channels fit; without offsets, gathering by XLA is as good."""
    channels = sampling.groups * sampling.channels
    return sampling.scale is not None and max(channels, sampling.outputs) <= _MAX_CHANNELS


def forward(image: Array, offsets: Array, base: Array, kernel: Array, sampling: Sampling, *, interpret: bool) -> Array:
    """The convolution [n, h, w, o] of what every pixel of n targets looks at; see `sampling_tpu.forward`."""
    block = _Block(sampling, base, image, interpret)
    images, _, height, width = base.shape[:4]
    result = pl.pallas_call(
        partial(_forward_kernel, block),
        grid=block.grid(images),
        out_shape=jax.ShapeDtypeStruct((images, height * width, sampling.sources * sampling.outputs), image.dtype),
        compiler_params=_compiler_params(interpret),
        interpret=interpret,
        name="deformable_convolution",
    )(*block.arguments(image, offsets, base, kernel))
    return result.reshape(images, height, width, -1)


def backward(
    image: Array, offsets: Array, base: Array, kernel: Array, dy: Array, sampling: Sampling, *, interpret: bool
) -> tuple[Array, Array, Array, Array]:
    """The gradients of image, offsets, base and kernel, all float32, of that of the result, `dy`."""
    block = _Block(sampling, base, image, interpret)
    images, _, height, width = base.shape[:4]
    pixels, sources = height * width, sampling.sources
    given = block.arguments(image, offsets, base, kernel)
    dy = rearrange(dy.astype(image.dtype), "n h w (k o) -> n (h w) (k o)", k=sources)
    zeros = jnp.zeros(given[0].shape, jnp.float32)
    samples = jax.ShapeDtypeStruct((images, sources, TAPS, pixels, block.channels), image.dtype)
    dimage, doffsets, dbase, samples = pl.pallas_call(
        partial(_backward_kernel, block),
        grid=block.grid(images),
        out_shape=[
            zeros,
            jax.ShapeDtypeStruct(given[1].shape, jnp.float32),
            jax.ShapeDtypeStruct(given[2].shape, jnp.float32),
            samples,
        ],
        input_output_aliases={0: 0},
        compiler_params=_compiler_params(interpret),
        interpret=interpret,
        name="deformable_convolution_gradient",
    )(zeros, *given, dy)
    dy = rearrange(dy, "n p (k o) -> k (n p) o", k=sources)
    samples = rearrange(samples, "n k tap p c -> k (n p) tap c")[..., : block.own_channels]
    dkernel = jnp.einsum("kptc,kpo->ktco", samples, dy, preferred_element_type=jnp.float32)
    return (
        dimage.reshape(image.shape),
        doffsets.reshape(offsets.shape),
        dbase.reshape(base.shape),
        rearrange(dkernel, "k tap c o -> k (tap c) o"),
    )


@dataclass(frozen=True)
class _Corner:
    """One of the four pixels around the positions of a block: where, whether inside, its weight and slopes."""

    index: Array
    inside: Array
    weight: Array
    slope_x: Array
    slope_y: Array


class _Block:
    """A block of pixels and all channels of a source, and the accesses to them."""

    def __init__(self, sampling: Sampling, base: Array, image: Array, interpret: bool):
        self.sampling, self.interpret = sampling, interpret
        self.pixels = base.shape[2] * base.shape[3]
        self.height, self.width = image.shape[1:3]
        self.own_channels = sampling.groups * sampling.channels
        self.channels = power_of_2(self.own_channels)
        self.outputs = power_of_2(sampling.outputs)
        self.groups = power_of_2(sampling.groups)

    def grid(self, images: int) -> tuple[int, int, int]:
        return images, self.sampling.sources, -(-self.pixels // _BLOCK)

    def arguments(self, image: Array, offsets: Array, base: Array, kernel: Array) -> tuple[Array, ...]:
        """The arrays as the kernels take them: pixels in one list, the kernel as large as its blocks."""
        kernel = rearrange(kernel.astype(image.dtype), "k (tap c) o -> k tap c o", tap=TAPS)
        missing = self.channels - self.own_channels, self.outputs - self.sampling.outputs
        return (
            rearrange(image, "n h w g c -> n (h w) (g c)"),
            rearrange(offsets.astype(jnp.float32), "n h w c -> n (h w) c"),
            rearrange(base.astype(jnp.float32), "n k h w xy -> n k (h w) xy"),
            jnp.pad(kernel, ((0, 0), (0, 0), *((0, size) for size in missing))),
        )

    def start(self) -> "_Place":
        """Which block this is."""
        return _Place(pl.program_id(0), pl.program_id(1), pl.program_id(2) * _BLOCK)

    def weights(self, ref: Any, place: "_Place", tap: Array) -> Array:
        """The kernel of a tap, [channels, outputs]."""
        rows = lax.broadcasted_iota(jnp.int32, (self.channels, self.outputs), 0)
        columns = lax.broadcasted_iota(jnp.int32, (self.channels, self.outputs), 1)
        return plgpu.load(ref.at[place.source, tap, rows, columns])

    def of_pixels(self, place: "_Place", width: int) -> tuple[Array, Array, Array]:
        """For [pixels, width]: the pixels, the columns, and which pixels there are."""
        pixel = place.first + lax.broadcasted_iota(jnp.int32, (_BLOCK, width), 0)
        column = lax.broadcasted_iota(jnp.int32, (_BLOCK, width), 1)
        there = pixel < self.pixels
        return pixel, column, there

    def offset_column(self, place: "_Place", group: Array) -> Array:
        """The first column of a group's slot."""
        at_once = jnp.int32(self.sampling.at_once)
        number = place.source * self.sampling.groups + group
        return lax.div(number, at_once) * PART + lax.rem(number, at_once) * SLOT

    def samples(self, refs: tuple[Any, Any], place: "_Place", tap: Array) -> "_Samples":
        """Where the block's channels are sampled for a tap."""
        offsets_ref, base_ref = refs
        pixel, channel, there = self.of_pixels(place, self.channels)
        own = channel < self.own_channels
        column = self.offset_column(place, lax.div(channel, jnp.int32(self.sampling.channels))) + tap

        def offset(kind: int) -> Array:
            at = offsets_ref.at[place.image, pixel, column + kind * TAPS]
            return plgpu.load(at, mask=own & there, other=0.0)

        def target(axis: int) -> Array:
            at = base_ref.at[place.image, place.source, pixel, jnp.full(pixel.shape, axis, jnp.int32)]
            return plgpu.load(at, mask=own & there, other=0.0)

        tap_row = lax.div(tap, jnp.int32(3))
        tap_column = (tap - 3 * tap_row - 1).astype(jnp.float32)
        tanh_x, tanh_y = (2.0 * _logistic(2.0 * offset(kind)) - 1.0 for kind in (0, 1))
        x = target(0) + tap_column + self.sampling.reach * tanh_x
        y = target(1) + (tap_row - 1).astype(jnp.float32) + self.sampling.reach * tanh_y
        return _Samples(self, place, channel, own & there, (x, y), (tanh_x, tanh_y), _logistic(offset(2)))


@dataclass(frozen=True)
class _Place:
    """A block: of which image and source, and its first pixel."""

    image: Array
    source: Array
    first: Array


@dataclass(frozen=True)
class _Samples:
    """What the channels of a block look at for one tap, all [pixels, channels]."""

    block: _Block
    place: _Place
    channel: Array
    there: Array
    position: tuple[Array, Array]
    tanh: tuple[Array, Array]
    mask: Array

    def corners(self) -> Iterator[_Corner]:
        """The four pixels around every position."""
        height, width = self.block.height, self.block.width
        x, y = self.position
        left, top = jnp.floor(x), jnp.floor(y)
        for right in (0, 1):
            for down in (0, 1):
                column, row = left + right, top + down
                inside = (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1) & self.there
                # Before they become whole numbers: a position may be too large for one, or none.
                column, row = jnp.where(inside, column, 0.0), jnp.where(inside, row, 0.0)
                index = row.astype(jnp.int32) * width + column.astype(jnp.int32)
                weight_x, slope_x = (x - left, 1.0) if right else (1.0 - (x - left), -1.0)
                weight_y, slope_y = (y - top, 1.0) if down else (1.0 - (y - top), -1.0)
                # Of a position that is no number, neither are these.
                numbers = weight_x * weight_y, slope_x * weight_y, slope_y * weight_x
                yield _Corner(index, inside, *(jnp.where(inside, number, 0.0) for number in numbers))

    def index(self, corner: _Corner) -> tuple[Array, Array, Array]:
        """Where a corner's pixels are in the list of an image."""
        return self.place.image, corner.index, self.place.source * self.block.own_channels + self.channel

    def load(self, image_ref: Any, corner: _Corner) -> Array:
        """A corner's pixels, zero outside."""
        pixels = plgpu.load(image_ref.at[self.index(corner)], mask=corner.inside, other=0.0)
        return pixels.astype(jnp.float32)

    def add(self, dimage_ref: Any, corner: _Corner, value: Array) -> None:
        """Adds the gradient of what `load` gave."""
        index = self.index(corner)
        if self.block.interpret:  # which would lose all but one of several additions to a pixel
            dimage_ref[...] = dimage_ref[...].at[index].add(jnp.where(corner.inside, value, 0.0))
        else:
            plgpu.atomic_add(dimage_ref, index, value, mask=corner.inside)


def _forward_kernel(
    block: _Block, image_ref: Any, offsets_ref: Any, base_ref: Any, kernel_ref: Any, out_ref: Any
) -> None:
    place = block.start()

    def of_tap(tap: Array, total: Array) -> Array:
        tap = tap.astype(jnp.int32)
        samples = block.samples((offsets_ref, base_ref), place, tap)
        sampled = sum(samples.load(image_ref, corner) * corner.weight for corner in samples.corners())
        weighted = (sampled * samples.mask).astype(kernel_ref.dtype)
        return total + product(weighted, block.weights(kernel_ref, place, tap), 1, 0, interpret=block.interpret)

    total = lax.fori_loop(0, TAPS, of_tap, jnp.zeros((_BLOCK, block.outputs), jnp.float32))
    pixel, column, there = block.of_pixels(place, block.outputs)
    index = place.image, pixel, place.source * block.sampling.outputs + column
    plgpu.store(out_ref.at[index], total.astype(out_ref.dtype), mask=there & (column < block.sampling.outputs))


def _backward_kernel(
    block: _Block,
    zeros_ref: Any,
    image_ref: Any,
    offsets_ref: Any,
    base_ref: Any,
    kernel_ref: Any,
    dy_ref: Any,
    dimage_ref: Any,
    doffsets_ref: Any,
    dbase_ref: Any,
    samples_ref: Any,
) -> None:
    place = block.start()
    pixel, column, there = block.of_pixels(place, block.outputs)
    own = there & (column < block.sampling.outputs)
    index = place.image, pixel, place.source * block.sampling.outputs + column
    dy = plgpu.load(dy_ref.at[index], mask=own, other=0.0)
    # Of which group each channel is.
    channel = lax.broadcasted_iota(jnp.int32, (block.channels, block.groups), 0)
    number = lax.broadcasted_iota(jnp.int32, (block.channels, block.groups), 1)
    of_group = (lax.div(channel, jnp.int32(block.sampling.channels)) == number).astype(jnp.float32)

    def of_tap(tap: Array, dbase: tuple[Array, Array]) -> tuple[Array, Array]:
        tap = tap.astype(jnp.int32)
        samples = block.samples((offsets_ref, base_ref), place, tap)
        weights = block.weights(kernel_ref, place, tap)
        dweighted = product(dy, weights.T, 1, 0, interpret=block.interpret)
        dsampled = dweighted * samples.mask
        sampled = slope_x = slope_y = jnp.zeros(dsampled.shape, jnp.float32)
        for corner in samples.corners():
            pixels = samples.load(image_ref, corner)
            sampled += pixels * corner.weight
            slope_x += pixels * corner.slope_x
            slope_y += pixels * corner.slope_y
            samples.add(dimage_ref, corner, dsampled * corner.weight)
        dx, dy_ = slope_x * dsampled, slope_y * dsampled
        scale, (tanh_x, tanh_y) = block.sampling.reach, samples.tanh
        of_offsets = (
            dx * (1.0 - tanh_x * tanh_x) * scale,
            dy_ * (1.0 - tanh_y * tanh_y) * scale,
            sampled * dweighted * samples.mask * (1.0 - samples.mask),
        )
        pixel, group, there = block.of_pixels(place, block.groups)
        there = there & (group < block.sampling.groups)
        column = block.offset_column(place, group) + tap
        for kind, gradient in enumerate(of_offsets):
            summed = product(gradient, of_group, 1, 0, exact=True, interpret=block.interpret)
            plgpu.store(doffsets_ref.at[place.image, pixel, column + kind * TAPS], summed, mask=there)
        pixel, channel, there = block.of_pixels(place, block.channels)
        at = samples_ref.at[place.image, place.source, tap, pixel, channel]
        plgpu.store(at, (sampled * samples.mask).astype(samples_ref.dtype), mask=there)
        return dbase[0] + dx.sum(1), dbase[1] + dy_.sum(1)

    zero = jnp.zeros((_BLOCK,), jnp.float32)
    dbase = lax.fori_loop(0, TAPS, of_tap, (zero, zero))
    pixel = place.first + lax.broadcasted_iota(jnp.int32, (_BLOCK,), 0)
    for axis, gradient in enumerate(dbase):
        there = pixel < block.pixels
        at = dbase_ref.at[place.image, place.source, pixel, jnp.full((_BLOCK,), axis, jnp.int32)]
        plgpu.store(at, gradient, mask=there)


def _logistic(x: Array) -> Array:
    return 1.0 / (1.0 + jnp.exp(-x))


def _compiler_params(interpret: bool) -> Any:
    return None if interpret else plgpu.CompilerParams(num_warps=8, num_stages=1)
