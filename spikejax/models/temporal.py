"""Attention over time at every pixel: of the spikes' features, and of VRT's to them (docs/spike.md, sections 1.3, 1.4).

A clip has as many sequences as pixels, each of a few frames. They are worked on in parts, so that a full frame needs no
more memory than a tile.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax import Array, lax
from jaxtyping import Float

from spikejax.kernels import over_time as kernel
from spikejax.kernels.choice import Choice, choose
from spikejax.kernels.over_time import over_time
from spikejax.kernels.over_time_layout import OverTime
from spikejax.models.layers import LayerNorm, Linear, accumulation_dtype
from spikejax.models.schedule import count_chunks, in_chunks
from spikejax.models.time_positions import UNTOLD, TimeBias, TimePositions, add_sine, softmax_over_time

# Sequences (pixels) of a clip that are worked on at once: of 5 frames with 96 features, 15 MiB each of queries, keys,
# values and results.
SEQUENCES_AT_ONCE = 2**13


class TemporalAttention(nnx.Module):
    """Multi-head attention over the time axis of [p, t, c] sequences, with biased projections in and out."""

    def __init__(
        self,
        features: int,
        *,
        heads: int,
        time: TimePositions = UNTOLD,
        zero_init: bool = False,
        rngs: nnx.Rngs,
    ):
        """Attention of `features` in so many `heads`.

        Args:
            features: C.
            heads: must divide C.
            time: what it is told of the frames' order.
            zero_init: the last projection is zero.
            rngs: seeds of the weights.
        """
        if features % heads:
            raise ValueError(f"{features} features do not divide into {heads} heads")
        self.heads, self.adds_sine = heads, time.kind == "sine"
        self.time_bias = TimeBias(heads, time) if time.has_bias else None
        self.in_projection = Linear(features, 3 * features, axes=("embed", "heads"), rngs=rngs)
        self.out_projection = Linear(features, features, axes=("heads", "embed"), zero_init=zero_init, rngs=rngs)

    def __call__(self, queries: Float[Array, "p t c"], keys: Float[Array, "p s c"]) -> Float[Array, "p t c"]:
        """Attention of `queries` to `keys`, which are the values as well."""
        if self.adds_sine:
            queries, keys = add_sine(queries), add_sine(keys)
        features = queries.shape[-1]
        (q,) = self._heads(self.in_projection(queries, slice(0, features)), 1)
        # Keys and values are not split first: for the gradient of that XLA finds no tiles on GPUs.
        k, v = self._heads(self.in_projection(keys, slice(features, None)), 2)
        dtype = accumulation_dtype(q.dtype)
        logits = lax.dot_general(q, k, (((3,), (3,)), ((0, 1), (0, 1))), preferred_element_type=dtype)
        weights = softmax_over_time(logits * q.shape[-1] ** -0.5, self.time_bias).astype(v.dtype)
        attended = lax.dot_general(weights, v, (((3,), (2,)), ((0, 1), (0, 1))), preferred_element_type=v.dtype)
        return self.out_projection(rearrange(attended, "p heads t d -> p t (heads d)"))

    def _heads(self, x: Array, arrays: int) -> Float[Array, "arrays p heads t d"]:
        return rearrange(x, "p t (arrays heads d) -> arrays p heads t d", arrays=arrays, heads=self.heads)


class MLP(nnx.Module):
    """Linear to twice the width, GELU, linear back."""

    def __init__(self, features: int, *, zero_init: bool = False, rngs: nnx.Rngs):
        self.linear1 = Linear(features, 2 * features, rngs=rngs)
        self.linear2 = Linear(2 * features, features, axes=("mlp", "embed"), zero_init=zero_init, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """The features of every token alone."""
        return self.linear2(jax.nn.gelu(self.linear1(x), approximate=False))


class SpikeTemporalSA(nnx.Module):
    """The spike features of one scale after self-attention over time and an MLP, both residual."""

    def __init__(self, features: int, *, heads: int, time: TimePositions = UNTOLD, rngs: nnx.Rngs):
        self.norm1, self.norm2 = LayerNorm(features), LayerNorm(features)
        self.attention = TemporalAttention(features, heads=heads, time=time, rngs=rngs)
        self.mlp = MLP(features, rngs=rngs)

    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The attended features, of the same shape."""
        what = OverTime(self.attention.heads, asks=False)
        choice = _choose(x, self.attention)
        if choice.form != "plain":
            parameters = _in_order((self.norm1,), self.attention, self.norm2, self.mlp)
            return over_time((x,), parameters, what, choice)
        return over_pixels(self._sequences, x)

    def _sequences(self, x: Array) -> Array:
        normed = self.norm1(x)
        x = x + self.attention(normed, normed)
        return x + self.mlp(self.norm2(x))


