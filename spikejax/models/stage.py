"""The stages of VRT (docs/vrt.md, section 5): 1-7 change resolution, attend and align; the last one attends alone."""

from collections.abc import Callable

import jax
from einops import rearrange
from flax import nnx
from jax import Array
from jaxtyping import Float, Key

from spikejax.models.alignment import ParallelWarping
from spikejax.models.attention import Window
from spikejax.models.blocks import Remat, TMSAGroup
from spikejax.models.flows import ClipFlows
from spikejax.models.layers import LayerNorm, Linear, call

Resolution = str
SAME, DOWN, UP = "same", "down", "up"


class Reshape(nnx.Module):
    """The entry of a stage: the same size, half (pixels to channels) or twice (channels to pixels), normalised."""

    def __init__(self, features_in: int, features: int, resolution: Resolution, *, rngs: nnx.Rngs):
        width = {SAME: features_in, DOWN: 4 * features_in, UP: features_in // 4}[resolution]
        self.resolution = resolution
        self.norm = LayerNorm(width)
        self.linear = None if resolution == SAME else Linear(width, features, axes=("mlp", "embed"), rngs=rngs)

    def __call__(self, x: Float[Array, "b t h w i"]) -> Float[Array, "b t h2 w2 c"]:
        """The features at the stage's resolution."""
        # Column before row in the channels, in both directions.
        if self.resolution == DOWN:
            x = rearrange(x, "b t (h y) (w x) c -> b t h w (x y c)", y=2, x=2)
        elif self.resolution == UP:
            x = rearrange(x, "b t h w (x y c) -> b t (h y) (w x) c", y=2, x=2)
        x = self.norm(x)
        return x if self.linear is None else self.linear(x)


class Stage(nnx.Module):
    """Reshape, blocks with mutual attention, blocks without, and parallel warping."""

    def __init__(
        self,
        features_in: int,
        features: int,
        *,
        resolution: Resolution,
        scale: int,
        depth: int,
        heads: int,
        window: Window,
        mutual_ratio: float,
        mlp_ratio: float,
        warp_sources: int,
        deformable_groups: int,
        drop_rates: tuple[float, ...],
        remat: Remat,
        rngs: nnx.Rngs,
    ):
        self.remat = remat
        self.reshape = Reshape(features_in, features, resolution, rngs=rngs)
        mutual_depth = int(depth * mutual_ratio)

        def group(depth: int, window: Window, mutual: bool) -> TMSAGroup:
            # Both groups count their rates from the start of the stage, as in the published recipe.
            return TMSAGroup(
                features, depth=depth, heads=heads, window=window, mlp_ratio=mlp_ratio, mutual=mutual,
                drop_rates=drop_rates[:depth], remat=remat, rngs=rngs,
            )  # fmt: skip

        self.mutual_group = group(mutual_depth, (2, *window[1:]), True)
        self.mutual_linear = Linear(features, features, axes=("mlp", "embed"), rngs=rngs)
        self.self_group = group(depth - mutual_depth, window, False)
        self.self_linear = Linear(features, features, axes=("mlp", "embed"), rngs=rngs)
        self.warping = (
            ParallelWarping(features, sources=warp_sources, groups=deformable_groups, scale=scale, rngs=rngs)
            if warp_sources
            else None
        )

    def __call__(
        self,
        x: Float[Array, "b t h w i"],
        flows: ClipFlows | None,
        *,
        before_attention: Callable[[Array], Array] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "b t h2 w2 c"]:
        """The stage's features; `before_attention` may change them once their size is the stage's own."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = self.reshape(x)
        if before_attention is not None:
            x = before_attention(x)
        x = x + self.mutual_linear(self.mutual_group(x, key=keys[0]))
        x = x + self.self_linear(self.self_group(x, key=keys[1]))
        if self.warping is None:
            return x
        assert flows is not None
        return call(self.warping, x, flows, recompute=self.remat == "everything")


class ResidualGroup(nnx.Module):
    """x + linear(group(x)): self-attention alone, one of the groups of stage 8."""

    def __init__(
        self,
        features: int,
        *,
        depth: int,
        heads: int,
        window: Window,
        mlp_ratio: float,
        drop_rates: tuple[float, ...],
        remat: Remat,
        rngs: nnx.Rngs,
    ):
        self.group = TMSAGroup(
            features, depth=depth, heads=heads, window=window, mlp_ratio=mlp_ratio, mutual=False,
            drop_rates=drop_rates, remat=remat, rngs=rngs,
        )  # fmt: skip
        self.linear = Linear(features, features, axes=("mlp", "embed"), rngs=rngs)

    def __call__(self, x: Float[Array, "b t h w c"], *, key: Key[Array, ""] | None = None) -> Float[Array, "b t h w c"]:
        """The group's features; `key` switches stochastic depth on."""
        return x + self.linear(self.group(x, key=key))
