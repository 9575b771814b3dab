"""Softmax attention of many windows, in parts that fit into the cache or the memory, forward and backward.

The backward pass computes the weights again from the saved logarithm of their sum (Dao et al., 2022), so that the
logits, by far the largest arrays of the network, are never stored. Logits and softmax are float32 at least.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float, Int

from spikejax.models.layers import accumulation_dtype, count_parts

MASKED = -100.0
# Numbers of regions in a window: each of its three axes is cut once at most.
MAX_REGIONS = 8
# The name under which rematerialisation may keep what attention returns.
SAVED_NAME = "attended"
# Logits of a clip held at once. On CPUs a few megabytes of them, of all clips, stay in the cache; more would come from
# memory.
_LOGITS_AT_ONCE = 2**25
_LOGITS_AT_ONCE_CPU = 2**23
_LOGITS_IN_CACHE = 2**20


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def attend(
    q: Float[Array, "nw heads n d"],
    k: Float[Array, "nw heads n d"],
    v: Float[Array, "nw heads n d"],
    bias: Float[Array, "heads n n"] | None,
    regions: Int[Array, "nr n"] | None,
    clips: int = 1,
) -> Float[Array, "nw heads n d"]:
    """softmax(q k + bias + mask) v in every window; q is scaled already.

    Args:
        q: queries.
        k: keys.
        v: values.
        bias: added to the logits of every window.
        regions: of each token, 0 to `MAX_REGIONS` - 1; `nr` divides `nw`. Tokens of different regions do not see each
            other (a mask of -100).
        clips: how many clips the windows are of, one clip's windows after the other's. Devices may share them.
    """
    return _forward(q, k, v, bias, regions, clips)[0]


def _forward(
    q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None, clips: int
) -> tuple[Array, Array]:
    """What `attend` returns, and the logarithm of the sum of the weights, [nw, heads, n]."""

    def part(q: Array, k: Array, v: Array, regions: Array | None) -> tuple[tuple[Array, Array], None]:
        logits = _masked_product(q, k, regions)
        if bias is not None:
            logits = logits + bias.astype(logits.dtype)[None]
        highest = logits.max(-1, keepdims=True)
        weights = jnp.exp(logits - highest)
        total = weights.sum(-1, keepdims=True)
        # The sum divides the result, not the weights: it has far fewer elements.
        attended = _batched(weights.astype(v.dtype), v, 3, 2, logits.dtype) / total
        return (attended.astype(v.dtype), (highest + jnp.log(total))[..., 0]), None

    return _in_parts(part, clips, q, k, v, _of_windows(regions, q))[0]


def _backward(clips: int, saved: tuple, dy: Array) -> tuple[Array, Array, Array, Array | None, None]:
    q, k, v, bias, regions, attended, log_total = saved
    wide = log_total.dtype
    # Everything is turned, [nw, heads, key, query]: then two of the three products are over the last axis, which CPUs
    # do fastest.
    turned_bias = None if bias is None else bias.astype(wide).swapaxes(1, 2)[None]

    def part(
        q: Array, k: Array, v: Array, regions: Array | None, attended: Array, log_total: Array, dy: Array
    ) -> tuple[tuple[Array, Array, Array], Array | None]:
        logits = _masked_product(q, k, regions, turned=True)
        if turned_bias is not None:
            logits = logits + turned_bias
        weights = jnp.exp(logits - log_total[:, :, None])
        dv = _batched(weights.astype(v.dtype), dy, 3, 2, wide).astype(v.dtype)
        mean = (attended.astype(wide) * dy.astype(wide)).sum(-1)
        dlogits = weights * (_batched(v, dy, 3, 3, wide) - mean[:, :, None])
        short = dlogits.astype(q.dtype)
        dk = _batched(short, q, 3, 2, wide).astype(k.dtype)
        dq = _batched(short, k, 2, 2, wide).astype(q.dtype)
        if bias is None:
            return (dq, dk, dv), None
        # A product with ones: as a plain sum, XLA on CPUs computes all of the above again for it, column by column.
        windows, heads, tokens, _ = dlogits.shape
        dbias = jnp.ones((1, windows), wide) @ dlogits.reshape(windows, -1)
        return (dq, dk, dv), dbias.reshape(heads, tokens, tokens)

    inputs = (k, v, _of_windows(regions, q), attended, log_total, dy)
    (dq, dk, dv), dbias = _in_parts(part, clips, q, *inputs)
    return dq, dk, dv, None if bias is None else dbias.swapaxes(1, 2).astype(bias.dtype), None


def _forward_and_save(
    q: Array, k: Array, v: Array, bias: Array | None, regions: Array | None, clips: int
) -> tuple[Array, tuple]:
    attended, log_total = (checkpoint_name(x, SAVED_NAME) for x in _forward(q, k, v, bias, regions, clips))
    return attended, (q, k, v, bias, regions, attended, log_total)


attend.defvjp(_forward_and_save, _backward)


def _masked_product(q: Array, k: Array, regions: Array | None, *, turned: bool = False) -> Array:
    """The product q k plus the mask, [nw, heads, query, key] or, turned, [nw, heads, key, query].

    The mask is part of the product: a query brings -100 for its own region, a key 1 for every other one. On CPUs, to
    compare the regions of every pair of tokens takes several times as long as the product itself.
    """
    if regions is not None:
        own = jax.nn.one_hot(regions, MAX_REGIONS, dtype=q.dtype)[:, None]
        of_all_heads = (*q.shape[:3], MAX_REGIONS)
        q = jnp.concatenate([q, jnp.broadcast_to(own * MASKED, of_all_heads)], axis=-1)
        k = jnp.concatenate([k, jnp.broadcast_to(1 - own, of_all_heads)], axis=-1)
    return (
        _batched(k, q, 3, 3, accumulation_dtype(q.dtype))
        if turned
        else _batched(q, k, 3, 3, accumulation_dtype(q.dtype))
    )


def _batched(a: Array, b: Array, axis_a: int, axis_b: int, dtype: jnp.dtype) -> Array:
    """The product of `a` and `b` over an axis of each, for every window and head."""
    return lax.dot_general(a, b, (((axis_a,), (axis_b,)), ((0, 1), (0, 1))), preferred_element_type=dtype)


def _of_windows(regions: Array | None, q: Array) -> Array | None:
    """The regions of one clip's windows, repeated for every clip."""
    return None if regions is None else jnp.tile(regions, (q.shape[0] // regions.shape[0], 1))


def _in_parts(part: Callable[..., tuple], clips: int, q: Array, *others: Array | None) -> tuple:
    """`part` of all windows at once, or of equal parts of them in turn where their logits would be too many.

    It returns arrays of windows, which are joined, and arrays of no window in particular, which are added up.
    """
    count, heads, tokens, _ = q.shape
    logits = count * heads * tokens * tokens

    def one_after_the_other(most: int, clips: int, *arrays: Array | None) -> tuple:
        # Each part has windows of every clip and of all rows: were they taken in turn, devices that share them would
        # wait for each other, and hold each other's.
        parts = count_parts(logits // clips, most=most, of=count // clips)
        if parts == 1:
            return part(*arrays)
        cut = jax.tree.map(
            lambda x: rearrange(x, "(clips w parts) ... -> parts (clips w) ...", clips=clips, parts=parts), arrays
        )
        first = jax.tree.map(lambda x: x[0], cut)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, *first)[1])

        def step(total: Array | None, arrays: tuple) -> tuple[Array | None, Any]:
            of_windows, of_all = part(*arrays)
            return jax.tree.map(jnp.add, total, of_all), of_windows

        total, stacked = lax.scan(step, nothing, cut)
        joined = jax.tree.map(
            lambda x: rearrange(x, "parts (clips w) ... -> (clips w parts) ...", clips=clips), stacked
        )
        return joined, total

    if logits <= _LOGITS_AT_ONCE_CPU:
        return part(q, *others)
    return lax.platform_dependent(
        q,
        *others,
        cpu=partial(one_after_the_other, _LOGITS_IN_CACHE, 1),
        default=partial(one_after_the_other, _LOGITS_AT_ONCE, clips),
    )
