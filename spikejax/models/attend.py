"""Softmax attention of many windows, in chunks that fit into the cache or the memory, forward and backward.

The backward pass computes the weights again from the saved logarithm of their sum (Dao et al., 2022), so that the
logits, by far the largest arrays of the network, are never stored. Logits and softmax are float32 at least.

Who calls whom, b clips of nw windows of n tokens, with heads of d features:

    attend(q, k, v [b, nw, heads, n, d], bias [heads, n, n], regions [nw, n])
      without gradients: _forward_alone, with them: _forward and _backward; each gives its `part` to
        _choose_schedule               which decides by the number of logits, b * nw * heads * n * n, and the platform
          CPU:           in_chunks     of neighbouring windows of every clip, of a list of all windows if those are few
          accelerators:  in_chunks     of nw: some windows of every clip, of all rows
    part(total, q, k, v, regions, ...) -> (total, results)
      total: of no window in particular (the gradient of the bias, else None), carried on from chunk to chunk
      results: of windows, [b, nw, ...]; the schedule joins them again
"""

import jax
import jax.numpy as jnp
from einops import rearrange, repeat
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float, Int

from spikejax.kernels.window_attention import SAVED_NAME
from spikejax.models.layers import accumulation_dtype
from spikejax.models.schedule import Part, count_chunks, in_chunks

MASKED = -100.0
# Numbers of regions in a window: each of its three axes is cut once at most.
MAX_REGIONS = 8
# Times below are CPU times, the least of 5 or more runs in turn, two busy cores, 6 heads of 16 features, as parts of
# the time with interleaved chunks of 2^20 logits and without blocks.
# On CPUs, with gradients: a few megabytes of logits stay in the cache, more would come from memory. 192 windows of 128
# tokens take 0.78 with 2^19 and 0.85 with 2^20. All at once, 3 to 6 million logits take 1.6 of the time in chunks.
_LOGITS_IN_CACHE = 2**19
# On CPUs, without gradients: XLA makes one kernel of a chunk, which keeps its logits in the cache by itself. Limits of
# 2^22 to 2^25 differ by less than 3%; this one bounds the memory (32 MiB) where the compiler does not do so.
_LOGITS_OF_KERNEL = 2**23
# The kernel's tiles are bad for more queries at a time: of 384 tokens, 64, 96, 128 and 192 of them take 0.88, 0.85,
# 0.81 and 0.79 (all 384 at once 1.16).
_QUERIES_OF_KERNEL = 192
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
    return _forward_alone(q, k, v, bias, regions)


def _forward_alone(q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None) -> Array:
    """What `attend` returns where nobody asks for gradients."""

    def part(total: None, q: Array, k: Array, v: Array, regions: Array | None) -> tuple[None, Array]:
        return total, _softmax_product(q, k, v, bias, regions)[0]

    def part_on_cpus(total: None, q: Array, k: Array, v: Array, regions: Array | None) -> tuple[None, Array]:
        return total, _in_one_kernel(q, k, v, bias, regions)

    arrays = q, k, v, _for_every_clip(regions, q)
    return _choose_schedule(part, None, *arrays, part_on_cpus=part_on_cpus, limit_on_cpus=_LOGITS_OF_KERNEL)[1]


