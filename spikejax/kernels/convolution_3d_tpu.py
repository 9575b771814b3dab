"""The 3x3x3 convolution for TPUs (Pallas, Mosaic), and the gradient of its kernel.

A block is some rows of a frame, whole in width. The same rows of the three frames under the kernel, with one more above
and below, are laid side by side in the vector memory, zeros where the clip ends:

    padded [3, (1 + rows + 1) * columns, i]

Pixels are rows of matrices, so what lies under a tap in time and height is a slice of `padded`. It is multiplied with
the kernel's three taps in width at once, [i, 3 * 128], which gives three results side by side. Shifted in width are
these results, once for all nine products, and not what goes in:

    z[pixels, 3 * 128] = sum over t, h of padded[t, pixels + h * columns] @ kernel[t, h]
    y[pixel] = z[pixel - 1, first] + z[pixel, second] + z[pixel + 1, third]      (of the same row of the picture)

The gradient of the kernel is the product of the same slices, over pixels, with dy shifted the other way.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from spikejax.kernels.cycles import cycles_of_convolution, in_metadata
from spikejax.kernels.products import product
from spikejax.kernels.window_layout import largest_divisor

LANES = 128
_PIXELS = 2048  # of a block at most, unless a row has more
_AT_ONCE = 256  # of which products are made at once, likewise
_VMEM_BYTES = 64 * 2**20


def forward(x: Array, kernel: Array, bias: Array, added: Array | None, *, relu: bool, interpret: bool) -> Array:
    """The result [b, t, h, w, o]; see `spikejax.kernels.convolution_3d.convolve_3d`."""
    columns, features = x.shape[3], kernel.shape[-1]
    rows, grid = _blocks(x)
    at_once = largest_divisor(rows, max(_AT_ONCE // columns, 1))

    def run(*refs: Any) -> None:
        *inputs, out_ref, padded_ref = refs
        x_refs, (kernel_ref, bias_ref, *added_refs) = inputs[:9], inputs[9:]
        _fill(padded_ref, x_refs, rows, columns, frames=x.shape[1])

        def some_rows(number: Array, carry: None) -> None:
            first = number * at_once
            z = jnp.zeros((at_once * columns, 3 * LANES), jnp.float32)
            for tap in range(9):
                start = pl.multiple_of((first + tap % 3) * columns, 16)
                under_tap = padded_ref[tap // 3, pl.ds(start, at_once * columns)]
                z += product(under_tap, kernel_ref[tap], 1, 0, interpret=interpret)
            before, here, after = (z[:, side * LANES : (side + 1) * LANES] for side in range(3))
            y = _shifted(before, 1, columns) + here + _shifted(after, -1, columns) + bias_ref[...]
            y = y[:, :features].reshape(at_once, columns, features)
            for ref in added_refs:
                y += ref[0, 0, pl.ds(first, at_once)].astype(jnp.float32)
            out_ref[0, 0, pl.ds(first, at_once)] = (jnp.maximum(y, 0) if relu else y).astype(out_ref.dtype)

        lax.fori_loop(0, rows // at_once, some_rows, None)

    of_rows = _of_rows(rows, columns)
    padded_bias = jnp.pad(bias.astype(jnp.float32), (0, LANES - features)).reshape(1, LANES)
    return pl.pallas_call(
        run,
        grid=grid,
        in_specs=[
            *_with_neighbours(x, rows),
            pl.BlockSpec((9, x.shape[-1], 3 * LANES), lambda *block: (0, 0, 0)),
            pl.BlockSpec((1, LANES), lambda *block: (0, 0)),
            *([] if added is None else [of_rows(features)]),
        ],
        out_specs=of_rows(features),
        out_shape=jax.ShapeDtypeStruct((*x.shape[:-1], features), x.dtype),
        scratch_shapes=[_padded(x, rows)],
        compiler_params=_compiler_params(),
        interpret=interpret,
        name="convolution_3d",
        metadata=in_metadata(cycles_of_convolution(x.size // x.shape[-1], gradient=False)),
    )(*(x,) * 9, _taps_side_by_side(kernel.astype(x.dtype)), padded_bias, *([] if added is None else [added]))


def kernel_gradient(x: Array, dy: Array, *, interpret: bool) -> Array:
    """The gradient of the kernel, [3, 3, 3, i, o], float32."""
    columns, features_in, features = x.shape[3], x.shape[-1], dy.shape[-1]
    rows, grid = _blocks(x)
    pixels = rows * columns

    def run(*refs: Any) -> None:
        *x_refs, dy_ref, out_ref, padded_ref, shifted_ref = refs

        @pl.when((pl.program_id(0) == 0) & (pl.program_id(1) == 0) & (pl.program_id(2) == 0))
        def _() -> None:
            out_ref[...] = jnp.zeros_like(out_ref)
            shifted_ref[...] = jnp.zeros_like(shifted_ref)

        _fill(padded_ref, x_refs, rows, columns, frames=x.shape[1])
        here = dy_ref[0, 0].reshape(pixels, features)
        wide = here.astype(jnp.float32)
        for side, part in enumerate((_shifted(wide, -1, columns), here, _shifted(wide, 1, columns))):
            shifted_ref[:, side * LANES : side * LANES + features] = part.astype(here.dtype)

        def of_tap(tap: Array, carry: None) -> None:
            start = pl.multiple_of(lax.rem(tap, 3) * columns, 16)
            under_tap = padded_ref[lax.div(tap, 3), pl.ds(start, pixels)]
            out_ref[tap] += product(under_tap, shifted_ref[...], 0, 0, interpret=interpret)

        # A loop, not written out: that takes twice as long to compile.
        lax.fori_loop(0, 9, of_tap, None)

    gradient = pl.pallas_call(
        run,
        grid=grid,
        in_specs=[*_with_neighbours(x, rows), _of_rows(rows, columns)(features)],
        out_specs=pl.BlockSpec((9, features_in, 3 * LANES), lambda *block: (0, 0, 0)),
        out_shape=jax.ShapeDtypeStruct((9, features_in, 3 * LANES), jnp.float32),
        scratch_shapes=[_padded(x, rows), pltpu.VMEM((pixels, 3 * LANES), dy.dtype)],
        compiler_params=_compiler_params(),
        interpret=interpret,
        name="convolution_3d_gradient",
        metadata=in_metadata(cycles_of_convolution(x.size // features_in, gradient=True)),
    )(*(x,) * 9, dy)
    taps = rearrange(gradient, "(t h) i (w o) -> t h w i o", t=3, w=3)
    return taps[..., :features]


def _blocks(x: Array) -> tuple[int, tuple[int, int, int]]:
    """Rows of a block, and the blocks of clips, frames and rows."""
    batch, frames, height, columns, _ = x.shape
    rows = largest_divisor(height, max(_PIXELS // columns, 1))
    return rows, (batch, frames, height // rows)


def _of_rows(rows: int, columns: int) -> Callable[[int], pl.BlockSpec]:
    """The block itself, of arrays of so many features."""
    return lambda features: pl.BlockSpec((1, 1, rows, columns, features), lambda b, t, r: (b, t, r, 0, 0))


def _with_neighbours(x: Array, rows: int) -> list[pl.BlockSpec]:
    """Of the frames before, at and after a block: the row above, the block's rows, the row below."""
    _, frames, height, columns, features = x.shape

    def of(apart: int, count: int, first: Callable[[Any], Any]) -> pl.BlockSpec:
        # Where there is no such frame or row, any is taken, and not used.
        def index(b: Any, t: Any, r: Any) -> tuple[Any, ...]:
            return b, jnp.clip(t + apart, 0, frames - 1), jnp.clip(first(r), 0, height // count - 1), 0, 0

        return pl.BlockSpec((1, 1, count, columns, features), index)

    return [
        spec
        for apart in (-1, 0, 1)
        for spec in (
            of(apart, 1, lambda r: r * rows - 1),
            of(apart, rows, lambda r: r),
            of(apart, 1, lambda r: (r + 1) * rows),
        )
    ]


def _padded(x: Array, rows: int) -> Any:
    return pltpu.VMEM((3, (rows + 2) * x.shape[3], x.shape[-1]), x.dtype)


def _fill(padded_ref: Any, x_refs: Any, rows: int, columns: int, *, frames: int) -> None:
    """Writes a block's surroundings side by side, zeros where the clip ends."""
    frame, block = pl.program_id(1), pl.program_id(2)
    for number, ref in enumerate(x_refs):
        time, part = divmod(number, 3)
        count = rows if part == 1 else 1
        start = (0, columns, (rows + 1) * columns)[part]
        there = (frame + time >= 1) & (frame + time <= frames)
        if part == 0:
            there &= block > 0
        elif part == 2:
            there &= block < pl.num_programs(2) - 1
        target = padded_ref.at[time, pl.ds(start, count * columns)]

        @pl.when(there)
        def _(target: Any = target, ref: Any = ref, count: int = count) -> None:
            target[...] = ref[0, 0].reshape(count * columns, ref.shape[-1])

        @pl.when(~there)
        def _(target: Any = target) -> None:
            target[...] = jnp.zeros(target.shape, target.dtype)


def _shifted(x: Array, by: int, columns: int) -> Array:
    """The pixels of rows of pictures, each `by` (1 or -1) columns to the right; zeros come in."""
    column = lax.rem(lax.broadcasted_iota(jnp.int32, x.shape, 0), jnp.int32(columns))
    rolled = pltpu.roll(x, by % len(x), 0)
    return jnp.where(column == (0 if by == 1 else columns - 1), 0.0, rolled)


def _taps_side_by_side(kernel: Array) -> Array:
    """[9, i, 3 * 128]: taps in width beside each other."""
    padded = jnp.pad(kernel, ((0, 0),) * 4 + ((0, LANES - kernel.shape[-1]),))
    return rearrange(padded, "t h w i o -> (t h) i (w o)")


def _compiler_params() -> Any:
    return pltpu.CompilerParams(dimension_semantics=("arbitrary",) * 3, vmem_limit_bytes=_VMEM_BYTES)