class TemporalCrossAttnFuse(nnx.Module):
    """VRT's features of one stage, having asked the spike features of their own pixel at every time."""

    def __init__(
        self,
        features: int,
        *,
        heads: int,
        residual: Literal["features", "normalized_query"],
        time: TimePositions = UNTOLD,
        zero_init: bool = False,
        rngs: nnx.Rngs,
    ):
        """A fusion block.

        Args:
            features: C of both.
            heads: of the attention.
            residual: what the attention's result is added to.
            time: what the attention is told of the frames' order.
            zero_init: the last projections are zero, so that nothing is added at first.
            rngs: seeds of the weights.
        """
        if residual not in ("features", "normalized_query"):
            raise ValueError(f'residual must be "features" or "normalized_query", not {residual!r}')
        self.residual = residual
        self.norm_query, self.norm_spikes, self.norm_mlp = (LayerNorm(features) for _ in range(3))
        self.attention = TemporalAttention(features, heads=heads, time=time, zero_init=zero_init, rngs=rngs)
        self.mlp = MLP(features, zero_init=zero_init, rngs=rngs)

    def __call__(
        self, features: Float[Array, "b t h w c"], spikes: Float[Array, "b t h w c"]
    ) -> Float[Array, "b t h w c"]:
        """The fused features, of the same shape."""
        what = OverTime(self.attention.heads, asks=True, residual=self.residual == "features")
        choice = _choose(features, self.attention)
        if choice.form != "plain" and features.dtype == spikes.dtype:
            parameters = _in_order((self.norm_query, self.norm_spikes), self.attention, self.norm_mlp, self.mlp)
            return over_time((features, spikes), parameters, what, choice)
        return over_pixels(self._sequences, features, spikes)

    def _sequences(self, features: Array, spikes: Array) -> Array:
        query = self.norm_query(features)
        x = features if self.residual == "features" else query
        x = x + self.attention(query, self.norm_spikes(spikes))
        return x + self.mlp(self.norm_mlp(x))


def _choose(x: Float[Array, "b t h w c"], attention: TemporalAttention) -> Choice:
    """The form of what surrounds an attention; kernels know nothing of time."""
    _, frames, rows, columns, features = x.shape
    told = attention.adds_sine or attention.time_bias is not None
    shape = dict(frames=frames, features=features, rows=rows, columns=columns)
    return choose(lambda form: not told and kernel.fits(form, dtype=x.dtype, **shape))


def _in_order(
    norms: tuple[LayerNorm, ...], attention: TemporalAttention, norm_mlp: LayerNorm, mlp: MLP
) -> tuple[Array, ...]:
    """The parameters as `over_time` takes them."""
    projections = (
        jnp.split(leaf[...], 3, axis=-1) for leaf in (attention.in_projection.kernel, attention.in_projection.bias)
    )
    return (
        *(leaf[...] for norm in norms for leaf in (norm.scale, norm.bias)),
        *(leaf for pair in zip(*projections, strict=True) for leaf in pair),
        *(leaf[...] for leaf in (attention.out_projection.kernel, attention.out_projection.bias)),
        *(leaf[...] for leaf in (norm_mlp.scale, norm_mlp.bias)),
        *(leaf[...] for layer in (mlp.linear1, mlp.linear2) for leaf in (layer.kernel, layer.bias)),
    )


def over_pixels(function: Callable[..., Array], *clips: Float[Array, "b t h w _c"]) -> Float[Array, "b t h w _c"]:
    """`function` of the [p, t, c] sequences of all pixels, in equal chunks of `SEQUENCES_AT_ONCE` of a clip at most.

    Each chunk has pixels of every clip and of all rows, so that what is split over devices stays split. The backward
    pass computes a chunk again, if there are several.
    """
    batch, _, height, width, _ = clips[0].shape
    chunks = count_chunks(height * width, limit=SEQUENCES_AT_ONCE, divides=height * width)
    if chunks > 1:
        function = jax.checkpoint(function)

    def part(total: None, *sequences: Float[Array, "b p t c"]) -> tuple[None, Array]:
        attended = function(*(rearrange(x, "b p t c -> (b p) t c") for x in sequences))
        return total, rearrange(attended, "(b p) t c -> b p t c", b=batch)

    sequences = tuple(rearrange(x, "b t h w c -> b (h w) t c") for x in clips)
    _, attended = in_chunks(part, None, sequences, chunks=chunks, interleaved=True)
    return rearrange(attended, "b (h w) t c -> b t h w c", h=height)
