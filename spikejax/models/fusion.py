"""The spike branch: encoder, attention over time, and how its features enter VRT (docs/spike.md, section 1).

Stages 1-4 of VRT meet the scales of the encoder from full size to 1/8; stages 5-7 meet them again on the way back, 1/4,
1/2 and full size. Each stage has a temporal attention and a fusion block of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import call
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from spikejax.extensions import find_entry
from spikejax.models.layers import Linear
from spikejax.models.remat import Remat, remat_if
from spikejax.models.spike_encoder import SpikeEncoder3D
from spikejax.models.temporal import SpikeTemporalSA, TemporalCrossAttnFuse
from spikejax.models.time_positions import TimeKind, TimePositions
from spikejax.models.vrt import STAGE_SCALES, U_STAGES, VRTConfig

ENCODER_SCALES = 4


@dataclass(frozen=True)
class SpikeBranchConfig:
    """What a spike branch is.

    Attributes:
        fusion: how a stage takes the features in, a name of `FUSIONS` or FILE.py:NAME.
        bins: time bins K of a frame's voxels.
        channels: features at each fused stage; they must be those of VRT there.
        heads: attention heads of the temporal attention and the fusion.
        residual: see `TemporalCrossAttnFuse`.
        fused_stages: (1, 2, 3, 4), or 1 to 7.
        zero_init: the fusion begins by adding nothing, the network as exactly VRT.
        normalise: how counts become the voxels that it is given, see `spikejax.data.spikes.voxels.standardise`; where
            they enter with the picture it has no effect.
        steps: of the stream in a frame's window, where spikes enter with the picture, see `SpikeChannels`.
        time: what attention over time is told of the frames' order, see `TimePositions.kind`.
        time_reach: see `TimePositions.reach`.
        time_own_frame: see `TimePositions.own_frame`.
    """

    fusion: str = "cross_attention"
    bins: int = 32
    channels: tuple[int, ...] = (96, 96, 96, 96)
    heads: int = 4
    residual: Literal["features", "normalized_query"] = "features"
    fused_stages: tuple[int, ...] = (1, 2, 3, 4)
    zero_init: bool = False
    normalise: Literal["statistics", "clip"] = "statistics"
    steps: int = 56
    time: TimeKind = "none"
    time_reach: int = 4
    time_own_frame: float = 2.0

    @property
    def time_positions(self) -> TimePositions:
        """What both attentions over time are told of time."""
        return TimePositions(self.time, self.time_reach, self.time_own_frame)

    def __post_init__(self) -> None:
        _ = self.time_positions  # checks them
        stages = self.fused_stages
        if stages != tuple(range(1, len(stages) + 1)) or not ENCODER_SCALES <= len(stages) <= U_STAGES:
            raise ValueError(f"spike.fused_stages must be 1 to 4, or on to 7 at most, not {stages}")
        if len(self.channels) != len(stages):
            raise ValueError(f"spike.channels needs an entry for each of the stages {stages}, not {len(self.channels)}")
        if self.steps < self.bins and self.fusion == "early_concat":
            raise ValueError(f"spike.steps must be at least spike.bins, {self.bins}, not {self.steps}")

    def check_against(self, vrt: VRTConfig) -> None:
        """Raises ValueError, naming the scale and both sizes, where the branch does not fit the stages of `vrt`."""
        for stage, channels in zip(self.fused_stages, self.channels, strict=True):
            scale = f"scale 1/{STAGE_SCALES[stage - 1]} (stage {stage})"
            if channels != vrt.dims[stage - 1]:
                raise ValueError(f"{scale}: the spike branch has {channels} channels, VRT has {vrt.dims[stage - 1]}")
            encoder = self.channels[encoder_scale(stage)]
            if channels != encoder:
                raise ValueError(f"{scale}: the fusion expects {channels} channels, the spike encoder has {encoder}")


def encoder_scale(stage: int) -> int:
    """The scale of the encoder, 0 to 3, that has the resolution of `stage`."""
    return STAGE_SCALES[stage - 1].bit_length() - 1


class ConcatFuse(nnx.Module):
    """Concat1x1PreTMSA: VRT's features and the spikes', joined and brought back to C channels by a 1x1 convolution."""

    def __init__(self, features: int, *, zero_init: bool, rngs: nnx.Rngs):
        """Args: zero_init: begin as the identity of VRT's features."""
        self.linear = Linear(2 * features, features, axes=("mlp", "embed"), rngs=rngs)
        if zero_init:
            self.linear.kernel[...] = jnp.eye(2 * features, features)

    def __call__(
        self, features: Float[Array, "b t h w c"], spikes: Float[Array, "b t h w c"]
    ) -> Float[Array, "b t h w c"]:
        """The fused features."""
        return self.linear(jnp.concatenate([features, spikes], axis=-1))


@dataclass(frozen=True)
class FusionKind:
    """A way of fusing: what a stage does with VRT's features and the spikes'.

    Attributes:
        acts: whether VRT's features are fused once they have the stage's resolution, before its attention, or when they
            leave the stage; or the spikes are channels of VRT's "input", and there is no branch.
        attends_over_time: whether each stage's spike features first attend to themselves over time (SpikeTemporalSA).
        build: (features, branch's configuration, *, rngs) -> the block of one stage, called with VRT's features and the
            spikes', both [b, t, h, w, c]; it returns as many. None for the input, which has no blocks.
        torch_form: the name by which `convert` knows where the PyTorch network keeps the blocks' parameters
            (convert/spike_keys.py, FUSE_BLOCKS); None if it has none, and then weights are not converted.
    """

    acts: Literal["before_attention", "after_stage", "input"]
    attends_over_time: bool
    build: Callable[..., Any] | None
    torch_form: str | None = None


