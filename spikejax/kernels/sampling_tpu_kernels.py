"""The kernels of a deformable convolution on TPUs, forward and backward, for one tile of one part.

See `spikejax.kernels.sampling_tpu` for what they compute.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from spikejax.kernels.sampling_layout import PART, SLOT, TAPS, row_step
from spikejax.kernels.sampling_tpu_frame import LANES, SUBLANES, Frame

_FAR = 1e9  # a row or column that no position is near to


def position_scratch(frame: Frame) -> list[Any]:
    """Positions and masks of a part's groups, and the tangents hyperbolic of the offsets that they are made of."""
    if frame.sampling.scale is None:
        return [pltpu.VMEM((1, SLOT, frame.pixels), jnp.float32)] * 2
    return [pltpu.VMEM((PART // SLOT, SLOT, frame.pixels), jnp.float32)] * 2


def _slot_kinds(frame: Frame) -> tuple[Array, Array, Array]:
    """Of every row of a slot [1, 32, pixels]: its kind (0: in x, 1: in y, 2: a mask), and the tap's column and row."""
    row = lax.broadcasted_iota(jnp.int32, (1, SLOT, frame.pixels), 1)
    kind = (row >= TAPS).astype(jnp.int32) + (row >= 2 * TAPS).astype(jnp.int32)
    tap = row - kind * TAPS
    tap_row = (tap >= 3).astype(jnp.int32) + (tap >= 6).astype(jnp.int32)
    return kind, (tap - 3 * tap_row - 1).astype(jnp.float32), (tap_row - 1).astype(jnp.float32)


def _write_positions(frame: Frame, base_ref: Any, offsets_refs: Any, position_ref: Any, tanh_ref: Any) -> None:
    """Fills in the positions and masks of a tile; those outside of the picture and its border are moved there."""
    base = base_ref[0, 0, 0]
    limits = frame.padded_width + 1.0, frame.band_rows + 1.0
    if not offsets_refs:
        for axis in range(2):
            position_ref[0, axis * TAPS : axis * TAPS + 1, :] = _within(base[axis : axis + 1], limits[axis])
        return
    kind, tap_column, tap_row = _slot_kinds(frame)
    offsets = offsets_refs[0][0].reshape(frame.pixels, PART).T.reshape(PART // SLOT, SLOT, frame.pixels)
    # The logistic function is a tangent hyperbolic, too.
    tanh = jnp.tanh(offsets * jnp.where(kind == 2, 0.5, 1.0))
    tanh_ref[...] = tanh
    columns = _within(base[0:1][None] + tap_column + tanh * frame.sampling.reach, limits[0])
    rows = _within(base[1:2][None] + tap_row + tanh * frame.sampling.reach, limits[1])
    position_ref[...] = jnp.where(kind == 0, columns, jnp.where(kind == 1, rows, 0.5 + 0.5 * tanh))


def _within(position: Array, limit: float) -> Array:
    # What is not a number fails both comparisons, and is outside.
    return jnp.where(position > -2.0, jnp.where(position < limit, position, limit), -2.0)


class _Group:
    """Positions and masks of one of a part's groups, and the patches that they need."""

    def __init__(self, frame: Frame, position_ref: Any, slot: Array):
        self.frame, self.position_ref = frame, position_ref
        self.slot = slot if frame.sampling.scale is not None else 0
        columns, rows = self._all(0), self._all(1)
        step = row_step(frame.sampling.channels)
        first_column, self.across = _patches(columns, LANES, frame.padded_width, 1)
        first_row, down = _patches(rows, frame.patch_rows, frame.band_rows, step)
        self.first_column, self.first_row = first_column, first_row
        self.count = self.across * down

    def _all(self, kind: int) -> Array:
        return self.position_ref[self.slot, kind * TAPS : kind * TAPS + self.frame.sampling.taps, :]

    def of_tap(self, kind: int, tap: int) -> Array:
        """Columns (0), rows (1) or masks (2) of a tap, [1, pixels]."""
        return self.position_ref[self.slot, kind * TAPS + tap : kind * TAPS + tap + 1, :]

    def patch(self, index: Array) -> "_Patch":
        """One of the patches."""
        row = self.first_row + lax.div(index, self.across) * self.frame.patch_rows
        column = self.first_column + lax.rem(index, self.across) * LANES
        return _Patch(self.frame, row, column)


def _patches(positions: Array, extent: int, size: int, step: int) -> tuple[Array, Array]:
    """Where the first patch begins on an axis of `size`, and how many `positions` need; none if all are outside."""
    lowest = jnp.maximum(jnp.min(jnp.floor(positions)), 0.0).astype(jnp.int32)
    highest = jnp.minimum(jnp.max(jnp.floor(positions)) + 1.0, size - 1.0).astype(jnp.int32)
    first = lowest if step == 1 else lax.div(lowest, jnp.int32(step)) * step
    first = jnp.minimum(first, size - extent)
    there = jnp.maximum(highest - lowest + 1, 0)
    needed = lax.div(highest - first + extent, jnp.int32(extent))
    return first, jnp.where(there > 0, needed, 0)


class _Patch:
    """The rows and columns of a picture from (row, column) on that no patch before it had."""

    def __init__(self, frame: Frame, row: Array, column: Array):
        self.frame = frame
        channels, pixels = frame.sampling.channels, frame.pixels
        # The last patch begins early enough to end within the picture.
        first_row = jnp.minimum(row, frame.band_rows - frame.patch_rows)
        first_column = jnp.minimum(column, frame.padded_width - LANES)
        self.start = pl.multiple_of(first_row * channels, SUBLANES)
        # Columns are read in whole registers, twice as many, and turned.
        self.read = min(2 * LANES, frame.padded_width)
        aligned = jnp.minimum(lax.div(first_column, jnp.int32(LANES)) * LANES, frame.padded_width - self.read)
        self.aligned = pl.multiple_of(aligned, LANES)
        self.turn = first_column - self.aligned
        index = lax.broadcasted_iota(jnp.int32, (LANES, pixels), 0) + first_column
        self.columns = jnp.where(index < column, _FAR, index.astype(jnp.float32))
        index = lax.broadcasted_iota(jnp.int32, (frame.patch_height, pixels), 0)
        # Division by multiplication: exact below 2^16 for so few channels.
        of_row = ((index.astype(jnp.float32) + 0.5) * (1.0 / channels)).astype(jnp.int32)
        number = of_row + first_row
        self.rows = jnp.where((number < row) | (of_row >= frame.patch_rows), _FAR, number.astype(jnp.float32))

    def load(self, picture_ref: Any, slot: Array) -> Array:
        """[rows of all channels, 128]."""
        height = self.frame.patch_height
        patch = picture_ref[0, 0, slot, pl.ds(self.start, height), pl.ds(self.aligned, self.read)]
        if self.read > LANES:
            patch = pltpu.roll(patch, lax.rem(self.read - self.turn, jnp.int32(self.read)), 1)[:, :LANES]
        return patch.astype(self.frame.dtype)

    def add(self, dpicture_ref: Any, slot: Array, dpatch: Array) -> None:
        """Adds the gradient of what `load` gave."""
        if self.read > LANES:
            padded = jnp.concatenate([dpatch, jnp.zeros((len(dpatch), self.read - LANES), jnp.float32)], axis=1)
            dpatch = pltpu.roll(padded, self.turn, 1)
        dpicture_ref[0, 0, slot, pl.ds(self.start, len(dpatch)), pl.ds(self.aligned, self.read)] += dpatch


def _over(count: Array | int, body: Callable[[Array], None]) -> None:
    lax.fori_loop(jnp.int32(0), jnp.int32(count), lambda index, carry: body(index), None)


def _hat(distance: Array) -> Array:
    return jnp.maximum(1.0 - jnp.abs(distance), 0.0)


def _slope(distance: Array) -> Array:
    """How the hat of `distance`, number - position, changes with the position."""
    rising, falling = (distance > 0.0) & (distance <= 1.0), (distance > -1.0) & (distance <= 0.0)
    return jnp.where(rising, 1.0, jnp.where(falling, -1.0, 0.0))


def forward_kernel(frame: Frame, picture_ref: Any, base_ref: Any, kernel_ref: Any, *refs: Any) -> None:
    """The result of a part for a tile.

    Args:
        frame: the tiles.
        picture_ref: a part of a picture.
        base_ref: a tile's targets.
        kernel_ref: a part's kernel, [1, slots, taps, outputs, rows of a patch].
        refs: with offsets, a tile's; then the result, and the scratch memory.
    """
    *offsets_refs, out_ref, position_ref, tanh_ref, total_ref = refs
    _write_positions(frame, base_ref, offsets_refs, position_ref, tanh_ref)
    total_ref[...] = jnp.zeros_like(total_ref)
    masked = frame.sampling.scale is not None

    def of_group(slot: Array) -> None:
        group = _Group(frame, position_ref, slot)

        def of_patch(index: Array) -> None:
            patch = group.patch(index)
            pixels = patch.load(picture_ref, slot)
            total = jnp.zeros(total_ref.shape, jnp.float32)
            for tap in range(frame.sampling.taps):
                hat_x = _hat(patch.columns - group.of_tap(0, tap)).astype(frame.dtype)
                hat_y = _hat(patch.rows - group.of_tap(1, tap))
                if masked:
                    hat_y = hat_y * group.of_tap(2, tap)
                weighted = frame.times(pixels, hat_x) * hat_y
                total += frame.times(kernel_ref[0, slot, tap], weighted.astype(frame.dtype))
            total_ref[...] += total

        _over(group.count, of_patch)

    _over(frame.sampling.at_once, of_group)
    out_ref[0, 0] = total_ref[...].T.reshape(*frame.tile, frame.outputs).astype(out_ref.dtype)


def backward_kernel(frame: Frame, picture_ref: Any, base_ref: Any, kernel_ref: Any, dy_ref: Any, *refs: Any) -> None:
    """The gradients of a part of a picture, of a tile's targets, and of its offsets and the kernel, if there are any.

    Args:
        frame: the tiles.
        picture_ref: a part of a picture.
        base_ref: a tile's targets.
        kernel_ref: a part's kernel, [1, slots, taps, rows of a patch, outputs].
        dy_ref: the gradient of a tile's result.
        refs: with offsets, a tile's; then the gradients of all of these, and the scratch memory.
    """
    masked = frame.sampling.scale is not None
    offsets_refs = refs[:masked]
    dpicture_ref, dbase_ref, *of_offsets = refs[masked : masked + 2 + 2 * masked]
    position_ref, tanh_ref, dposition_ref = refs[masked + 2 + 2 * masked :]
    dkernel_ref = of_offsets[1] if masked else None
    _write_positions(frame, base_ref, offsets_refs, position_ref, tanh_ref)
    dposition_ref[...] = jnp.zeros_like(dposition_ref)
    image, tile = pl.program_id(1), pl.program_id(2)

    @pl.when(tile == 0)
    def _() -> None:
        dpicture_ref[...] = jnp.zeros_like(dpicture_ref)

    if dkernel_ref is not None:

        @pl.when((image == 0) & (tile == 0))
        def _() -> None:
            dkernel_ref[...] = jnp.zeros_like(dkernel_ref)

    dy = dy_ref[0, 0].reshape(frame.pixels, frame.outputs).astype(jnp.float32).T.astype(frame.dtype)

    def of_group(slot: Array) -> None:
        group = _Group(frame, position_ref, slot)

        def of_patch(index: Array) -> None:
            patch = group.patch(index)
            pixels = patch.load(picture_ref, slot)
            dpatch = jnp.zeros((frame.patch_height, LANES), jnp.float32)
            for tap in range(frame.sampling.taps):
                dweighted = frame.times(kernel_ref[0, slot, tap], dy)
                dsampled, hat_x, weighted = _tap_gradients(group, patch, tap, pixels, dweighted, dposition_ref)
                dpatch += frame.times(dsampled, hat_x, 1, 1)
                if dkernel_ref is not None:
                    dkernel_ref[0, slot, tap] += frame.times(weighted, dy, 1, 1)
            patch.add(dpicture_ref, slot, dpatch)

        _over(group.count, of_patch)

    _over(frame.sampling.at_once, of_group)
    dposition = dposition_ref[...]
    for axis in range(2):
        taps = dposition[:, axis * TAPS : axis * TAPS + frame.sampling.taps, :]
        dbase_ref[0, 0, 0, axis : axis + 1, :] = taps.sum(0).sum(0, keepdims=True)
    if masked:
        kind = _slot_kinds(frame)[0]
        tanh = tanh_ref[...]
        slope = (1.0 - tanh * tanh) * jnp.where(kind == 2, 0.25, frame.sampling.reach)
        doffsets = (dposition * slope).reshape(PART, frame.pixels)
        of_offsets[0][0] = doffsets.T.reshape(*frame.tile, PART)


def _tap_gradients(
    group: _Group, patch: _Patch, tap: int, pixels: Array, dweighted: Array, dposition_ref: Any
) -> tuple[Array, Array, Array]:
    """Adds up the gradients of a tap's positions and masks, and returns what the other gradients are products of.

    Returns:
        The gradient of what was sampled [rows of all channels, pixels], the hats of its columns [128, pixels], and what
        the kernel met, as the first.
    """
    frame = group.frame
    distance_x, distance_y = patch.columns - group.of_tap(0, tap), patch.rows - group.of_tap(1, tap)
    hat_x, hat_y = _hat(distance_x).astype(frame.dtype), _hat(distance_y)
    sampled = frame.times(pixels, hat_x)
    both, weight, slope_y = sampled * dweighted, hat_y, _slope(distance_y)

    def add(kind: int, gradient: Array) -> None:
        row = kind * TAPS + tap
        dposition_ref[group.slot, row : row + 1, :] += gradient.sum(0, keepdims=True)

    if frame.sampling.scale is not None:
        mask = group.of_tap(2, tap)
        add(2, both * hat_y)
        weight, slope_y = hat_y * mask, slope_y * mask
    add(1, both * slope_y)
    dsampled = (dweighted * weight).astype(frame.dtype)
    add(0, frame.times(pixels, dsampled, 0, 0) * _slope(distance_x))
    return dsampled, hat_x, (sampled * weight).astype(frame.dtype)
