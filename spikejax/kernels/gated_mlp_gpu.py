"""A norm and a gated MLP for GPUs (Pallas, Triton). It computes what `spikejax.models.blocks` defines.

A program works on a block of pixels. What is hidden is made, used and forgotten in chunks of columns. Triton's blocks
are powers of 2: 96 features are read as 128, of which 32 are masked.

    _forward_kernel     a block of pixels
    _pixels_kernel      the gradient of a block of pixels, and its part of the gradients of the norm and the last bias
    _hidden_kernel      the gradients of the kernels and biases of a chunk, over some of the pixels
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from spikejax.kernels.blocks_gpu import SMALLEST_BLOCK, block_of, power_of_2
from spikejax.kernels.layer_math import LAYER_NORM_EPSILON, gelu_and_slope
from spikejax.kernels.products import product
from spikejax.kernels.window_layout import largest_divisor

# Into so many parts the pixels are divided that the gradients of a chunk's parameters are added up over.
_PARTS = 64
# A chunk's gradients are in registers: three matrices of features by its columns.
_CHUNK_ENTRIES = 64 * 128


def forward(x: Array, scale: Array, parameters: tuple[Array, ...], *, interpret: bool) -> Array:
    """The result [b, t, h, w, c]; see `spikejax.kernels.gated_mlp.gated_mlp`."""
    blocks = _Blocks(x, parameters, interpret)
    result = blocks.call(
        _forward_kernel,
        grid=(blocks.count,),
        out_shape=jax.ShapeDtypeStruct(blocks.shape, x.dtype),
        name="gated_mlp",
    )(x.reshape(blocks.shape), scale.astype(jnp.float32), *_given(parameters, x.dtype))
    return result.reshape(x.shape)


def backward(
    x: Array, scale: Array, parameters: tuple[Array, ...], dy: Array, *, interpret: bool
) -> tuple[Array, tuple[Array, ...]]:
    """The gradients of `x` and of the parameters, these float32."""
    blocks = _Blocks(x, parameters, interpret)
    features, hidden = blocks.features, blocks.hidden
    given = (
        dy.reshape(blocks.shape),
        x.reshape(blocks.shape),
        scale.astype(jnp.float32),
        *_given(parameters, x.dtype),
    )
    dx, rows = blocks.call(
        _pixels_kernel,
        grid=(blocks.count,),
        out_shape=[
            jax.ShapeDtypeStruct(blocks.shape, x.dtype),
            jax.ShapeDtypeStruct((blocks.count, 3, features), jnp.float32),
        ],
        name="gated_mlp_gradient",
    )(*given)
    parts = largest_divisor(blocks.count, _PARTS)
    shapes = (features, hidden), (hidden,), (features, hidden), (hidden,), (hidden, features)
    hidden_gradients = blocks.call(
        partial(_hidden_kernel, blocks.count // parts),
        grid=(parts, blocks.chunks),
        out_shape=[jax.ShapeDtypeStruct((parts, *shape), jnp.float32) for shape in shapes],
        name="gated_mlp_parameters_gradient",
        warps=8,
    )(*given)
    norm_scale, norm_bias, last_bias = rows.sum(0)
    return dx.reshape(x.shape), (norm_scale, norm_bias, *(x.sum(0) for x in hidden_gradients), last_bias)


class _Blocks:
    """The blocks of pixels and of what is hidden, and the accesses to them."""

    def __init__(self, x: Array, parameters: tuple[Array, ...], interpret: bool):
        self.features, self.hidden = parameters[2].shape
        self.dtype, self.interpret = x.dtype, interpret
        self.pixels = x[0].size // self.features  # of a clip
        self.shape = (len(x) * self.pixels, self.features)
        self.size = block_of(self.pixels)
        self.count = self.shape[0] // self.size
        self.width = power_of_2(self.features)
        self.chunk = max(min(_CHUNK_ENTRIES // self.width, 64), SMALLEST_BLOCK)
        self.chunks = -(-self.hidden // self.chunk)

    def call(self, kernel: Any, *, warps: int = 4, **named: Any) -> Any:
        """A kernel as a function of arrays."""
        warps = max(warps, 8 if self.width > 128 else 4)
        params = None if self.interpret else plgpu.CompilerParams(num_warps=warps, num_stages=2)
        return pl.pallas_call(partial(kernel, self), compiler_params=params, interpret=self.interpret, **named)

    def columns(self) -> tuple[Array, Array]:
        """The features, as an index, and which of them there are."""
        own = lax.broadcasted_iota(jnp.int32, (self.width,), 0)
        return own, own < self.features

    def hidden_columns(self, start: Array) -> tuple[Array, Array]:
        """The columns of a chunk, and which of them there are."""
        own = start + lax.broadcasted_iota(jnp.int32, (self.chunk,), 0)
        return own, own < self.hidden

    def load(self, ref: Any, start: Array) -> Array:
        """A block of pixels' features."""
        return _load(ref, self.rows(start), self.columns())

    def store(self, ref: Any, start: Array, block: Array) -> None:
        """Writes what `load` would read."""
        _store(ref, self.rows(start), self.columns(), block)

    def rows(self, start: Array) -> tuple[Array, Array]:
        """The pixels of a block, all of which there are."""
        own = start + lax.broadcasted_iota(jnp.int32, (self.size,), 0)
        return own, own >= 0

    def times(self, a: Array, b: Array) -> Array:
        """The product of two matrices in the type of the features, summed in float32."""
        return product(a.astype(self.dtype), b.astype(self.dtype), 1, 0, interpret=self.interpret)

    def zeros(self, *shape: int) -> Array:
        """Of float32."""
        return jnp.zeros(shape, jnp.float32)


