"""Window attention for GPUs (Pallas, Triton). It computes what `spikejax.models.attend` defines.

A program works on a block of tokens of one head of one window. It reads its columns where the projection wrote them,
and compares regions inside. Triton's blocks are powers of 2: a head of 20 features is read as 32, of which 12 are
masked.

    _forward_kernel     a block of queries against all keys
    _backward_kernel    a block of keys against all queries, then the same block of queries against all keys
    _bias_kernel        a block of queries against a block of keys, over some of the windows
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from spikejax.kernels.blocks_gpu import SMALLEST_BLOCK, block_of, power_of_2
from spikejax.kernels.products import product
from spikejax.kernels.window_layout import Heads, largest_divisor

_OTHER_REGION = -100.0
# Into so many parts the windows are divided that the bias' gradient is added up over.
_BIAS_PARTS = 8


def fits(*, tokens: int, heads: int, depth: int) -> bool:
    """Whether windows of so many tokens, or their halves, are whole blocks."""
    return tokens % (2 * SMALLEST_BLOCK) == 0 and depth <= 64


def lanes_of(features: int) -> int:
    """The columns of queries, keys or values: the heads'."""
    return features


def add_masks(qkv: Array, regions: Array | None, heads: Heads) -> Array:
    """`qkv` itself: regions are compared within the kernels."""
    return qkv


