"""TMSA blocks and groups of them: temporal mutual self attention, then a gated MLP (docs/vrt.md, sections 5 and 6)."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float, Key

from spikejax.kernels import gated_mlp, window_attention, windows
from spikejax.kernels.choice import Form, choose, shares_rows
from spikejax.kernels.window_attention import SAVED_NAME
from spikejax.kernels.window_layout import Cut
from spikejax.models.attention import Window, WindowAttention, merge, partition, shrink_window, window_regions
from spikejax.models.layers import GatedMLP, LayerNorm, Linear
from spikejax.models.remat import Remat
from spikejax.models.scan import stack_blocks

_REMAT_POLICIES = {
    # The inputs of the blocks are kept, and what attention returned, which costs most to compute again.
    "blocks": jax.checkpoint_policies.save_only_these_names(SAVED_NAME),
    # Only the inputs of the blocks are kept.
    "everything": None,
}


@dataclass(frozen=True)
class BlockOptions:
    """What blocks of a stage have in common.

    Attributes:
        heads: of their attention.
        window: of their attention: frames, rows, columns.
        mlp_ratio: hidden features of the gated MLP over its features.
        remat: what of them the backward pass computes again, see `Restorer`.
    """

    heads: int
    window: Window
    mlp_ratio: float = 2
    remat: Remat = "none"


class TMSABlock(nnx.Module):
    """x + attention(norm x), then x + mlp(norm x), each dropped at random in training (stochastic depth)."""

    def __init__(self, features: int, options: BlockOptions, *, mutual: bool, rngs: nnx.Rngs):
        window = options.window
        self.norm1 = LayerNorm(features)
        self.attention = WindowAttention(features, heads=options.heads, window=window, mutual=mutual, rngs=rngs)
        self.norm2 = LayerNorm(features)
        self.mlp = GatedMLP(features, int(features * options.mlp_ratio), rngs=rngs)
        self.window = window

    def __call__(
        self,
        x: Float[Array, "b t h w c"],
        *,
        shifted: Bool[Array, ""] | bool,
        drop_rate: Float[Array, ""] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "b t h w c"]:
        """One block; `key` drops each branch of each clip with probability `drop_rate`."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = self.add_attention(x, shifted, drop_rate, keys[0])
        return self.add_mlp(x, drop_rate, keys[1])

    def add_attention(
        self,
        x: Float[Array, "b t h w c"],
        shifted: Bool[Array, ""] | bool,
        drop_rate: Float[Array, ""] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "b t h w c"]:
        """The first half of the block."""
        size, attention = x.shape[1:4], self.attention
        window, shift = shrink_window(size, self.window)
        cut = Cut(window[0], (shift[0], shift[1], shift[2]))

        def fits(form: Form) -> bool:
            depth = x.shape[-1] // attention.heads
            return window_attention.fits(
                form, dtype=x.dtype, tokens=cut.tokens, heads=attention.heads, depth=depth
            ) and windows.fits(form, dtype=x.dtype, size=size, window=window, heads=attention.heads_of(form))

        choice = choose(fits)
        if choice.form == "plain" or shares_rows(choice):
            return x + _drop_path(self._attend(self.norm1(x), shifted), drop_rate, key)
        flag = jnp.asarray(shifted, jnp.int32).reshape(1)
        heads = attention.heads_of(choice.form, masked=True)
        norm = self.norm1.scale[...], self.norm1.bias[...]
        projections = attention.padded_projections(window, heads)
        qkv = windows.into_windows(x, flag, norm, projections, heads, cut, choice)
        parts = attention.attend_in(qkv, None, heads, choice)
        kernels = attention.projection.kernels_of_parts(len(parts), heads[0].lanes)
        scale = _drop_path(jnp.ones(len(x), jnp.float32), drop_rate, key)
        bias = attention.projection.bias[...]
        return windows.out_of_windows(x, parts, flag, scale, kernels, bias, cut, choice)

    def add_mlp(
        self, x: Float[Array, "b t h w c"], drop_rate: Float[Array, ""] | None = None, key: Key[Array, ""] | None = None
    ) -> Float[Array, "b t h w c"]:
        """The second half of the block."""
        features, hidden = self.mlp.fc11.kernel.shape
        columns = x.shape[3]
        choice = choose(partial(gated_mlp.fits, dtype=x.dtype, features=features, hidden=hidden, columns=columns))
        if choice.form == "plain":
            return x + _drop_path(self.mlp(self.norm2(x)), drop_rate, key)
        scale = _drop_path(jnp.ones(len(x), jnp.float32), drop_rate, key)
        layers = self.norm2, self.mlp.fc11, self.mlp.fc12, self.mlp.fc2
        return gated_mlp.gated_mlp(x, scale, _in_order(*layers), choice)

    def _attend(self, x: Array, shifted: Array | bool) -> Array:
        """Attention within windows, shifted by half of them or not; zero-padded at the end to whole windows."""
        size = x.shape[1:4]
        window, shift = shrink_window(size, self.window)
        padding = [(-length) % extent for length, extent in zip(size, window, strict=True)]
        padded = tuple(length + pad for length, pad in zip(size, padding, strict=True))
        x = jnp.pad(x, ((0, 0), *((0, pad) for pad in padding), (0, 0)))
        regions = window_regions(padded, window, shift)
        if regions is not None:
            regions = jnp.where(shifted, regions, jnp.zeros((), regions.dtype))
            x = _roll(x, tuple(-step for step in shift), shifted)
        attended = self.attention(partition(x, window), window, regions)
        x = merge(attended, window, padded)
        if regions is not None:
            x = _roll(x, shift, shifted)
        return x[:, : size[0], : size[1], : size[2]]