class _Layers:
    """The norm and the layers of the MLP, of a block of pixels."""

    def __init__(self, blocks: _Blocks, refs: tuple[Any, ...]):
        self.blocks = blocks
        self.norm_scale, self.norm_bias, *self.opened, self.last, self.last_bias = refs

    def normed(self, x: Array) -> tuple[Array, Array, Array]:
        """The norm of features, those features with a mean of 0 and a deviation of 1, and 1 / the deviation."""
        columns, there = self.blocks.columns()
        accurate = x.astype(jnp.float32)
        mean = accurate.sum(1) / self.blocks.features
        centred = jnp.where(there[None, :], accurate - mean[:, None], 0.0)
        scale = lax.rsqrt((centred * centred).sum(1) / self.blocks.features + LAYER_NORM_EPSILON)
        plain = centred * scale[:, None]
        weight, bias = (_load_row(ref, (columns, there)) for ref in (self.norm_scale, self.norm_bias))
        return (plain * weight + bias).astype(x.dtype), plain, scale

    def kernels(self, start: Array) -> tuple[Array, Array, Array]:
        """The columns of a chunk of both first kernels, and the rows of the last one."""
        features, chunk = self.blocks.columns(), self.blocks.hidden_columns(start)
        kernel11, _, kernel12, _ = self.opened
        return (_load(kernel11, features, chunk), _load(kernel12, features, chunk), _load(self.last, chunk, features))

    def before_gate(self, y: Array, kernels: tuple[Array, Array, Array], start: Array) -> tuple[Array, Array]:
        """A chunk of both first layers."""
        chunk = self.blocks.hidden_columns(start)
        _, bias11, _, bias12 = self.opened
        first, second = (self.blocks.times(y, kernel) for kernel in kernels[:2])
        return first + _load_row(bias11, chunk), second + _load_row(bias12, chunk)

    def gradients(
        self, y: Array, dadded: Array, kernels: tuple[Array, Array, Array], start: Array
    ) -> tuple[Array, Array, Array]:
        """What is hidden in a chunk, and the gradients of both first layers' results, in the type of the features."""
        first, second = self.before_gate(y, kernels, start)
        opened, slope = gelu_and_slope(first)
        dhidden = self.blocks.times(dadded, kernels[2].T)
        results = opened * second, dhidden * second * slope, dhidden * opened
        hidden, dfirst, dsecond = (x.astype(self.blocks.dtype) for x in results)
        return hidden, dfirst, dsecond


def _forward_kernel(blocks: _Blocks, x_ref: Any, scale_ref: Any, *refs: Any) -> None:
    *given, out_ref = refs
    layers, start = _Layers(blocks, tuple(given)), pl.program_id(0) * blocks.size
    x = blocks.load(x_ref, start)
    y, _, _ = layers.normed(x)

    def over_chunks(index: Array, added: Array) -> Array:
        first_column = index.astype(jnp.int32) * blocks.chunk
        kernels = layers.kernels(first_column)
        first, second = layers.before_gate(y, kernels, first_column)
        return added + blocks.times(gelu_and_slope(first)[0] * second, kernels[2])

    added = lax.fori_loop(0, blocks.chunks, over_chunks, blocks.zeros(blocks.size, blocks.width))
    added = added + _load_row(layers.last_bias, blocks.columns())
    blocks.store(out_ref, start, x.astype(jnp.float32) + _scale_of(scale_ref, start, blocks) * added)