def _in_one_kernel(q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None) -> Array:
    """The attention of a chunk of windows in the form of which XLA's library for CPUs makes one kernel.

    It does so as long as no axis has size 1, which would be dropped, and nothing but the result leaves the kernel.
    Blocks of queries are an axis of their own, along which keys and values are repeated.
    """
    clips, _, _, tokens, _ = q.shape
    sizes = range(_QUERIES_OF_KERNEL, _QUERIES_OF_KERNEL // 4, -1)
    queries = next((size for size in sizes if tokens % size == 0), tokens)
    blocks = 1 if tokens <= _QUERIES_OF_KERNEL else tokens // queries
    q, k = _with_mask(q, k, regions)
    q, k, v = (rearrange(x, "b w heads n d -> (b w) heads n d") for x in (q, k, v))
    if blocks > 1:
        q = rearrange(q, "w heads (blocks n) d -> w heads blocks n d", blocks=blocks)
        k, v = (repeat(x, "w heads n d -> w heads blocks n d", blocks=blocks) for x in (k, v))
        bias = None if bias is None else rearrange(bias, "heads (blocks n) m -> heads blocks n m", blocks=blocks)
    attended = _softmax_of_logits(q, k, v, bias)[0]
    if blocks > 1:
        attended = rearrange(attended, "w heads blocks n d -> w heads (blocks n) d")
    return rearrange(attended, "(b w) heads n d -> b w heads n d", b=clips)


def _forward(q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None) -> tuple[Array, Array]:
    """What `attend` returns, and the logarithm of the sum of the weights, [b, nw, heads, n]."""

    def part(total: None, q: Array, k: Array, v: Array, regions: Array | None) -> tuple[None, tuple[Array, Array]]:
        return total, _softmax_product(q, k, v, bias, regions)

    return _choose_schedule(part, None, q, k, v, _for_every_clip(regions, q))[1]


def _softmax_product(q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None) -> tuple[Array, Array]:
    """What `_forward` returns, of all these windows at once; `regions` are [b, nw, n]."""
    return _softmax_of_logits(*_with_mask(q, k, regions), v, bias)


def _softmax_of_logits(
    q: Float[Array, "*batch n f"], k: Float[Array, "*batch m f"], v: Float[Array, "*batch m d"], bias: Array | None
) -> tuple[Float[Array, "*batch n d"], Float[Array, "*batch n"]]:
    """softmax(q k + bias) v and the logarithm of the sum of the weights; `bias` has batch axes as far as it has any."""
    batch = q.ndim - 2
    logits = _product(q, k, batch + 1, batch + 1, accumulation_dtype(q.dtype))
    if bias is not None:
        logits = logits + bias.astype(logits.dtype).reshape((1,) * (logits.ndim - bias.ndim) + bias.shape)
    highest = logits.max(-1, keepdims=True)
    weights = jnp.exp(logits - highest)
    weight_sum = weights.sum(-1, keepdims=True)
    # The sum divides the result, not the weights: it has far fewer elements.
    attended = _product(weights.astype(v.dtype), v, batch + 1, batch, logits.dtype) / weight_sum
    return attended.astype(v.dtype), (highest + jnp.log(weight_sum))[..., 0]


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
    # products are over the last axis, which CPUs do fastest. The third makes the transpose of dq, which is small.
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
        masked_q, masked_k = _with_mask(q, k, regions)
        logits = _product(masked_k, masked_q, 4, 4, accumulate_dtype)
        if transposed_bias is not None:
            logits = logits + transposed_bias[None, None]
        # Of every query (the last axis): the saved logarithm normalises, and no maximum has to be looked for again.
        weights = jnp.exp(logits - log_total[..., None, :])
        dv = _product(weights.astype(v.dtype), dy, 4, 3, accumulate_dtype).astype(v.dtype)
        mean = (attended.astype(accumulate_dtype) * dy.astype(accumulate_dtype)).sum(-1)
        dlogits = weights * (_product(v, dy, 4, 4, accumulate_dtype) - mean[..., None, :])
        rounded = dlogits.astype(q.dtype)
        dk = _product(rounded, q, 4, 3, accumulate_dtype).astype(k.dtype)
        dq = _product(k, rounded, 3, 3, accumulate_dtype).swapaxes(3, 4).astype(q.dtype)
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


def _with_mask(q: Array, k: Array, regions: Array | None) -> tuple[Array, Array]:
    """Queries and keys [b, nw, heads, n, _] whose product has the mask added.

    A query brings -100 for its own region, a key 1 for every other one. On CPUs, to compare the regions of every pair
    of tokens takes several times as long as the product itself.
    """
    if regions is None:
        return q, k
    own = jax.nn.one_hot(regions, MAX_REGIONS, dtype=q.dtype)[:, :, None]
    of_all_heads = (*q.shape[:-1], MAX_REGIONS)
    q = jnp.concatenate([q, jnp.broadcast_to(own * MASKED, of_all_heads)], axis=-1)
    return q, jnp.concatenate([k, jnp.broadcast_to(1 - own, of_all_heads)], axis=-1)


def _product(a: Array, b: Array, axis_a: int, axis_b: int, dtype: jnp.dtype) -> Array:
    """The product of `a` and `b` over an axis of each, for every clip, window and head: all axes but the last two."""
    batch = tuple(range(a.ndim - 2))
    return lax.dot_general(a, b, (((axis_a,), (axis_b,)), (batch, batch)), preferred_element_type=dtype)


def _for_every_clip(regions: Array | None, q: Array) -> Array | None:
    """The regions of one clip's windows, [b, nw, n]."""
    return None if regions is None else jnp.broadcast_to(regions[None], (len(q), *regions.shape))


def _choose_schedule(
    part: Part,
    total: Array | None,
    q: Array,
    *others: Array | None,
    part_on_cpus: Part | None = None,
    limit_on_cpus: int = 0,
) -> tuple:
    """`part` of all windows: at once, or chunk by chunk where their logits would be too many.

    Args:
        part: what is done to a chunk.
        total: what the first chunk is given.
        q: queries, which say how many logits there are.
        others: arrays of windows, [b, nw, ...].
        part_on_cpus: the same in another form for CPUs.
        limit_on_cpus: of logits in a chunk; 0 = `_LOGITS_IN_CACHE`.
    """
    clips, windows, heads, tokens, _ = q.shape
    of_window = heads * tokens**2
    logits, limit = clips * windows * of_window, limit_on_cpus or _LOGITS_IN_CACHE

    def on_cpus(*arrays: Array | None) -> tuple:
        part_here = part_on_cpus or part
        chunks = count_chunks(logits, limit=limit, divides=windows)
        if logits <= chunks * limit or clips == 1:
            return in_chunks(part_here, total, arrays, chunks=chunks, interleaved=False)
        # Even one window of every clip has too many.
        chunks = count_chunks(logits, limit=limit, divides=clips * windows)
        one_list = jax.tree.map(lambda x: rearrange(x, "b w ... -> 1 (b w) ..."), arrays)
        last, results = in_chunks(part_here, total, one_list, chunks=chunks, interleaved=True)
        return last, jax.tree.map(lambda x: rearrange(x, "1 (b w) ... -> b w ...", b=clips), results)

    def on_accelerators(*arrays: Array | None) -> tuple:
        chunks = count_chunks(logits // clips, limit=_LOGITS_OF_CLIP, divides=windows)
        return in_chunks(part, total, arrays, chunks=chunks, interleaved=True)

    return lax.platform_dependent(q, *others, cpu=on_cpus, default=on_accelerators)
