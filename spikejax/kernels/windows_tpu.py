"""Cutting clips into windows and back for TPUs (Pallas, Mosaic), with what is computed at either end.

Whether windows are shifted is known only when the program runs. So rows come in strips of half a window, whose places
depend on that, and columns are rotated in the vector memory. Frames that fill the last window up are read from the
clip's last one and set to zero.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from spikejax.kernels.cycles import cycles_of_cutting, in_metadata
from spikejax.kernels.layers_tpu import (
    as_lanes,
    as_matrices,
    compiler_params,
    normed,
    of_clip,
    times,
    whole,
    zero_at_first,
)
from spikejax.kernels.products import product
from spikejax.kernels.window_attention_tpu import masks
from spikejax.kernels.window_layout import SIDE, Cut, Heads, Projections

_HALF = SIDE // 2
_TOKENS = _HALF * SIDE  # of a window's half of one frame


def into(
    x: Array,
    shifted: Array,
    norm: tuple[Array, Array],
    projections: Projections,
    heads: tuple[Heads, ...],
    cut: Cut,
    *,
    interpret: bool,
) -> tuple[Array, ...]:
    """See `spikejax.kernels.windows.into_windows`."""
    clips, frames, rows, columns, features = x.shape
    grid = clips, rows // SIDE, cut.windows(frames)
    parameters, encodings = _matrices(norm, projections)
    given = *parameters, *encodings
    dtype, across = x.dtype, columns // SIDE

    def kernel(shifted_ref: Any, *refs: Any) -> None:
        sources, (scale, bias, *matrices), outs, rows_ref = _split(refs, 2 * cut.frames, len(given), len(heads))
        layers = _layers(matrices, projections)
        flag = shifted_ref[0]
        # Asked here, since a loop's body that is interpreted cannot.
        ends = pl.program_id(2) == grid[2] - 1, pl.program_id(1) == grid[1] - 1

        def normal(strip: Array) -> Array:
            return normed(strip, scale[...], bias[...]).astype(jnp.float32)

        _cut_frames(normal, sources, rows_ref, flag, frames, cut)

        def window(index: Array, carry: None) -> None:
            tokens = rows_ref[index]
            regions, of_frames = _regions((*ends, index == across - 1), flag, cut)
            for out, of, (matrix, added, encoding) in zip(outs, heads, layers, strict=True):
                projected = times(_encoded(tokens, encoding, dtype), matrix[...], interpret=interpret) + added[...]
                if of.mutual or any(cut.shift):
                    projected += masks(regions, of_frames, of)
                out[0, 0, index] = projected.astype(dtype)

        lax.fori_loop(0, across, window, None)

    shapes = [(clips, grid[1] * grid[2], across, cut.tokens, 3 * of.lanes) for of in heads]
    results = pl.pallas_call(
        kernel,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=grid,
            in_specs=[*_strips(x.shape, cut), *map(whole, given)],
            out_specs=[_of_windows(shape, grid) for shape in shapes],
            scratch_shapes=[pltpu.VMEM((across, cut.tokens, features), jnp.float32)],
        ),
        out_shape=[jax.ShapeDtypeStruct(shape, dtype) for shape in shapes],
        compiler_params=compiler_params(3),
        interpret=interpret,
        name="into_windows",
        metadata=in_metadata(cycles_of_cutting(*_sizes(x, cut), len(heads), into=True, gradient=False)),
    )(shifted, *(x,) * (2 * cut.frames), *given)
    return tuple(result.reshape(clips, -1, cut.tokens, result.shape[-1]) for result in results)


def into_gradient(
    x: Array,
    shifted: Array,
    norm: tuple[Array, Array],
    projections: Projections,
    dqkv: tuple[Array, ...],
    cut: Cut,
    *,
    interpret: bool,
) -> tuple[Array, ...]:
    """The gradients of the clips, of the norm's scale and bias, and of each projection's kernel and bias."""
    clips, frames, rows, columns, features = x.shape
    parameters, encodings = _matrices(norm, projections)
    given = *parameters, *encodings
    dtype, across = x.dtype, columns // SIDE
    filled = cut.filled(frames)
    # Zero frames come first: they have gradients of parameters, and what they write is written again.
    behind = filled - frames
    grid = clips, filled, rows // SIDE
    count = len(dqkv)

    def kernel(shifted_ref: Any, x_ref: Any, *refs: Any) -> None:
        halves, (scale, bias, *matrices), (dx_ref, dscale, dbias, *dmatrices), rows_ref = _split(
            refs, 2 * count, len(given), 3 + 2 * count
        )
        flag = shifted_ref[0]
        real = pl.program_id(1) >= behind

        zero_at_first((dscale, dbias, *dmatrices), 3)
        strip = x_ref[0, 0].reshape(SIDE * columns, features)
        y, pull = jax.vjp(normed, strip, scale[...], bias[...])
        y = jnp.where(real, y.astype(jnp.float32), 0.0).reshape(SIDE, columns, features)
        dy = []
        for half in range(2):
            _cut_strip(y[_HALF * half : _HALF * (half + 1)], rows_ref, 0, flag, cut)
            tokens, of_window = rows_ref[...], _half_in_window(half, flag, cut)
            total = jnp.zeros((across * _TOKENS, features), jnp.float32)
            for index, (matrix, _, encoding) in enumerate(_layers(matrices, projections)):
                ours = _encoded(tokens, encoding, dtype, of_window).reshape(-1, features)
                d = halves[2 * index + half][0, 0, :, 0].reshape(across * _TOKENS, -1)
                dmatrices[2 * index][...] += product(ours, d, 0, 0, interpret=interpret)
                dmatrices[2 * index + 1][...] += d.astype(jnp.float32).sum(0, keepdims=True)
                total += product(d, matrix[...].astype(dtype), 1, 1, interpret=interpret)
            dy += _joined(total.reshape(across, _TOKENS, features), flag, cut)
        dy_strip = jnp.concatenate([row[None] for row in dy]).reshape(SIDE * columns, features)
        dx, dscale_here, dbias_here = pull(jnp.where(real, dy_strip, 0.0).astype(dtype))
        dx_ref[0, 0] = dx.reshape(SIDE, columns, features)
        dscale[...] += dscale_here
        dbias[...] += dbias_here

    def frame_of(step: Array) -> Array:
        return jnp.maximum(step - behind, 0)

    strip = pl.BlockSpec(
        (1, 1, SIDE, columns, features), lambda clip, step, row, shifted: (clip, frame_of(step), row, 0, 0)
    )

    def place_of(step: Array) -> Array:
        return lax.rem(step - behind + filled, jnp.int32(filled))

    dx, *results = pl.pallas_call(
        kernel,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=grid,
            in_specs=[
                strip,
                *(spec for d in dqkv for spec in _halves(d, frames, rows, across, cut, place_of)),
                *map(whole, given),
            ],
            out_specs=[strip, *map(whole, parameters)],
            scratch_shapes=[pltpu.VMEM((across, _TOKENS, features), jnp.float32)],
        ),
        out_shape=[
            jax.ShapeDtypeStruct(x.shape, dtype),
            *(jax.ShapeDtypeStruct(matrix.shape, jnp.float32) for matrix in parameters),
        ],
        compiler_params=compiler_params(3),
        interpret=interpret,
        name="into_windows_gradient",
        metadata=in_metadata(cycles_of_cutting(*_sizes(x, cut), count, into=True, gradient=True)),
    )(shifted, x, *(_in_halves(d, rows, across, cut) for d in dqkv for _ in range(2)), *given)
    shapes = [*(p.shape for p in norm), *(p.shape for matrix, bias, _ in projections for p in (matrix, bias))]
    return dx, *(gradient.reshape(shape) for gradient, shape in zip(results, shapes, strict=True))


def out_of(
    x: Array,
    parts: tuple[Array, ...],
    shifted: Array,
    scale: Array,
    kernels: tuple[Array, ...],
    bias: Array,
    cut: Cut,
    *,
    interpret: bool,
) -> Array:
    """See `spikejax.kernels.windows.out_of_windows`."""
    clips, frames, rows, columns, features = x.shape
    grid = clips, frames, rows // SIDE
    across, count = columns // SIDE, len(parts)
    given = as_matrices((*kernels, bias))

    def kernel(shifted_ref: Any, x_ref: Any, scale_ref: Any, *refs: Any) -> None:
        halves, (*matrices, bias), (out_ref,), _ = _split(refs, 2 * count, count + 1, 1)
        flag, factor = shifted_ref[0], scale_ref[0, :, :1]
        for half in range(2):
            added = bias[...]
            for index, matrix in enumerate(matrices):
                part = halves[2 * index + half][0, 0, :, 0].reshape(across * _TOKENS, -1)
                added = added + times(part, matrix[...], interpret=interpret)
            for row, values in enumerate(_joined(added.reshape(across, _TOKENS, features), flag, cut)):
                at = _HALF * half + row
                out_ref[0, 0, at] = (x_ref[0, 0, at].astype(jnp.float32) + factor * values).astype(x.dtype)

    strip = pl.BlockSpec((1, 1, SIDE, columns, features), lambda clip, frame, row, shifted: (clip, frame, row, 0, 0))
    return pl.pallas_call(
        kernel,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=grid,
            in_specs=[
                strip,
                of_clip(),
                *(spec for part in parts for spec in _halves(part, frames, rows, across, cut, lambda frame: frame)),
                *map(whole, given),
            ],
            out_specs=strip,
        ),
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        compiler_params=compiler_params(3),
        interpret=interpret,
        name="out_of_windows",
        metadata=in_metadata(cycles_of_cutting(*_sizes(x, cut), count, into=False, gradient=False)),
    )(shifted, x, as_lanes(scale), *(_in_halves(part, rows, across, cut) for part in parts for _ in range(2)), *given)


def out_of_gradient(
    dy: Array,
    parts: tuple[Array, ...],
    shifted: Array,
    scale: Array,
    kernels: tuple[Array, ...],
    cut: Cut,
    *,
    interpret: bool,
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The gradients of the parts, and those of the projection's kernels and bias; the clips' own is `dy`."""
    clips, frames, rows, columns, features = dy.shape
    grid = clips, rows // SIDE, cut.windows(frames)
    across, count, dtype = columns // SIDE, len(parts), dy.dtype
    given = as_matrices(kernels)

    def kernel(shifted_ref: Any, scale_ref: Any, *refs: Any) -> None:
        sources, refs = refs[: 2 * cut.frames], refs[2 * cut.frames :]
        part_refs, matrices, (*dpart_refs, dbias), rows_ref = _split(refs, count, count, 2 * count + 1)
        dpart_refs, dmatrices = dpart_refs[:count], dpart_refs[count:]
        flag, factor = shifted_ref[0], scale_ref[0, :, :1]

        zero_at_first((*dmatrices, dbias), 3)
        _cut_frames(lambda strip: strip.astype(jnp.float32) * factor, sources, rows_ref, flag, frames, cut)

        def window(index: Array, carry: None) -> None:
            accurate = rows_ref[index]
            d = accurate.astype(dtype)
            dbias[...] += accurate.sum(0, keepdims=True)
            for part, matrix, dpart, dmatrix in zip(part_refs, matrices, dpart_refs, dmatrices, strict=True):
                dpart[0, 0, index] = product(d, matrix[...].astype(dtype), 1, 1, interpret=interpret).astype(dtype)
                dmatrix[...] += product(part[0, 0, index], d, 0, 0, interpret=interpret)

        lax.fori_loop(0, across, window, None)

    lists = [part.reshape(clips, grid[1] * grid[2], across, cut.tokens, -1) for part in parts]
    of_windows = [_of_windows(part.shape, grid) for part in lists]
    results = pl.pallas_call(
        kernel,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=grid,
            in_specs=[
                of_clip(),
                *_strips(dy.shape, cut),
                *of_windows,
                *map(whole, given),
            ],
            out_specs=[*of_windows, *map(whole, given), pl.BlockSpec((1, features), lambda *_: (0, 0))],
            scratch_shapes=[pltpu.VMEM((across, cut.tokens, features), jnp.float32)],
        ),
        out_shape=[
            *(jax.ShapeDtypeStruct(part.shape, dtype) for part in lists),
            *(jax.ShapeDtypeStruct(matrix.shape, jnp.float32) for matrix in given),
            jax.ShapeDtypeStruct((1, features), jnp.float32),
        ],
        compiler_params=compiler_params(3),
        interpret=interpret,
        name="out_of_windows_gradient",
        metadata=in_metadata(cycles_of_cutting(*_sizes(dy, cut), count, into=False, gradient=True)),
    )(shifted, as_lanes(scale), *(dy,) * (2 * cut.frames), *lists, *given)
    dparts = tuple(d.reshape(part.shape) for d, part in zip(results[:count], parts, strict=True))
    return dparts, tuple(results[count:])


