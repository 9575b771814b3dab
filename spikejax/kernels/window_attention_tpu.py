"""Window attention for TPUs (Pallas, Mosaic). It computes what `spikejax.models.attend` defines.

The matrix unit multiplies 128 columns at a time, whatever part of them is zero. So no head is ever padded, cut out or
transposed: the queries of a head are all queries with the other heads' columns set to zero, and their product with all
keys is that head's logits. Masks are part of the same product. In the columns behind the heads a query has -100 for its
own region, or -1e9 for its own frame, and a key has 1 for every other region, or for its own frame.

Logits and all that has their shape are transposed, [keys, queries]: maxima and sums run down the columns, a number
for each query is a row, and all products are in the form that the unit takes.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from spikejax.kernels.cycles import cycles_of_windows, in_metadata
from spikejax.kernels.products import product
from spikejax.kernels.window_layout import Heads, largest_divisor

LANES = 128
# Columns of the masks: one for each region of a window (see `spikejax.models.attend`), or for the four that one frame
# can have and for the two frames.
_MASK_LANES = 8
_REGIONS_OF_FRAME = 4
_OTHER_REGION = -100.0
_OWN_FRAME = -1e9
_MAX_HEADS = 8  # rows of an array of one number for each head and query
# Tokens of the windows that one step of the grid works on: 4 windows of 320, 16 of 128. Twice as many need 15 MiB of
# the vector memory in the backward pass, half as many leave its copies less time.
_TOKENS_AT_ONCE = 2048
_MAX_TOKENS = 1024
_VMEM_BYTES = 64 * 2**20


def lanes_of(features: int) -> int:
    """The columns of queries, keys or values: the heads' and the masks', in whole registers."""
    return -(-(features + _MASK_LANES) // LANES) * LANES


def fits(*, tokens: int, heads: int, depth: int) -> bool:
    """Whether windows of so many tokens fill whole registers and the vector memory holds their logits."""
    return tokens % 16 == 0 and 32 <= tokens <= _MAX_TOKENS and heads <= _MAX_HEADS and lanes_of(heads * depth) <= 256


def add_masks(qkv: Array, regions: Array | None, heads: Heads) -> Array:
    """`qkv` with the masks' columns filled in, which XLA does while it writes the projection's result.

    Args:
        qkv: [b, nw, n, 3 lanes].
        regions: [nw, n] or None.
        heads: how the columns lie.
    """
    tokens = qkv.shape[2]
    if heads.masked or (regions is None and not heads.mutual):
        return qkv
    regions = jnp.zeros((1, tokens), jnp.int32) if regions is None else regions
    frame = lax.broadcasted_iota(jnp.int32, (1, tokens, 1), 1) // (tokens // 2)
    if heads.mutual:  # those of the first frame serve both
        regions = jnp.tile(regions[:, : tokens // 2], (1, 2))
    return qkv + masks(regions[..., None], frame, heads).astype(qkv.dtype)[None]


def masks(regions: Array, frames: Array, heads: Heads) -> Array:
    """What is added to the columns of queries, keys and values, float32: something behind the heads, zero elsewhere.

    Args:
        regions: of tokens, [..., 1], 0 to 7.
        frames: of the same in their window of two, if attention is mutual.
        heads: how the columns lie.
    """
    column = lax.broadcasted_iota(jnp.int32, (1,) * (regions.ndim - 1) + (3 * heads.lanes,), regions.ndim - 1)
    of_query, of_key = column - heads.features, column - heads.lanes - heads.features
    count = _MASK_LANES
    if heads.mutual:  # the bit for time is the same in all of them
        regions, count = lax.rem(regions, jnp.int32(_REGIONS_OF_FRAME)), _REGIONS_OF_FRAME
    query = jnp.where(of_query == regions, _OTHER_REGION, 0.0)
    key = jnp.where((of_key >= 0) & (of_key < count) & (of_key != regions), 1.0, 0.0)
    if heads.mutual:
        own = _REGIONS_OF_FRAME + frames
        query = jnp.where(of_query == own, _OWN_FRAME, query)
        key = jnp.where(of_key == own, 1.0, key)
    return query + key


def forward(
    qkv: Array, bias: Array | None, regions: Array | None, heads: Heads, *, interpret: bool = False
) -> tuple[Array, Array]:
    """The attention's result [w, n, lanes], and the logarithm of the sums of the weights, [w, 8, n].

    Args:
        qkv: of w windows, [w, n, 3 lanes], with masks.
        bias: [heads, queries, keys] or None.
        regions: not used, since they are in the masks.
        heads: how the columns lie.
        interpret: without a TPU.
    """
    windows, tokens, _ = qkv.shape
    at_once = _windows_at_once(windows, tokens)
    of_windows = partial(_of_windows, at_once, tokens)
    return pl.pallas_call(
        partial(_forward_kernel, heads, bias is not None, interpret),
        grid=(windows // at_once,),
        in_specs=[of_windows(3 * heads.lanes), *_bias_specs(bias)],
        out_specs=[of_windows(heads.lanes), _totals_spec(at_once, tokens)],
        out_shape=[
            jax.ShapeDtypeStruct((windows, tokens, heads.lanes), qkv.dtype),
            jax.ShapeDtypeStruct((windows, _MAX_HEADS, tokens), jnp.float32),
        ],
        scratch_shapes=[pltpu.VMEM((heads.lanes, tokens), jnp.float32)],
        compiler_params=_compiler_params(),
        interpret=interpret,
        name="window_attention",
        metadata=in_metadata(cycles_of_windows(windows, tokens, heads.count, gradient=False)),
    )(qkv, *_given(bias))


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
    """The gradients of `qkv` (zero for the masks) and of the bias, summed over windows."""
    windows, tokens, _ = qkv.shape
    at_once = _windows_at_once(windows, tokens)
    of_windows = partial(_of_windows, at_once, tokens)
    bias_shapes = [] if bias is None else [jax.ShapeDtypeStruct(bias.shape, jnp.float32)]
    dqkv, *dbias = pl.pallas_call(
        partial(_backward_kernel, heads, bias is not None, interpret),
        grid=(windows // at_once,),
        in_specs=[
            of_windows(3 * heads.lanes),
            of_windows(heads.lanes),
            _totals_spec(at_once, tokens),
            of_windows(heads.lanes),
            *_bias_specs(bias),
        ],
        out_specs=[of_windows(3 * heads.lanes), *_bias_specs(bias)],
        out_shape=[jax.ShapeDtypeStruct(qkv.shape, qkv.dtype), *bias_shapes],
        scratch_shapes=[pltpu.VMEM((heads.lanes, tokens), jnp.float32)],
        compiler_params=_compiler_params(),
        interpret=interpret,
        name="window_attention_gradient",
        metadata=in_metadata(cycles_of_windows(windows, tokens, heads.count, gradient=True)),
    )(qkv, attended, log_total, dy, *_given(bias))
    return dqkv, dbias[0].swapaxes(1, 2) if dbias else None


def _windows_at_once(windows: int, tokens: int) -> int:
    return largest_divisor(windows, max(_TOKENS_AT_ONCE // tokens, 1))


def _of_windows(at_once: int, tokens: int, columns: int) -> pl.BlockSpec:
    return pl.BlockSpec((at_once, tokens, columns), lambda step: (step, 0, 0))


def _totals_spec(at_once: int, tokens: int) -> pl.BlockSpec:
    return pl.BlockSpec((at_once, _MAX_HEADS, tokens), lambda step: (step, 0, 0))


def _bias_specs(bias: Array | None) -> list[pl.BlockSpec]:
    # One block for the whole grid: fetched once, and where it is added up, written once.
    return [] if bias is None else [pl.BlockSpec(bias.shape, lambda step: (0, 0, 0))]


def _given(bias: Array | None) -> list[Array]:
    return [] if bias is None else [bias.astype(jnp.float32).swapaxes(1, 2)]


def _compiler_params() -> Any:
    return pltpu.CompilerParams(dimension_semantics=("arbitrary",), vmem_limit_bytes=_VMEM_BYTES)


def _own_lanes(heads: Heads, head: int) -> Array:
    lane = lax.broadcasted_iota(jnp.int32, (1, heads.lanes), 1)
    return (lane >= head * heads.depth) & (lane < (head + 1) * heads.depth)


def _query_of(q: Array, heads: Heads, head: int, dtype: jnp.dtype) -> Array:
    """The queries of one head, scaled; the other heads' columns are zero, the masks' are kept."""
    lane = lax.broadcasted_iota(jnp.int32, (1, heads.lanes), 1)
    factor = jnp.where(_own_lanes(heads, head), heads.scale, jnp.where(lane >= heads.features, 1.0, 0.0))
    return (q * factor).astype(dtype)


def _swapped(x: Array, heads: Heads) -> Array:
    """The two frames of a window exchanged, where each is asked by the other one's queries."""
    half = len(x) // 2
    return jnp.concatenate([x[half:], x[:half]], axis=0) if heads.mutual else x


