"""The stages of VRT (docs/vrt.md, section 5): 1-7 change resolution, attend and align; the last one attends alone."""

from collections.abc import Callable
from dataclasses import replace
from operator import call

import jax
from einops import rearrange
from flax import nnx
from jax import Array
from jaxtyping import Float, Key

from spikejax.models.alignment import ParallelWarping, WarpingOptions
from spikejax.models.blocks import BlockOptions, TMSAGroup
from spikejax.models.flows import ClipFlows
from spikejax.models.layers import LayerNorm, Linear
from spikejax.models.remat import remat_if

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
        options: BlockOptions,
        *,
        resolution: Resolution,
        mutual_ratio: float,
        warping: WarpingOptions | None,
        drop_rates: tuple[float, ...],
        rngs: nnx.Rngs,
    ):
        """A stage with random weights, of as many blocks as there are rates.

        Args:
            features_in: of what comes in.
            features: of the stage itself.
            options: of its blocks; those with mutual attention have windows of 2 frames.
            resolution: over that of what comes in.
            mutual_ratio: the part of the blocks that have mutual attention.
            warping: of the frames' neighbours; None leaves them out.
            drop_rates: stochastic depth of each block.
            rngs: seeds of the weights.
        """
        self.recompute = options.remat == "everything"
        self.reshape = Reshape(features_in, features, resolution, rngs=rngs)
        depth = len(drop_rates)
        mutual_depth = int(depth * mutual_ratio)
        mutual_options = replace(options, window=(2, *options.window[1:]))
        # Both groups count their rates from the start of the stage, as in the published recipe.
        rates = drop_rates[:mutual_depth], drop_rates[: depth - mutual_depth]
        self.mutual_group = TMSAGroup(features, mutual_options, mutual=True, drop_rates=rates[0], rngs=rngs)
        self.mutual_linear = Linear(features, features, axes=("mlp", "embed"), rngs=rngs)
        self.self_group = TMSAGroup(features, options, mutual=False, drop_rates=rates[1], rngs=rngs)
        self.self_linear = Linear(features, features, axes=("mlp", "embed"), rngs=rngs)
        self.warping = None if warping is None else ParallelWarping(features, warping, rngs=rngs)

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
        return remat_if(self.recompute, call)(self.warping, x, flows)


class ResidualGroup(nnx.Module):
    """x + linear(group(x)): self-attention alone, one of the groups of stage 8."""

    def __init__(self, features: int, options: BlockOptions, *, drop_rates: tuple[float, ...], rngs: nnx.Rngs):
        self.group = TMSAGroup(features, options, mutual=False, drop_rates=drop_rates, rngs=rngs)
        self.linear = Linear(features, features, axes=("mlp", "embed"), rngs=rngs)

    def __call__(self, x: Float[Array, "b t h w c"], *, key: Key[Array, ""] | None = None) -> Float[Array, "b t h w c"]:
        """The group's features; `key` switches stochastic depth on."""
        return x + self.linear(self.group(x, key=key))