def _matrices(norm: tuple[Array, Array], projections: Projections) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The parameters as kernels are given them, in order, and what is added to some projections' tokens."""
    leaves = [leaf for matrix, bias, _ in projections for leaf in (matrix, bias)]
    return as_matrices((*norm, *leaves)), as_matrices(tuple(added for *_, added in projections if added is not None))


def _layers(refs: Sequence[Any], projections: Projections) -> list[tuple[Any, Any, Any]]:
    """Kernel, bias and encoding, if there is one, of each projection, of what `_matrices` has behind the norm's."""
    encodings = iter(refs[2 * len(projections) :])
    return [
        (refs[2 * index], refs[2 * index + 1], None if added is None else next(encodings))
        for index, (*_, added) in enumerate(projections)
    ]


def _split(refs: Sequence[Any], inputs: int, parameters: int, outputs: int) -> tuple[Any, Any, Any, Any]:
    """Inputs, parameters, outputs, and the array that is kept in the vector memory, if there is one."""
    ends = inputs, inputs + parameters, inputs + parameters + outputs
    scratch = refs[ends[2]] if len(refs) > ends[2] else None
    return refs[: ends[0]], refs[ends[0] : ends[1]], refs[ends[1] : ends[2]], scratch


def _sizes(x: Array, cut: Cut) -> tuple[int, int, int]:
    """The tokens of all windows and of one, and their features."""
    clips, frames, rows, columns, features = x.shape
    return clips * cut.filled(frames) * rows * columns, cut.tokens, features