def _forward_kernel(heads: Heads, biased: bool, interpret: bool, qkv_ref: Any, *refs: Any) -> None:
    times = partial(product, interpret=interpret)
    bias_ref = refs[0] if biased else None
    out_ref, total_ref, turned_ref = refs[biased:]
    lanes, depth = heads.lanes, heads.depth
    dtype = qkv_ref.dtype
    turned_ref[...] = jnp.zeros_like(turned_ref)

    def window(index: Array, carry: None) -> None:
        q = qkv_ref[index, :, :lanes].astype(jnp.float32)
        k = qkv_ref[index, :, lanes : 2 * lanes]
        v_turned = qkv_ref[index, :, 2 * lanes :].T
        for head in range(heads.count):
            rows = slice(head * depth, (head + 1) * depth)
            logits = times(k, _query_of(q, heads, head, dtype), 1, 1)  # [keys, queries]
            if bias_ref is not None:
                logits = logits + bias_ref[head]
            highest = logits.max(0, keepdims=True)
            weights = jnp.exp(logits - highest)
            weight_sum = weights.sum(0, keepdims=True)
            turned_ref[rows, :] = times(v_turned[rows], weights.astype(dtype), 1, 0) / weight_sum
            total_ref[index, head : head + 1, :] = highest + jnp.log(weight_sum)
        out_ref[index] = _swapped(turned_ref[...].T.astype(dtype), heads)

    lax.fori_loop(0, len(qkv_ref), window, None)


