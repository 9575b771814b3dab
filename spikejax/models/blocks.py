"""TMSA blocks and groups of them: temporal mutual self attention, then a gated MLP (spec/VRT sections 5 and 6)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Key

from spikejax.models.attention import Window, WindowAttention, merge, partition, shrink_window, window_regions
from spikejax.models.layers import GatedMLP, LayerNorm, stack_blocks


class TMSABlock(nnx.Module):
    """x + attention(norm x), then x + mlp(norm x), each dropped at random in training (stochastic depth)."""

    def __init__(self, features: int, *, heads: int, window: Window, mlp_ratio: float, mutual: bool, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(features)
        self.attention = WindowAttention(features, heads=heads, window=window, mutual=mutual, rngs=rngs)
        self.norm2 = LayerNorm(features)
        self.mlp = GatedMLP(features, int(features * mlp_ratio), rngs=rngs)
        self.window = window

    def __call__(
        self,
        x: Float[Array, "b t h w c"],
        *,
        shifted: bool,
        drop_rate: Float[Array, ""] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "b t h w c"]:
        """One block; `key` drops each branch of each clip with probability `drop_rate`."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = x + _drop_path(self._attend(self.norm1(x), shifted), drop_rate, keys[0])
        return x + _drop_path(self.mlp(self.norm2(x)), drop_rate, keys[1])

    def _attend(self, x: Array, shifted: bool) -> Array:
        """Attention within windows, shifted by half of them or not; zero-padded at the end to whole windows."""
        size = x.shape[1:4]
        half = tuple(extent // 2 if shifted else 0 for extent in self.window)
        window, shift = shrink_window(size, self.window, half)
        padding = [(-length) % extent for length, extent in zip(size, window, strict=True)]
        padded = tuple(length + pad for length, pad in zip(size, padding, strict=True))
        x = jnp.pad(x, ((0, 0), *((0, pad) for pad in padding), (0, 0)))
        if any(shift):
            x = jnp.roll(x, [-step for step in shift], axis=(1, 2, 3))
        windows = self.attention(partition(x, window), window, window_regions(padded, window, shift))
        x = merge(windows, window, padded)
        if any(shift):
            x = jnp.roll(x, shift, axis=(1, 2, 3))
        return x[:, : size[0], : size[1], : size[2]]


def _drop_path(x: Float[Array, "b ..."], rate: Array | None, key: Array | None) -> Array:
    """Stochastic depth: each clip's `x` is dropped with probability `rate`, and grown to keep its expectation."""
    if key is None or rate is None:
        return x
    keep = 1 - rate.astype(jnp.float32)
    kept = jax.random.bernoulli(key, keep, (x.shape[0],) + (1,) * (x.ndim - 1))
    return jnp.where(kept, x / keep.astype(x.dtype), jnp.zeros((), x.dtype))


class TMSAGroup(nnx.Module):
    """A sequence of blocks whose windows are unshifted and shifted in turns.

    Their parameters are stacked on the axis "layers". Pairs of blocks are scanned over, so that the compiler sees one pair whatever the depth.
    """

    def __init__(
        self,
        features: int,
        *,
        depth: int,
        heads: int,
        window: Window,
        mlp_ratio: float,
        mutual: bool,
        drop_rates: tuple[float, ...],
        remat: bool,
        rngs: nnx.Rngs,
    ):
        self.depth, self.drop_rates, self.remat = depth, drop_rates, remat
        self.blocks = stack_blocks(
            depth,
            lambda rngs: TMSABlock(features, heads=heads, window=window, mlp_ratio=mlp_ratio, mutual=mutual, rngs=rngs),
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "b t h w c"], *, key: Key[Array, ""] | None = None) -> Float[Array, "b t h w c"]:
        """All blocks in turn; `key` switches stochastic depth on."""
        definition, parameters = nnx.split(self.blocks)
        rates = jnp.asarray(self.drop_rates, jnp.float32)
        keys = None if key is None else jax.random.split(key, self.depth)
        stacked = (parameters, rates, keys)

        def block(x: Array, layer: tuple, shifted: bool) -> Array:
            parameters, rate, key = layer
            return nnx.merge(definition, parameters)(x, shifted=shifted, drop_rate=rate, key=key)

        if self.remat:
            block = jax.checkpoint(block, static_argnums=2, prevent_cse=False)

        def pair(x: Array, layers: tuple) -> tuple[Array, None]:
            for index in range(2):
                x = block(x, jax.tree.map(lambda leaf: leaf[index], layers), bool(index))  # noqa: B023
            return x, None

        pairs = self.depth // 2
        if pairs:
            in_pairs = jax.tree.map(lambda leaf: leaf[: 2 * pairs].reshape(pairs, 2, *leaf.shape[1:]), stacked)
            x, _ = lax.scan(pair, x, in_pairs)
        if self.depth % 2:
            x = block(x, jax.tree.map(lambda leaf: leaf[-1], stacked), False)
        return x
