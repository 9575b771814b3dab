"""VRT, the Video Restoration Transformer (Liang et al., 2022; docs/vrt.md), for every published task.

Clips are [b, t, h, w, c] in [0, 1], h and w multiples of 8 with h / 8 and w / 8 at least a window (the restorer pads).
Stages 1-7 are a U-Net over the scales 1, 1/2, 1/4, 1/8, 1/4, 1/2, 1. Flows and the picture that is added back come
from the RGB input alone, and stay float32 whatever the compute dtype.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import Array
from jaxtyping import Float, Key

from spikejax.models.alignment import WarpingOptions
from spikejax.models.attention import Window
from spikejax.models.blocks import BlockOptions
from spikejax.models.flows import ClipFlows, clip_flows, find_flow_network
from spikejax.models.heads import InterpolationHead, PictureHead, UpscalingHead
from spikejax.models.layers import Conv2D, LayerNorm, Linear
from spikejax.models.remat import Remat, remat_if
from spikejax.models.stage import DOWN, SAME, UP, ResidualGroup, Stage
from spikejax.models.warp import warp_nearest4

STAGE_SCALES = (1, 2, 4, 8, 4, 2, 1)
_RESOLUTIONS = (SAME, DOWN, DOWN, DOWN, UP, UP, UP)
U_STAGES = len(STAGE_SCALES)
# Of a stage; more is a mistake, or meant to take all memory.
_MOST_BLOCKS = 1000


@dataclass(frozen=True)
class VRTConfig:
    """What a VRT is; the names of the paper's options are in brackets.

    Attributes:
        upscale: 1, or the factor of super-resolution.
        input_channels: of the picture, without the noise map.
        output_channels: of the restored picture.
        window: frames, rows and columns of the attention windows.
        depths: blocks of each stage, then of each group of stage 8.
        dims: their features [embed_dims].
        heads: their attention heads [num_heads].
        independent: the entries of `depths` whose window is one frame [indep_reconsts].
        warp_frames: neighbours that parallel warping aligns, both directions together, 0 for none [pa_frames].
        deformable_groups: groups of offsets of the deformable alignment.
        mutual_ratio: the part of a stage's blocks that have mutual attention [mul_attn_ratio].
        mlp_ratio: hidden width of the gated MLP over its features.
        drop_path: stochastic depth of the last block; it grows linearly from 0.
        noise_map: a 4th input channel holds the noise level [nonblind_denoising].
        flow: the network of the optical flows, see `spikejax.models.flows.FLOWS`.
    """

    upscale: int = 1
    input_channels: int = 3
    output_channels: int = 3
    window: Window = (6, 8, 8)
    depths: tuple[int, ...] = (8,) * 7 + (4,) * 4
    dims: tuple[int, ...] = (96,) * 7 + (120,) * 4
    heads: tuple[int, ...] = (6,) * 11
    independent: tuple[int, ...] = (9, 10)
    warp_frames: int = 2
    deformable_groups: int = 16
    mutual_ratio: float = 0.75
    mlp_ratio: float = 2
    drop_path: float = 0.2
    noise_map: bool = False
    flow: str = "spynet"

    def __post_init__(self) -> None:
        if len(self.window) != 3:
            raise ValueError(f"window must be (frames, rows, columns), not {self.window}")
        if not len(self.depths) == len(self.dims) == len(self.heads) > U_STAGES:
            raise ValueError(
                f"depths, dims and heads need one entry for each of the {U_STAGES} stages and at least one more for "
                f"stage 8, all as many; there are {len(self.depths)}, {len(self.dims)} and {len(self.heads)}"
            )
        if max(self.depths) > _MOST_BLOCKS:
            raise ValueError(f"depths must be at most {_MOST_BLOCKS} blocks each, not {max(self.depths)}")
        if self.warp_frames % 2 or not 0 <= self.warp_frames <= 6:
            raise ValueError(f"warp_frames must be 0, 2, 4 or 6, not {self.warp_frames}")
        if self.output_channels != self.input_channels:
            raise ValueError(
                f"output_channels must be input_channels, {self.input_channels}, not {self.output_channels}: what is "
                "restored is a picture of the same kind"
            )
        for stage, (features, heads) in enumerate(zip(self.dims, self.heads, strict=True), 1):
            if features % heads or features % 4:
                raise ValueError(f"dims of stage {stage}, {features}, must be a multiple of 4 and of its {heads} heads")

    @property
    def reach(self) -> int:
        """How many frames away parallel warping looks, in each direction."""
        return self.warp_frames // 2


@runtime_checkable
class Fusion(Protocol):
    """What another sensor adds to the features of a stage (1-7)."""

    def before_attention(self, stage: int, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The features that the stage's blocks get, given those at its resolution."""

    def after_stage(self, stage: int, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The features that everything after the stage gets, given its output."""


class VRT(nnx.Module):
    """The network; `fusion` is given at the call, so the same VRT works with and without other sensors."""

    def __init__(
        self,
        config: VRTConfig,
        *,
        beside: int = 0,
        compute_dtype: jnp.dtype | None = None,
        remat: Remat = "none",
        rngs: nnx.Rngs,
    ):
        """A network with random weights.

        Args:
            config: the network.
            beside: channels of another sensor beside the picture's.
            compute_dtype: of the features, None for the input's own.
            remat: what of the blocks the backward pass computes again, see `Restorer`.
            rngs: seeds of the weights.
        """
        self.config, self.compute_dtype, self.recompute = config, compute_dtype, remat == "everything"
        rates = np.linspace(0, config.drop_path, sum(config.depths)).tolist()
        starts = np.cumsum((0, *config.depths))
        rates = [tuple(rates[start : start + depth]) for start, depth in zip(starts, config.depths, strict=False)]
        # Named as in the published weights, whichever flow network it is.
        self.spynet = find_flow_network(config.flow)(rngs=rngs) if config.reach else None
        # The picture, with what another sensor says of it, its two neighbours as four such each, and the noise map.
        width = (config.input_channels + beside) * (9 if config.reach else 1) + config.noise_map
        self.conv_first = Conv2D(width, config.dims[0], rngs=rngs)
        self.stages = nnx.List(
            Stage(
                config.dims[max(index - 1, 0)],
                config.dims[index],
                _block_options(config, index, remat),
                resolution=_RESOLUTIONS[index],
                mutual_ratio=config.mutual_ratio,
                warping=WarpingOptions(config.reach, config.deformable_groups, STAGE_SCALES[index])
                if config.reach
                else None,
                drop_rates=rates[index],
                rngs=rngs,
            )
            for index in range(U_STAGES)
        )
        width = config.dims[U_STAGES]
        self.reconstruction_norm = LayerNorm(config.dims[U_STAGES - 1])
        self.reconstruction_linear = Linear(config.dims[U_STAGES - 1], width, rngs=rngs)
        self.reconstruction_groups = nnx.List(
            ResidualGroup(config.dims[index], _block_options(config, index, remat), drop_rates=rates[index], rngs=rngs)
            for index in range(U_STAGES, len(config.depths))
        )
        self.norm = LayerNorm(width)
        self.linear_after_body = Linear(width, config.dims[0], axes=("mlp", "embed"), rngs=rngs)
        self.head = _make_head(config, rngs)

    def __call__(
        self,
        clip: Float[Array, "b t h w c"],
        *,
        beside: Float[Array, "b t h w k"] | None = None,
        fusion: Fusion | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "b t2 h2 w2 c2"]:
        """The restored clip.

        Args:
            clip: RGB in [0, 1], then the noise level (a standard deviation in [0, 1]) if `noise_map`.
            beside: what another sensor says of every pixel; warped from neighbours as the picture is, by its flows.
            fusion: see `Fusion`; None for the network of the paper.
            key: switches stochastic depth on (training).
        """
        picture = clip[..., : self.config.input_channels]
        if self.spynet is None:
            assert isinstance(self.head, InterpolationHead)
            mean = picture.mean((1, 2, 3), keepdims=True)
            features = self._features(self.conv_first(self._cast(picture - mean)), None, fusion, key)
            return self.head(features).astype(clip.dtype) + mean
        assert not isinstance(self.head, InterpolationHead)
        flows_of = remat_if(self.recompute, partial(clip_flows, reach=self.config.reach))
        flows: tuple[ClipFlows, ...] = flows_of(self.spynet, picture)
        joined = picture if beside is None else jnp.concatenate([picture, beside], axis=-1)
        later, earlier = _neighbour_pictures(joined, flows[0])
        x = jnp.concatenate([joined, later, earlier, clip[..., self.config.input_channels :]], axis=-1)
        features = self._features(self.conv_first(self._cast(x)), flows, fusion, key)
        return self.head(features, picture)

    def _cast(self, x: Array) -> Array:
        return x if self.compute_dtype is None else x.astype(self.compute_dtype)

    def _features(
        self, x: Array, flows: tuple[ClipFlows, ...] | None, fusion: Fusion | None, key: Array | None
    ) -> Array:
        """The body: U-Net stages with skip connections, then stage 8, added to what came in."""
        keys = [None] * len(self.config.depths) if key is None else jax.random.split(key, len(self.config.depths))

        def stage(number: int, x: Array) -> Array:
            at_scale = None if flows is None else flows[STAGE_SCALES[number - 1].bit_length() - 1]
            before = None if fusion is None else lambda x: fusion.before_attention(number, x)
            x = self.stages[number - 1](x, at_scale, before_attention=before, key=keys[number - 1])
            return x if fusion is None else fusion.after_stage(number, x)

        x1 = stage(1, x)
        x2 = stage(2, x1)
        x3 = stage(3, x2)
        x4 = stage(4, x3)
        y = stage(5, x4)
        y = stage(6, y + x3)
        y = stage(7, y + x2) + x1
        y = self.reconstruction_linear(self.reconstruction_norm(y))
        for group, group_key in zip(self.reconstruction_groups, keys[U_STAGES:], strict=True):
            y = group(y, key=group_key)
        return x + self.linear_after_body(self.norm(y))


def _neighbour_pictures(picture: Float[Array, "b t h w c"], flows: ClipFlows) -> tuple[Array, Array]:
    """The frames after and before every frame, warped to it by nearest4 as one batch; zeros where there is none."""
    batch = picture.shape[0]
    sources = jnp.stack([picture[:, 1:], picture[:, :-1]])
    towards = jnp.stack([flows.backward[0], flows.forward[0]])
    warped = warp_nearest4(*(rearrange(x, "d b t h w c -> (b d t) h w c") for x in (sources, towards)))
    later, earlier = rearrange(warped, "(b d t) h w c -> d b t h w c", d=2, b=batch)
    black = jnp.zeros_like(later[:, :1])
    return jnp.concatenate([later, black], axis=1), jnp.concatenate([black, earlier], axis=1)


def _block_options(config: VRTConfig, index: int, remat: Remat) -> BlockOptions:
    """The options of the blocks of a stage, or of a group of stage 8, by its index into `depths`."""
    # Stages 1 to 7 look over all frames, whatever `independent` says.
    one_frame = index >= U_STAGES and index in config.independent
    window = (1, *config.window[1:]) if one_frame else config.window
    return BlockOptions(config.heads[index], window, config.mlp_ratio, remat)


def _make_head(config: VRTConfig, rngs: nnx.Rngs) -> PictureHead | UpscalingHead | InterpolationHead:
    if not config.reach:
        return InterpolationHead(config.dims[0], frames=config.window[0], channels=config.output_channels, rngs=rngs)
    if config.upscale == 1:
        return PictureHead(config.dims[0], channels=config.output_channels, rngs=rngs)
    return UpscalingHead(config.dims[0], scale=config.upscale, channels=config.output_channels, rngs=rngs)