def _backward_kernel(
    heads: Heads,
    biased: bool,
    interpret: bool,
    qkv_ref: Any,
    attended_ref: Any,
    total_ref: Any,
    dy_ref: Any,
    *refs: Any,
) -> None:
    times = partial(product, interpret=interpret)
    bias_ref = refs[0] if biased else None
    dqkv_ref, *dbias_refs, turned_ref = refs[biased:]
    lanes, depth, tokens = heads.lanes, heads.depth, qkv_ref.shape[1]
    dtype = qkv_ref.dtype
    turned_ref[...] = jnp.zeros_like(turned_ref)
    for dbias_ref in dbias_refs:

        @pl.when(pl.program_id(0) == 0)
        def _(dbias_ref: Any = dbias_ref) -> None:
            dbias_ref[...] = jnp.zeros_like(dbias_ref)

    is_feature = lax.broadcasted_iota(jnp.int32, (1, lanes), 1) < heads.features

    def window(index: Array, carry: None) -> None:
        q = qkv_ref[index, :, :lanes].astype(jnp.float32)
        k, v = qkv_ref[index, :, lanes : 2 * lanes], qkv_ref[index, :, 2 * lanes :]
        k_turned = k.T
        dy = _swapped(dy_ref[index], heads).astype(jnp.float32)
        mean = _sum_by_head(dy * _swapped(attended_ref[index], heads).astype(jnp.float32), heads)
        dk = jnp.zeros((tokens, lanes), jnp.float32)
        dv = jnp.zeros((tokens, lanes), jnp.float32)
        for head in range(heads.count):
            rows = slice(head * depth, (head + 1) * depth)
            query = _query_of(q, heads, head, dtype)
            dy_of_head = jnp.where(_own_lanes(heads, head), dy, 0.0).astype(dtype)
            logits = times(k, query, 1, 1)
            if bias_ref is not None:
                logits = logits + bias_ref[head]
            weights = jnp.exp(logits - total_ref[index, head : head + 1, :])
            dlogits = weights * (times(v, dy_of_head, 1, 1) - mean[head : head + 1, :])
            for dbias_ref in dbias_refs:
                dbias_ref[head] += dlogits
            dv += times(weights.astype(dtype), dy_of_head, 1, 0)
            rounded = dlogits.astype(dtype)
            dk += times(rounded, query, 1, 0)
            turned_ref[rows, :] = times(k_turned[rows], rounded, 1, 0) * heads.scale
        dqkv_ref[index, :, :lanes] = turned_ref[...].T.astype(dtype)
        dqkv_ref[index, :, lanes : 2 * lanes] = jnp.where(is_feature, dk, 0.0).astype(dtype)
        dqkv_ref[index, :, 2 * lanes :] = dv.astype(dtype)

    lax.fori_loop(0, len(qkv_ref), window, None)


def _sum_by_head(x: Array, heads: Heads) -> Array:
    """The sums of `x` [n, lanes] over the columns of each head, [8, n]: a product with ones."""
    head = lax.broadcasted_iota(jnp.int32, (_MAX_HEADS, heads.lanes), 0)
    lane = lax.broadcasted_iota(jnp.int32, (_MAX_HEADS, heads.lanes), 1)
    first = head * heads.depth
    own = (lane >= first) & (lane < first + heads.depth) & (lane < heads.features)
    dimensions = (((1,), (1,)), ((), ()))
    return lax.dot_general(
        own.astype(jnp.float32), x, dimensions, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32
    )