def _pixels_kernel(blocks: _Blocks, dy_ref: Any, x_ref: Any, scale_ref: Any, *refs: Any) -> None:
    *given, dx_ref, rows_ref = refs
    block = pl.program_id(0)
    layers, start = _Layers(blocks, tuple(given)), block * blocks.size
    dy = blocks.load(dy_ref, start).astype(jnp.float32)
    y, plain, scale = layers.normed(blocks.load(x_ref, start))
    dadded = _scale_of(scale_ref, start, blocks) * dy

    def over_chunks(index: Array, dnormed: Array) -> Array:
        first_column = index.astype(jnp.int32) * blocks.chunk
        kernels = layers.kernels(first_column)
        _, dfirst, dsecond = layers.gradients(y, dadded, kernels, first_column)
        return dnormed + blocks.times(dfirst, kernels[0].T) + blocks.times(dsecond, kernels[1].T)

    dnormed = lax.fori_loop(0, blocks.chunks, over_chunks, blocks.zeros(blocks.size, blocks.width))
    columns = blocks.columns()
    dplain = dnormed * _load_row(layers.norm_scale, columns)
    mean, along = (x.sum(1)[:, None] / blocks.features for x in (dplain, dplain * plain))
    blocks.store(dx_ref, start, dy + scale[:, None] * (dplain - mean - plain * along))
    own, there = columns
    for row, gradient in enumerate((dnormed * plain, dnormed, dadded)):
        plgpu.store(rows_ref.at[block, row, own], gradient.sum(0), mask=there)


def _hidden_kernel(count: int, blocks: _Blocks, dy_ref: Any, x_ref: Any, scale_ref: Any, *refs: Any) -> None:
    *given, kernel11_ref, bias11_ref, kernel12_ref, bias12_ref, last_ref = refs
    layers, part, first_column = _Layers(blocks, tuple(given)), pl.program_id(0), pl.program_id(1) * blocks.chunk
    kernels = layers.kernels(first_column)

    def over_blocks(index: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        start = (part * count + index.astype(jnp.int32)) * blocks.size
        dadded = _scale_of(scale_ref, start, blocks) * blocks.load(dy_ref, start).astype(jnp.float32)
        y, _, _ = layers.normed(blocks.load(x_ref, start))
        hidden, dfirst, dsecond = layers.gradients(y, dadded, kernels, first_column)
        added = (
            blocks.times(y.T, dfirst),
            dfirst.astype(jnp.float32).sum(0),
            blocks.times(y.T, dsecond),
            dsecond.astype(jnp.float32).sum(0),
            blocks.times(hidden.T, dadded),
        )
        return tuple(x + y for x, y in zip(sums, added, strict=True))

    wide, long = blocks.zeros(blocks.width, blocks.chunk), blocks.zeros(blocks.chunk)
    zeros = wide, long, wide, long, blocks.zeros(blocks.chunk, blocks.width)
    gradients = lax.fori_loop(0, count, over_blocks, zeros)
    dkernel11, dbias11, dkernel12, dbias12, dlast = gradients
    features, chunk = blocks.columns(), blocks.hidden_columns(first_column)
    for ref, gradient in ((kernel11_ref, dkernel11), (kernel12_ref, dkernel12)):
        _store(ref, features, chunk, gradient, part)
    _store(last_ref, chunk, features, dlast, part)
    for ref, gradient in ((bias11_ref, dbias11), (bias12_ref, dbias12)):
        plgpu.store(ref.at[part, chunk[0]], gradient, mask=chunk[1])


Axis = tuple[Array, Array]


def _grid(rows: Axis, columns: Axis) -> tuple[Array, Array, Array]:
    """The indices of a matrix, and which of its entries there are."""
    shape = (rows[0].shape[0], columns[0].shape[0])
    there = jnp.broadcast_to(rows[1][:, None], shape) & jnp.broadcast_to(columns[1][None, :], shape)
    return jnp.broadcast_to(rows[0][:, None], shape), jnp.broadcast_to(columns[0][None, :], shape), there


def _load(ref: Any, rows: Axis, columns: Axis) -> Array:
    """A matrix, zero where there is none."""
    *index, there = _grid(rows, columns)
    return plgpu.load(ref.at[tuple(index)], mask=there, other=0.0)


def _store(ref: Any, rows: Axis, columns: Axis, block: Array, *before: Array) -> None:
    """Writes a matrix where there is one; `before` are the indices of the axes before its own."""
    *index, there = _grid(rows, columns)
    plgpu.store(ref.at[(*before, *index)], block.astype(ref.dtype), mask=there)


def _load_row(ref: Any, columns: Axis) -> Array:
    """A part of a vector as a row, zero where there is none."""
    return plgpu.load(ref.at[columns[0]], mask=columns[1], other=0.0)[None, :]


def _scale_of(ref: Any, start: Array, blocks: _Blocks) -> Array:
    """The scale of the clip of a block."""
    return ref[lax.div(start, jnp.int32(blocks.pixels))]


def _given(parameters: tuple[Array, ...], dtype: jnp.dtype) -> list[Array]:
    """Kernels in the type of the features, biases and the norm in float32."""
    return [x.astype(dtype if x.ndim == 2 else jnp.float32) for x in parameters]
