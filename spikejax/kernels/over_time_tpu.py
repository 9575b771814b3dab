"""Attention over time for TPUs (Pallas, Mosaic). It computes what `spikejax.models.temporal` defines.

A block has all frames of some pixels, [t, pixels, features]. For a pair of frames the logits of all heads are the
product of queries times keys, element by element, with a matrix of ones and zeros that sums over each head's features;
its transpose brings the weights back to the features. So heads are never brought apart.

The backward pass differentiates the same function inside its kernel, and adds the parameters' gradients up over the
grid.
"""

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl

from spikejax.kernels.cycles import cycles_of_sequences, in_metadata
from spikejax.kernels.layer_math import gelu
from spikejax.kernels.layers_tpu import as_matrices, compiler_params, normed, times, whole, zero_at_first
from spikejax.kernels.over_time_layout import OverTime
from spikejax.kernels.window_layout import largest_divisor

_PIXELS = 128  # of a block


def forward(clips: tuple[Array, ...], parameters: tuple[Array, ...], what: OverTime, *, interpret: bool) -> Array:
    """The result [b, t, h, w, c]; see `spikejax.kernels.over_time.over_time`."""
    lists, parameters = _as_lists(clips), as_matrices(parameters)
    grid, of_pixels = _blocks(lists[0])

    def kernel(*refs: Any) -> None:
        *inputs, out_ref = refs
        values = [ref[...] for ref in inputs]
        blocks, matrices = values[: len(lists)], values[len(lists) :]
        function = partial(_sequences, what, interpret)
        out_ref[0] = function(tuple(block[0] for block in blocks), tuple(matrices))

    result = pl.pallas_call(
        kernel,
        grid=grid,
        in_specs=[*(of_pixels for _ in lists), *map(whole, parameters)],
        out_specs=of_pixels,
        out_shape=jax.ShapeDtypeStruct(lists[0].shape, lists[0].dtype),
        compiler_params=compiler_params(2),
        interpret=interpret,
        name="attention_over_time",
        metadata=in_metadata(cycles_of_sequences(prod(grid), len(lists[0][0]), asks=what.asks, gradient=False)),
    )(*lists, *parameters)
    return result.reshape(clips[0].shape)