def forward(
    qkv: Array, bias: Array | None, regions: Array | None, heads: Heads, *, interpret: bool = False
) -> tuple[Array, Array]:
    """The attention's result [w, n, lanes], and the logarithm of the sums of the weights, [w, heads, n].

    Args:
        qkv: of w windows, [w, n, 3 lanes].
        bias: [heads, n, n] or None.
        regions: of the windows of one clip, [nw, n]; w is a multiple of nw.
        heads: how the columns lie.
        interpret: without a GPU.
    """
    windows, tokens, _ = qkv.shape
    blocks = _Blocks(heads, tokens, 1 if regions is None else len(regions), interpret)
    return pl.pallas_call(
        partial(_forward_kernel, blocks, bias is not None, regions is not None),
        grid=(windows, heads.count, tokens // blocks.size),
        out_shape=[
            jax.ShapeDtypeStruct((windows, tokens, heads.lanes), qkv.dtype),
            jax.ShapeDtypeStruct((windows, heads.count, tokens), jnp.float32),
        ],
        compiler_params=_compiler_params(interpret),
        interpret=interpret,
        name="window_attention",
    )(qkv, *_given(bias, regions))


def backward(
    qkv: Array,
    bias: Array | None,
    regions: Array | None,
    attended: Array,
    log_total: Array,
    dy: Array,
    heads: Heads,
    *,
    interpret: bool = False,
) -> tuple[Array, Array | None]:
    """The gradients of `qkv` and of the bias, summed over windows."""
    windows, tokens, _ = qkv.shape
    blocks = _Blocks(heads, tokens, 1 if regions is None else len(regions), interpret)
    call = partial(pl.pallas_call, compiler_params=_compiler_params(interpret), interpret=interpret)
    mean = (attended.astype(jnp.float32) * dy.astype(jnp.float32))[..., : heads.features]
    mean = mean.reshape(windows, tokens, heads.count, heads.depth).sum(-1).swapaxes(1, 2)
    arguments = (qkv, log_total, mean, dy, *_given(bias, regions))
    given = bias is not None, regions is not None
    dqkv = call(
        partial(_backward_kernel, blocks, *given),
        grid=(windows, heads.count, tokens // blocks.size),
        out_shape=jax.ShapeDtypeStruct(qkv.shape, qkv.dtype),
        name="window_attention_gradient",
    )(*arguments)
    if bias is None:
        return dqkv, None
    parts = largest_divisor(windows, _BIAS_PARTS)
    per_axis = tokens // blocks.size
    dbias = call(
        partial(_bias_kernel, blocks, windows // parts, *given),
        grid=(parts, heads.count, per_axis * per_axis),
        out_shape=jax.ShapeDtypeStruct((parts, heads.count, tokens, tokens), jnp.float32),
        name="window_attention_bias_gradient",
    )(*arguments)
    return dqkv, dbias.sum(0)


class _Blocks:
    """The blocks of a window's tokens, and the accesses to them."""

    def __init__(self, heads: Heads, tokens: int, windows_of_clip: int, interpret: bool):
        self.heads, self.tokens, self.windows_of_clip = heads, tokens, windows_of_clip
        self.interpret = interpret
        # Of mutual attention the tokens that ask, and those that are asked, are one frame.
        self.asked = tokens // 2 if heads.mutual else tokens
        self.size = block_of(self.asked)
        self.width = power_of_2(heads.depth)

    def first_of_others(self, start: Array) -> Array:
        """The first of the tokens that a block of queries asks (or that ask a block of keys)."""
        # By arithmetic: Triton's lowering has no choice between numbers.
        return (1 - lax.div(start, jnp.int32(self.asked))) * self.asked if self.heads.mutual else start * 0

    def swapped(self, start: Array) -> Array:
        """Where the result of a block of queries lies: in mutual attention, in the other frame."""
        if not self.heads.mutual:
            return start
        return start + (1 - 2 * lax.div(start, jnp.int32(self.asked))) * self.asked

    def columns(self, head: Array, part: int) -> tuple[Array, Array]:
        """The columns of a head in queries (part 0), keys (1) or values (2), and which of them there are."""
        own = lax.broadcasted_iota(jnp.int32, (1, self.width), 1)
        return part * self.heads.lanes + head * self.heads.depth + own, own < self.heads.depth

    def rows(self, start: Array) -> Array:
        """The tokens of a block, as a column."""
        return start + lax.broadcasted_iota(jnp.int32, (self.size, 1), 0)

    def load(self, ref: Any, window: Array, start: Array, head: Array, part: int) -> Array:
        """A block of tokens' features of a head."""
        columns, there = self.columns(head, part)
        shape = (self.size, self.width)
        index = (window, jnp.broadcast_to(self.rows(start), shape), jnp.broadcast_to(columns, shape))
        return plgpu.load(ref.at[index], mask=jnp.broadcast_to(there, shape), other=0.0)

    def store(self, ref: Any, window: Array, start: Array, head: Array, part: int, block: Array) -> None:
        """Writes what `load` would read."""
        columns, there = self.columns(head, part)
        shape = (self.size, self.width)
        index = (window, jnp.broadcast_to(self.rows(start), shape), jnp.broadcast_to(columns, shape))
        plgpu.store(ref.at[index], block.astype(ref.dtype), mask=jnp.broadcast_to(there, shape))

    def times(self, a: Array, b: Array) -> Array:
        """The product of two matrices."""
        return product(a, b, 1, 0, interpret=self.interpret)

    def span(self, start: Array) -> Any:
        """The tokens of a block, as an index."""
        return pl.ds(start, self.size)

    def regions(self, ref: Any, window: Array, start: Array) -> Array:
        """The regions of a block's tokens; in mutual attention those of the first frame serve both."""
        if self.heads.mutual:
            start = lax.rem(start, jnp.int32(self.asked))
        return ref[lax.rem(window, jnp.int32(self.windows_of_clip)), self.span(start)]

    def over(self, first: Array, body: Callable[[Array, Any], Any], carry: Any) -> Any:
        """`body(start, carry)` of all blocks of the tokens that start at `first`."""

        def block(index: Array, carry: Any) -> Any:
            return body(first + index.astype(jnp.int32) * self.size, carry)

        return lax.fori_loop(0, self.asked // self.size, block, carry)


class _Weights:
    """The logits of a block of queries and a block of keys of one head of a window."""

    def __init__(self, blocks: _Blocks, refs: tuple[Any, ...], biased: bool, masked: bool):
        left = iter(refs)
        self.blocks = blocks
        self.bias = next(left) if biased else None
        self.regions = next(left) if masked else None

    def logits(self, q: Array, k: Array, window: Array, head: Array, queries: Array, keys: Array) -> Array:
        blocks = self.blocks
        logits = blocks.times(q, k.T) * blocks.heads.scale
        if self.bias is not None:
            logits = logits + self.bias[head, blocks.span(queries), blocks.span(keys)]
        if self.regions is not None:
            own, other = (blocks.regions(self.regions, window, start) for start in (queries, keys))
            logits = logits + jnp.where(own[:, None] == other[None, :], 0.0, _OTHER_REGION)
        return logits


def _forward_kernel(blocks: _Blocks, biased: bool, masked: bool, qkv_ref: Any, *refs: Any) -> None:
    *given, out_ref, total_ref = refs
    weights_of = _Weights(blocks, tuple(given), biased, masked)
    window, head, start = pl.program_id(0), pl.program_id(1), pl.program_id(2) * blocks.size
    q = blocks.load(qkv_ref, window, start, head, 0)

    def over_keys(keys: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        highest, total, attended = carry
        k, v = (blocks.load(qkv_ref, window, keys, head, part) for part in (1, 2))
        logits = weights_of.logits(q, k, window, head, start, keys)
        higher = jnp.maximum(highest, logits.max(1))
        weights, shrink = jnp.exp(logits - higher[:, None]), jnp.exp(highest - higher)
        attended = attended * shrink[:, None] + blocks.times(weights.astype(v.dtype), v)
        return higher, total * shrink + weights.sum(1), attended

    zeros = jnp.zeros((blocks.size,), jnp.float32)
    carry = zeros - 1e30, zeros, jnp.zeros((blocks.size, blocks.width), jnp.float32)
    highest, total, attended = blocks.over(blocks.first_of_others(start), over_keys, carry)
    blocks.store(out_ref, window, blocks.swapped(start), head, 0, attended / total[:, None])
    total_ref[window, head, blocks.span(start)] = highest + jnp.log(total)


def _backward_kernel(
    blocks: _Blocks,
    biased: bool,
    masked: bool,
    qkv_ref: Any,
    total_ref: Any,
    mean_ref: Any,
    dy_ref: Any,
    *refs: Any,
) -> None:
    *given, dqkv_ref = refs
    weights_of = _Weights(blocks, tuple(given), biased, masked)
    window, head, start = pl.program_id(0), pl.program_id(1), pl.program_id(2) * blocks.size
    zeros = jnp.zeros((blocks.size, blocks.width), jnp.float32)
    own_q, own_k, own_v = (blocks.load(qkv_ref, window, start, head, part) for part in range(3))
    others = blocks.first_of_others(start)

    def gradient(q: Array, k: Array, v: Array, dy: Array, queries: Array, keys: Array) -> tuple[Array, Array]:
        span = blocks.span(queries)
        logits = weights_of.logits(q, k, window, head, queries, keys)
        weights = jnp.exp(logits - total_ref[window, head, span][:, None])
        mean = mean_ref[window, head, blocks.span(blocks.swapped(queries))]
        return weights, weights * (blocks.times(dy, v.T) - mean[:, None])

    def over_queries(queries: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        dk, dv = carry
        q, dy = blocks.load(qkv_ref, window, queries, head, 0), load_dy(queries)
        weights, dlogits = gradient(q, own_k, own_v, dy, queries, start)
        dk += blocks.times(dlogits.astype(q.dtype).T, q) * blocks.heads.scale
        return dk, dv + blocks.times(weights.astype(dy.dtype).T, dy)

    def over_keys(keys: Array, dq: Array) -> Array:
        k, v = (blocks.load(qkv_ref, window, keys, head, part) for part in (1, 2))
        _, dlogits = gradient(own_q, k, v, own_dy, start, keys)
        return dq + blocks.times(dlogits.astype(k.dtype), k) * blocks.heads.scale

    def load_dy(queries: Array) -> Array:
        return blocks.load(dy_ref, window, blocks.swapped(queries), head, 0)

    dk, dv = blocks.over(others, over_queries, (zeros, zeros))
    own_dy = load_dy(start)
    dq = blocks.over(others, over_keys, zeros)
    for part, gradient_of_part in enumerate((dq, dk, dv)):
        blocks.store(dqkv_ref, window, start, head, part, gradient_of_part)


def _bias_kernel(
    blocks: _Blocks,
    windows: int,
    biased: bool,
    masked: bool,
    qkv_ref: Any,
    total_ref: Any,
    mean_ref: Any,
    dy_ref: Any,
    *refs: Any,
) -> None:
    *given, dbias_ref = refs
    weights_of = _Weights(blocks, tuple(given), biased, masked)
    part, head, pair = (pl.program_id(axis) for axis in range(3))
    per_axis = jnp.int32(blocks.tokens // blocks.size)
    queries, keys = lax.div(pair, per_axis) * blocks.size, lax.rem(pair, per_axis) * blocks.size
    span = blocks.span(queries)

    def over_windows(index: Array, dbias: Array) -> Array:
        window = part * windows + index.astype(jnp.int32)
        q = blocks.load(qkv_ref, window, queries, head, 0)
        k, v = (blocks.load(qkv_ref, window, keys, head, of) for of in (1, 2))
        dy = blocks.load(dy_ref, window, queries, head, 0)
        logits = weights_of.logits(q, k, window, head, queries, keys)
        weights = jnp.exp(logits - total_ref[window, head, span][:, None])
        return dbias + weights * (blocks.times(dy, v.T) - mean_ref[window, head, span][:, None])

    zeros = jnp.zeros((blocks.size, blocks.size), jnp.float32)
    dbias_ref[part, head, span, blocks.span(keys)] = lax.fori_loop(0, windows, over_windows, zeros)


def _given(bias: Array | None, regions: Array | None) -> list[Array]:
    return [x for x in (None if bias is None else bias.astype(jnp.float32), regions) if x is not None]


def _compiler_params(interpret: bool) -> Any:
    return None if interpret else plgpu.CompilerParams(num_warps=4, num_stages=2)