def _of_windows(shape: tuple[int, ...], grid: tuple[int, ...]) -> pl.BlockSpec:
    """A row of windows of the grid (clip, row of windows, window in time)."""
    return pl.BlockSpec((1, 1, *shape[2:]), lambda clip, row, place, shifted: (clip, row * grid[2] + place, 0, 0, 0))


def _strips(shape: tuple[int, ...], cut: Cut) -> list[pl.BlockSpec]:
    """The halves of all frames of a row of windows: of the clip, 4 rows each."""
    _, frames, rows, columns, features = shape
    filled = cut.filled(frames)

    def spec(frame: int, half: int) -> pl.BlockSpec:
        def place(clip: Array, row: Array, window: Array, shifted: Any) -> tuple[Any, ...]:
            flag = shifted[0]
            time = lax.rem(window * cut.frames + frame + flag * cut.shift[0], jnp.int32(filled))
            strip = 2 * row + half + flag * (cut.shift[1] // _HALF)
            return clip, jnp.minimum(time, frames - 1), lax.rem(strip, jnp.int32(rows // _HALF)), 0, 0

        return pl.BlockSpec((1, 1, _HALF, columns, features), place)

    return [spec(frame, half) for frame in range(cut.frames) for half in range(2)]


def _halves(
    windows: Array, frames: int, rows: int, across: int, cut: Cut, frame_of: Callable[[Array], Array]
) -> list[pl.BlockSpec]:
    """The halves of windows of two half strips of a frame of the grid (clip, frame, row of 8)."""
    in_time, filled, strips = cut.windows(frames), cut.filled(frames), rows // _HALF

    def spec(half: int) -> pl.BlockSpec:
        def place(clip: Array, step: Array, row: Array, shifted: Any) -> tuple[Any, ...]:
            flag = shifted[0]
            time = lax.rem(frame_of(step) - flag * cut.shift[0] + filled, jnp.int32(filled))
            strip = lax.rem(2 * row + half - flag * (cut.shift[1] // _HALF) + strips, jnp.int32(strips))
            window, frame = lax.div(time, jnp.int32(cut.frames)), lax.rem(time, jnp.int32(cut.frames))
            row_of_windows, own_half = lax.div(strip, jnp.int32(2)), lax.rem(strip, jnp.int32(2))
            return clip, row_of_windows * in_time + window, 0, 2 * frame + own_half, 0, 0

        return pl.BlockSpec((1, 1, across, 1, _TOKENS, windows.shape[-1]), place)

    return [spec(half) for half in range(2)]


def _in_halves(windows: Array, rows: int, across: int, cut: Cut) -> Array:
    """[clip, row of windows and window in time, window, half of a frame, token, column]."""
    return windows.reshape(len(windows), -1, across, 2 * cut.frames, _TOKENS, windows.shape[-1])


def _half_in_window(half: int, flag: Array, cut: Cut) -> Array:
    """Which half of their windows the tokens of a half strip are."""
    return lax.rem(half + flag * (cut.shift[1] // _HALF), jnp.int32(2))


def _zero_behind(y: Array, frame: int, flag: Array, frames: int, cut: Cut) -> Array:
    """Zeros, if that frame of the window of this step (its third index) is none of the clip."""
    filled = cut.filled(frames)
    if filled == frames:
        return y
    time = lax.rem(pl.program_id(2) * cut.frames + frame + flag * cut.shift[0], jnp.int32(filled))
    return jnp.where(time < frames, y, 0.0)


def _cut_frames(
    compute: Callable[[Array], Array], sources: Sequence[Any], rows_ref: Any, flag: Array, frames: int, cut: Cut
) -> None:
    """Puts what is computed of the rows [pixels, c] of all `_strips` into windows [across, tokens, c]."""
    for frame in range(cut.frames):
        for half in range(2):
            strip = sources[2 * frame + half][0, 0]
            y = _zero_behind(compute(strip.reshape(-1, strip.shape[-1])), frame, flag, frames, cut)
            _cut_strip(y.reshape(strip.shape), rows_ref, (2 * frame + half) * _TOKENS, flag, cut)


def _cut_strip(y: Array, rows_ref: Any, token: int, flag: Array, cut: Cut) -> None:
    """Puts a half strip [4, columns, c] into windows [across, tokens, c], from that token on."""
    for row in range(_HALF):
        values = y[row]
        if cut.shift[2]:
            columns = len(values)
            values = pltpu.roll(values, lax.rem(columns - flag * cut.shift[2], jnp.int32(columns)), 0)
        at = token + SIDE * row
        rows_ref[:, at : at + SIDE, :] = values.reshape(-1, SIDE, values.shape[-1])


def _joined(windows: Array, flag: Array, cut: Cut) -> list[Array]:
    """The rows [columns, c] of a half strip from its halves of windows [across, 32, c]."""
    rows = []
    for row in range(_HALF):
        values = windows[:, SIDE * row : SIDE * (row + 1)].reshape(-1, windows.shape[-1])
        rows.append(pltpu.roll(values, flag * cut.shift[2], 0) if cut.shift[2] else values)
    return rows


def _encoded(tokens: Array, encoding: Any, dtype: jnp.dtype, half: Array | None = None) -> Array:
    """Tokens, all of a window or one of its halves, with what is added to them, if anything is."""
    if encoding is None:
        return tokens.astype(dtype)
    added = encoding[...] if half is None else encoding[pl.ds(pl.multiple_of(half * _TOKENS, _TOKENS), _TOKENS), :]
    added = added.astype(dtype).astype(jnp.float32)
    return (tokens + added.reshape((1,) * (tokens.ndim - 2) + added.shape)).astype(dtype)


def _regions(ends: tuple[Array, ...], flag: Array, cut: Cut) -> tuple[Array, Array]:
    """The regions of a window's tokens, as `spikejax.models.attention.window_regions` counts them, and their frames.

    Args:
        ends: whether the window is the last one in time, of the rows, and of the columns.
        flag: whether windows are shifted.
        cut: into which windows.
    """
    token = lax.broadcasted_iota(jnp.int32, (cut.tokens, 1), 0)
    frame, row, column = token >> 6, (token >> 3) & 7, token & 7
    region = jnp.zeros_like(token)
    for place, last, length, step in zip((frame, row, column), ends, (cut.frames, SIDE, SIDE), cut.shift, strict=True):
        came_round = (place >= length - step).astype(jnp.int32) * jnp.where(last, flag, 0) if step else 0
        region = 2 * region + came_round
    return region, frame