def _in_order(norm: LayerNorm, *layers: Linear) -> tuple[Array, ...]:
    """The parameters as `gated_mlp` takes them."""
    return norm.scale[...], norm.bias[...], *(leaf[...] for layer in layers for leaf in (layer.kernel, layer.bias))


def _roll(x: Float[Array, "b t h w c"], shift: Window, shifted: Array | bool) -> Float[Array, "b t h w c"]:
    """`x` rolled by `shift` along (t, h, w) if `shifted`, which a scan over blocks knows only when it runs."""
    return lax.cond(shifted, lambda: jnp.roll(x, shift, axis=(1, 2, 3)), lambda: x)


def _drop_path(x: Float[Array, "b ..."], rate: Array | None, key: Array | None) -> Array:
    """Stochastic depth: each clip's `x` is dropped with probability `rate`, and grown to keep its expectation."""
    if key is None or rate is None:
        return x
    keep = 1 - rate.astype(jnp.float32)
    kept = jax.random.bernoulli(key, keep, (x.shape[0],) + (1,) * (x.ndim - 1))
    return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))


class TMSAGroup(nnx.Module):
    """A sequence of blocks whose windows are unshifted and shifted in turns.

    Their parameters are stacked on the axis "layers" and scanned over, so that the compiler sees one block whatever the
    depth.
    """

    def __init__(
        self, features: int, options: BlockOptions, *, mutual: bool, drop_rates: tuple[float, ...], rngs: nnx.Rngs
    ):
        """Blocks with random weights, as many as there are rates.

        Args:
            features: C.
            options: of the blocks.
            mutual: whether the blocks have mutual attention, too.
            drop_rates: stochastic depth of each block.
            rngs: seeds of the weights.
        """
        self.depth, self.drop_rates, self.remat = len(drop_rates), drop_rates, options.remat

        def make(rngs: nnx.Rngs) -> TMSABlock:
            return TMSABlock(features, options, mutual=mutual, rngs=rngs)

        # A shallow stage leaves one of its groups without blocks.
        self.blocks = stack_blocks(self.depth, make, rngs=rngs) if drop_rates else None

    def __call__(self, x: Float[Array, "b t h w c"], *, key: Key[Array, ""] | None = None) -> Float[Array, "b t h w c"]:
        """All blocks in turn; `key` switches stochastic depth on."""
        if self.blocks is None:
            return x
        definition, parameters = nnx.split(self.blocks)
        shifted = jnp.arange(self.depth, dtype=jnp.int32) % 2 == 1
        rates = jnp.asarray(self.drop_rates, jnp.float32)
        keys = None if key is None else jax.random.split(key, self.depth)

        def block(x: Array, layer: tuple) -> tuple[Array, None]:
            parameters, shifted, rate, key = layer
            return nnx.merge(definition, parameters)(x, shifted=shifted, drop_rate=rate, key=key), None

        if self.remat != "none":
            block = jax.checkpoint(block, policy=_REMAT_POLICIES[self.remat], prevent_cse=False)
        return lax.scan(block, x, (parameters, shifted, rates, keys))[0]
