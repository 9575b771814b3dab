"""Softmax attention of many windows, in chunks that fit into the cache or the memory, forward and backward.

The backward pass computes the weights again from the saved logarithm of their sum (Dao et al., 2022), so that the
logits, by far the largest arrays of the network, are never stored. Logits and softmax are float32 at least.

Who calls whom, b clips of nw windows of n tokens, with heads of d features:

    attend(q, k, v [b, nw, heads, n, d], bias [heads, n, n], regions [nw, n])
      _forward, _backward              each gives its `part` to
        _choose_schedule               which decides by the number of logits, b * nw * heads * n * n, and the platform
          few:           part          all windows at once
          CPU:           in_chunks     of the b * nw windows of all clips, a few at a time
          accelerators:  in_chunks     of nw: some windows of every clip, of all rows
    part(total, q, k, v, regions, ...) -> (total, results)
      total: of no window in particular (the gradient of the bias, else None), carried on from chunk to chunk
      results: of windows, [b, nw, ...]; the schedule joins them again
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float, Int

from spikejax.kernels.window_attention import SAVED_NAME
from spikejax.models.layers import accumulation_dtype
from spikejax.models.schedule import Part, count_chunks, in_chunks

MASKED = -100.0
# Numbers of regions in a window: each of its three axes is cut once at most.
MAX_REGIONS = 8
# Times below are CPU times of forward and backward, medians of 7 to 9 runs in turn, two busy cores, windows of 128
# tokens with 6 heads.
# So few logits (32 MiB) are computed without a loop. That is no gain of speed on CPUs: 3 to 6 million logits take 0.6
# of the time in chunks, 1.5 million 0.94.
_LOGITS_AT_ONCE = 2**23
# On CPUs a few megabytes of logits stay in the cache; more would come from memory. With limits of 2^18, 2^19, 2^21 and
# 2^22, 19 million logits take 1.02, 0.94, 1.13 and 1.26 of the time; all at once they take 1.6.
_LOGITS_IN_CACHE = 2**20
# On accelerators: of a clip, 128 MiB. A bound on memory, whose speed has not been measured.
_LOGITS_OF_CLIP = 2**25


@jax.custom_vjp
def attend(
    q: Float[Array, "b nw heads n d"],
    k: Float[Array, "b nw heads n d"],
    v: Float[Array, "b nw heads n d"],
    bias: Float[Array, "heads n n"] | None,
    regions: Int[Array, "nw n"] | None,
) -> Float[Array, "b nw heads n d"]:
    """softmax(q k + bias + mask) v in every window; q is scaled already.

    Args:
        q: queries.
        k: keys.
        v: values.
        bias: added to the logits of every window.
        regions: of each token of a clip's windows, 0 to `MAX_REGIONS` - 1. Tokens of different regions do not see each
            other (a mask of -100).
    """
    return _forward(q, k, v, bias, regions)[0]


def _forward(q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None) -> tuple[Array, Array]:
    """What `attend` returns, and the logarithm of the sum of the weights, [b, nw, heads, n]."""

    def part(total: None, q: Array, k: Array, v: Array, regions: Array | None) -> tuple[None, tuple[Array, Array]]:
        logits = _masked_product(q, k, regions)
        if bias is not None:
            logits = logits + bias.astype(logits.dtype)[None, None]
        highest = logits.max(-1, keepdims=True)
        weights = jnp.exp(logits - highest)
        weight_sum = weights.sum(-1, keepdims=True)
        # The sum divides the result, not the weights: it has far fewer elements.
        attended = _product(weights.astype(v.dtype), v, 4, 3, logits.dtype) / weight_sum
        return total, (attended.astype(v.dtype), (highest + jnp.log(weight_sum))[..., 0])

    return _choose_schedule(part, None, q, k, v, _for_every_clip(regions, q))[1]


def _backward(saved: tuple, dy: Array) -> tuple[Array, Array, Array, Array | None, None]:
    """The gradients of q, k, v and the bias, of that of the result, `dy`.

    With weights w = softmax(l), of logits l = q k + bias + mask, and result y = w v, for every query i and key j:

        dv_j = sum_i w_ij dy_i                      dw_ij = v_j dy_i
        dl_ij = w_ij (dw_ij - y_i dy_i)             (y_i dy_i is the mean of dw_i by the weights)
        dq_i = sum_j dl_ij k_j                      dk_j = sum_i dl_ij q_i
        dbias_ij = the sum of dl_ij over windows
    """
    q, k, v, bias, regions, attended, log_total = saved
    accumulate_dtype = log_total.dtype
    # Logits and all that has their shape are transposed here, [b, nw, heads, key, query]: then two of the three
    # products are over the last axis, which CPUs do fastest.
    transposed_bias = None if bias is None else bias.astype(accumulate_dtype).swapaxes(1, 2)

    def part(
        dbias: Array | None,
        q: Array,
        k: Array,
        v: Array,
        regions: Array | None,
        attended: Array,
        log_total: Array,
        dy: Array,
    ) -> tuple[Array | None, tuple[Array, Array, Array]]:
        logits = _masked_product(q, k, regions, transposed=True)
        if transposed_bias is not None:
            logits = logits + transposed_bias[None, None]
        # Of every query (the last axis): the saved logarithm normalises, and no maximum has to be looked for again.
        weights = jnp.exp(logits - log_total[..., None, :])
        dv = _product(weights.astype(v.dtype), dy, 4, 3, accumulate_dtype).astype(v.dtype)
        mean = (attended.astype(accumulate_dtype) * dy.astype(accumulate_dtype)).sum(-1)
        dlogits = weights * (_product(v, dy, 4, 4, accumulate_dtype) - mean[..., None, :])
        rounded = dlogits.astype(q.dtype)
        dk = _product(rounded, q, 4, 3, accumulate_dtype).astype(k.dtype)
        dq = _product(rounded, k, 3, 3, accumulate_dtype).astype(q.dtype)
        if dbias is not None:
            # A product with ones: as a plain sum, XLA on CPUs computes all of the above again for it, column by column
            # (3.4 s of a training step).
            clips, windows = dlogits.shape[:2]
            ones = jnp.ones((1, clips * windows), accumulate_dtype)
            dbias = dbias + (ones @ dlogits.reshape(clips * windows, -1)).reshape(dbias.shape)
        return dbias, (dq, dk, dv)

    zeros = None if transposed_bias is None else jnp.zeros_like(transposed_bias)
    arrays = (k, v, _for_every_clip(regions, q), attended, log_total, dy)
    dbias, (dq, dk, dv) = _choose_schedule(part, zeros, q, *arrays)
    return dq, dk, dv, None if bias is None else dbias.swapaxes(1, 2).astype(bias.dtype), None


def _forward_and_save(
    q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None
) -> tuple[Array, tuple[Array | None, ...]]:
    attended, log_total = (checkpoint_name(x, SAVED_NAME) for x in _forward(q, k, v, bias, regions))
    return attended, (q, k, v, bias, regions, attended, log_total)


attend.defvjp(_forward_and_save, _backward)


def _masked_product(q: Array, k: Array, regions: Array | None, *, transposed: bool = False) -> Array:
    """The product q k plus the mask, [b, nw, heads, query, key] or, transposed, [b, nw, heads, key, query].

    The mask is part of the product: a query brings -100 for its own region, a key 1 for every other one. On CPUs, to
    compare the regions of every pair of tokens takes several times as long as the product itself.
    """
    if regions is not None:
        own = jax.nn.one_hot(regions, MAX_REGIONS, dtype=q.dtype)[:, :, None]
        of_all_heads = (*q.shape[:-1], MAX_REGIONS)
        q = jnp.concatenate([q, jnp.broadcast_to(own * MASKED, of_all_heads)], axis=-1)
        k = jnp.concatenate([k, jnp.broadcast_to(1 - own, of_all_heads)], axis=-1)
    first, second = (k, q) if transposed else (q, k)
    return _product(first, second, 4, 4, accumulation_dtype(q.dtype))


def _product(a: Array, b: Array, axis_a: int, axis_b: int, dtype: jnp.dtype) -> Array:
    """The product of `a` and `b` over an axis of each, for every clip, window and head."""
    return lax.dot_general(a, b, (((axis_a,), (axis_b,)), ((0, 1, 2), (0, 1, 2))), preferred_element_type=dtype)


def _for_every_clip(regions: Array | None, q: Array) -> Array | None:
    """The regions of one clip's windows, [b, nw, n]."""
    return None if regions is None else jnp.broadcast_to(regions[None], (len(q), *regions.shape))


def _choose_schedule(part: Part, total: Array | None, q: Array, *others: Array | None) -> tuple:
    """`part` of all windows: at once, or chunk by chunk where their logits would be too many."""
    clips, windows, heads, tokens, _ = q.shape
    logits = clips * windows * heads * tokens**2

    def on_cpus(*arrays: Array | None) -> tuple:
        chunks = count_chunks(logits, limit=_LOGITS_IN_CACHE, divides=clips * windows)
        one_list = jax.tree.map(lambda x: rearrange(x, "b w ... -> 1 (b w) ..."), arrays)
        last, results = in_chunks(part, total, one_list, chunks=chunks, interleaved=True)
        return last, jax.tree.map(lambda x: rearrange(x, "1 (b w) ... -> b w ...", b=clips), results)

    def on_accelerators(*arrays: Array | None) -> tuple:
        chunks = count_chunks(logits // clips, limit=_LOGITS_OF_CLIP, divides=windows)
        return in_chunks(part, total, arrays, chunks=chunks, interleaved=True)

    if logits <= _LOGITS_AT_ONCE:
        return part(total, q, *others)
    return lax.platform_dependent(q, *others, cpu=on_cpus, default=on_accelerators)