def _build_cross_attention(features: int, config: SpikeBranchConfig, *, rngs: nnx.Rngs) -> TemporalCrossAttnFuse:
    return TemporalCrossAttnFuse(
        features,
        heads=config.heads,
        residual=config.residual,
        time=config.time_positions,
        zero_init=config.zero_init,
        rngs=rngs,
    )


def _build_concat(features: int, config: SpikeBranchConfig, *, rngs: nnx.Rngs) -> ConcatFuse:
    return ConcatFuse(features, zero_init=config.zero_init, rngs=rngs)


# To add a fusion: a block, and an entry here that says when it acts; or a FusionKind of your own, reached by
# model.spike.fusion="FILE.py:NAME". Nothing else names a fusion.
FUSIONS: dict[str, FusionKind | None] = {
    "none": None,  # no spikes: VRT alone
    "cross_attention": FusionKind(
        acts="after_stage", attends_over_time=True, build=_build_cross_attention, torch_form="cross_attention"
    ),
    "early_cross_attention": FusionKind(acts="before_attention", attends_over_time=True, build=_build_cross_attention),
    "concat": FusionKind(acts="before_attention", attends_over_time=False, build=_build_concat),
    "concat_over_time": FusionKind(acts="before_attention", attends_over_time=True, build=_build_concat),
    "early_concat": FusionKind(acts="input", attends_over_time=False, build=None, torch_form="input"),
}


def find_fusion(name: str) -> FusionKind | None:
    """The fusion of that name, of `FUSIONS` or the user's own; None for a network without spikes."""
    return find_entry(FUSIONS, name, key="model.spike.fusion", kind=FusionKind)


@dataclass(frozen=True)
class SpikeChannels:
    """Spikes as channels of the picture: of each time bin the share of its steps that have one (TFP).

    Attributes:
        bins: time bins of a frame's window.
        steps: of the stream in that window.
    """

    bins: int
    steps: int

    def __call__(self, counts: Float[Array, "b t h w k"]) -> Float[Array, "b t h w k"]:
        """The shares, 0 to 1, of counts as they are."""
        # Step i lies in bin floor((i + 1/2) bins / steps), as where spikes are counted.
        bin_of = (2 * np.arange(self.steps) + 1) * self.bins // (2 * self.steps)
        lengths = np.bincount(bin_of, minlength=self.bins).reshape(1, 1, 1, 1, -1)
        return counts / lengths.astype(counts.dtype)


class SpikeBranch(nnx.Module):
    """From voxels to what VRT's stages are given."""

    def __init__(self, config: SpikeBranchConfig, vrt: VRTConfig, *, remat: Remat = "none", rngs: nnx.Rngs):
        config.check_against(vrt)
        kind = find_fusion(config.fusion)
        if kind is None:
            raise ValueError(f"a spike branch needs a fusion, spike.fusion is {config.fusion!r}")
        self.config, self.kind, self.recompute = config, kind, remat == "everything"
        self.encoder = SpikeEncoder3D(config.bins, config.channels[:ENCODER_SCALES], rngs=rngs)
        self.temporal_attention = (
            nnx.List(
                SpikeTemporalSA(channels, heads=config.heads, time=config.time_positions, rngs=rngs)
                for channels in config.channels
            )
            if kind.attends_over_time
            else None
        )
        build = kind.build
        if build is None:
            raise ValueError(f"the fusion {config.fusion} has no blocks, and needs no spike branch")
        self.fuse_blocks = nnx.List(build(channels, config, rngs=rngs) for channels in config.channels)

    def __call__(self, voxels: Float[Array, "b t h w k"]) -> "SpikeFusion":
        """The fusion of one batch of clips with the spikes behind `voxels` (standardised log counts)."""
        encoded = self.encoder(voxels, recompute=self.recompute)
        features = [encoded[encoder_scale(stage)] for stage in self.config.fused_stages]
        if self.temporal_attention is not None:
            features = [
                remat_if(self.recompute, call)(attention, x)
                for attention, x in zip(self.temporal_attention, features, strict=True)
            ]
        return SpikeFusion(self, dict(zip(self.config.fused_stages, features, strict=True)))


@dataclass(frozen=True)
class SpikeFusion:
    """The spike features of a batch of clips, as VRT meets them (see `spikejax.models.vrt.Fusion`)."""

    branch: SpikeBranch
    features: dict[int, Array]

    def before_attention(self, stage: int, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The features fused, by a fusion that acts then."""
        return self._fuse(stage, x) if self.branch.kind.acts == "before_attention" else x

    def after_stage(self, stage: int, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The features fused, by a fusion that acts then."""
        return self._fuse(stage, x) if self.branch.kind.acts == "after_stage" else x

    def _fuse(self, stage: int, x: Array) -> Array:
        if stage not in self.features:
            return x
        spikes = self.features[stage]
        if spikes.shape != x.shape:
            raise ValueError(
                f"scale 1/{STAGE_SCALES[stage - 1]} (stage {stage}): spike features are {spikes.shape}, VRT's {x.shape}"
            )
        return remat_if(self.branch.recompute, call)(self.branch.fuse_blocks[stage - 1], x, spikes)