def backward(
    clips: tuple[Array, ...], parameters: tuple[Array, ...], dy: Array, what: OverTime, *, interpret: bool
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The gradients of clips and parameters, these float32."""
    lists, matrices = _as_lists(clips), as_matrices(parameters)
    (dy_list,) = _as_lists((dy,))
    grid, of_pixels = _blocks(lists[0])
    count = len(lists)

    def kernel(*refs: Any) -> None:
        dy_ref, *inputs = refs[: 1 + count + len(matrices)]
        outputs = refs[1 + count + len(matrices) :]
        blocks = tuple(ref[0] for ref in inputs[:count])

        zero_at_first(outputs[count:], 2)
        function: Any = partial(_sequences, what, interpret)
        _, pull = jax.vjp(function, blocks, tuple(ref[...] for ref in inputs[count:]))
        dblocks, dmatrices = pull(dy_ref[0])
        for ref, gradient in zip(outputs[:count], dblocks, strict=True):
            ref[0] = gradient
        for ref, gradient in zip(outputs[count:], dmatrices, strict=True):
            ref[...] += gradient

    gradients = pl.pallas_call(
        kernel,
        grid=grid,
        in_specs=[of_pixels, *(of_pixels for _ in lists), *map(whole, matrices)],
        out_specs=[*(of_pixels for _ in lists), *map(whole, matrices)],
        out_shape=[
            *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in lists),
            *(jax.ShapeDtypeStruct(x.shape, jnp.float32) for x in matrices),
        ],
        compiler_params=compiler_params(2),
        interpret=interpret,
        name="attention_over_time_gradient",
        metadata=in_metadata(cycles_of_sequences(prod(grid), len(lists[0][0]), asks=what.asks, gradient=True)),
    )(dy_list, *lists, *matrices)
    dclips = tuple(x.reshape(clip.shape) for x, clip in zip(gradients[:count], clips, strict=True))
    return dclips, tuple(x.reshape(p.shape) for x, p in zip(gradients[count:], parameters, strict=True))


def _as_lists(clips: tuple[Array, ...]) -> tuple[Array, ...]:
    """[b, t, pixels, c]."""
    return tuple(clip.reshape(*clip.shape[:2], -1, clip.shape[-1]) for clip in clips)


def _blocks(x: Array) -> tuple[tuple[int, int], pl.BlockSpec]:
    """The grid, and a block of pixels."""
    clips, frames, pixels, features = x.shape
    size = 16 * largest_divisor(pixels // 16, _PIXELS // 16)
    of_pixels = pl.BlockSpec((1, frames, size, features), lambda clip, block: (clip, 0, block, 0))
    return (clips, pixels // size), of_pixels


def _sequences(what: OverTime, interpret: bool, clips: tuple[Array, ...], parameters: tuple[Array, ...]) -> Array:
    """The result of a block, [t, pixels, c]."""
    frames, pixels, features = clips[0].shape
    dtype = clips[0].dtype
    left = iter(parameters)

    def norm(x: Array) -> Array:
        return normed(x, next(left), next(left))

    def linear(x: Array) -> Array:
        return (times(x, next(left), interpret=interpret) + next(left)).astype(dtype)

    x, *others = (clip.reshape(frames * pixels, features) for clip in clips)
    query = norm(x)
    asked = norm(others[0]) if others else query
    q, k, v = (
        projected.astype(jnp.float32).reshape(frames, pixels, features)
        for projected in (linear(query), linear(asked), linear(asked))
    )
    attended = _attend(what, interpret, q, k, v, dtype).reshape(frames * pixels, features)
    attended = linear(attended)
    x = (x if what.residual else query) + attended
    hidden = linear(norm(x))
    y = x + linear(gelu(hidden.astype(jnp.float32)).astype(dtype))
    return y.reshape(clips[0].shape)


def _attend(what: OverTime, interpret: bool, q: Array, k: Array, v: Array, dtype: jnp.dtype) -> Array:
    frames, _, features = q.shape
    queries, keys, values = _split_frames(q), _split_frames(k), _split_frames(v)
    depth = features // what.heads
    lane = lax.broadcasted_iota(jnp.int32, (features, what.heads), 0)
    head = lax.broadcasted_iota(jnp.int32, (features, what.heads), 1)
    of_head = ((lane >= head * depth) & (lane < (head + 1) * depth)).astype(jnp.float32)
    results = []
    for frame in range(frames):
        logits = [
            times(queries[frame] * keys[other], of_head, exact=True, interpret=interpret) * depth**-0.5
            for other in range(frames)
        ]
        highest = lax.stop_gradient(_fold(jnp.maximum, logits))
        weights = [jnp.exp(x - highest) for x in logits]
        total = _fold(jnp.add, weights)
        # Rounded as the plain form's weights are.
        weights = [times((x / total).astype(dtype), of_head.T, interpret=interpret) for x in weights]
        results.append(_fold(jnp.add, [weight * values[other] for other, weight in enumerate(weights)]))
    return _join_frames(tuple(results)).astype(dtype)


# Each is the other's derivative; JAX's own would pad arrays with zeros and add them.
@jax.custom_vjp
def _split_frames(x: Array) -> tuple[Array, ...]:
    return tuple(x[frame] for frame in range(len(x)))


@jax.custom_vjp
def _join_frames(frames: tuple[Array, ...]) -> Array:
    return jnp.concatenate([frame[None] for frame in frames])


_split_frames.defvjp(lambda x: (_split_frames(x), None), lambda _, dy: (_join_frames(tuple(dy)),))
_join_frames.defvjp(lambda x: (_join_frames(x), None), lambda _, dy: (_split_frames(dy),))


def _fold(function: Callable[[Array, Array], Array], arrays: list[Array]) -> Array:
    total = arrays[0]
    for array in arrays[1:]:
        total = function(total, array)
    return total
