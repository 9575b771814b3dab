"""The restorer: VRT, with or without its spike branch, for clips of any size; and the only factory of networks.

Clips are [b, t, h, w, c] in [0, 1], voxels [b, t, h, w, k] standardised log counts at the size of the clip or at
an integer fraction of it.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Key
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.extensions import find_entry
from spikejax.kernels.choice import Kernels, use_kernels
from spikejax.models.fusion import SpikeBranch, SpikeBranchConfig, SpikeChannels, find_fusion
from spikejax.models.remat import Remat
from spikejax.models.traits import NetworkTraits
from spikejax.models.vrt import STAGE_SCALES, VRT, VRTConfig

MIN_SIDE = 16
MIN_FRAMES = 2


class Restorer(nnx.Module):
    """A network that restores clips; it pads them to what its windows need and crops the result back."""

    def __init__(
        self,
        vrt: VRTConfig,
        spike: SpikeBranchConfig | None,
        *,
        compute_dtype: Literal["float32", "bfloat16"] = "float32",
        remat: Remat = "none",
        kernels: Kernels = "auto",
        rngs: nnx.Rngs,
    ):
        """A network with random weights.

        Args:
            vrt: the backbone.
            spike: how spikes enter, None for the backbone alone.
            compute_dtype: "float32" follows the inputs' dtype; "bfloat16" computes features in it, while parameters,
                flows, offsets, positions, logits and softmax stay float32.
            remat: what the backward pass computes again instead of storing it: "none", "blocks" (attention blocks but
                for what attention returned), "everything" (attention blocks, alignment, flows and the spike branch).
            kernels: which form the costly operations have, see `spikejax.kernels.choice`.
            rngs: seeds of the weights.
        """
        if compute_dtype not in ("float32", "bfloat16"):
            raise ValueError(f'compute_dtype must be "float32" or "bfloat16", not {compute_dtype!r}')
        if remat not in get_args(Remat):
            raise ValueError(f"remat must be one of {', '.join(get_args(Remat))}, not {remat!r}")
        if kernels not in get_args(Kernels):
            raise ValueError(f"kernels must be one of {', '.join(get_args(Kernels))}, not {kernels!r}")
        if spike is not None and not vrt.reach:
            raise ValueError("a network that interpolates (vrt.warp_frames = 0) takes no spikes")
        self.kernels = kernels
        self.compute_dtype = jnp.dtype(jnp.bfloat16) if compute_dtype == "bfloat16" else None
        kind = None if spike is None else find_fusion(spike.fusion)
        channels = None
        if spike is not None and kind is not None and kind.acts == "input":
            channels, spike = SpikeChannels(spike.bins, spike.steps), None
        beside = 0 if channels is None else channels.bins
        self.spike_channels = channels
        self.vrt = VRT(vrt, beside=beside, compute_dtype=self.compute_dtype, remat=remat, rngs=rngs)
        self.spike_branch = None if spike is None else SpikeBranch(spike, vrt, remat=remat, rngs=rngs)

    @property
    def traits(self) -> NetworkTraits:
        """What the network does to a clip."""
        config = self.vrt.config
        normalise = "statistics" if self.spike_branch is None else self.spike_branch.config.normalise
        return NetworkTraits(
            upscale=config.upscale,
            interpolates=config.reach == 0,
            noise_level=config.noise_map,
            window=config.window[0],
            spike_bins=self.spike_bins,
            spike_normalise=normalise if self.spike_channels is None else "none",
            picture_channels=config.input_channels,
            min_frames=MIN_FRAMES,
            min_side=MIN_SIDE,
            side_multiple=math.lcm(max(STAGE_SCALES), *config.window[1:]),
        )

    @property
    def needs_spikes(self) -> bool:
        """Whether a clip has to come with voxels."""
        return self.spike_bins is not None

    @property
    def spike_bins(self) -> int | None:
        """The time bins of the voxels, None where spikes do not enter."""
        if self.spike_channels is not None:
            return self.spike_channels.bins
        return None if self.spike_branch is None else self.spike_branch.config.bins

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The rows and columns that a clip is padded to: whole pixels at 1/8 of the size, and a window of them."""
        multiple = max(STAGE_SCALES)
        rows, columns = (
            max(-(-size // multiple) * multiple, multiple * extent)
            for size, extent in zip((height, width), self.vrt.config.window[1:], strict=True)
        )
        return rows, columns

    def __call__(
        self,
        clip: Float[Array, "b t h w c"],
        voxels: Float[Array, "b t h2 w2 k"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "b t2 h3 w3 c2"]:
        """The restored clip.

        Args:
            clip: RGB in [0, 1] (then the noise level, for non-blind denoising); at least 16 x 16 pixels and 2 frames.
            voxels: needed if `needs_spikes`, and refused otherwise.
            key: switches stochastic depth on (training).

        Raises:
            InputError: for a clip that is too small, or voxels that are missing, not expected or of another shape.
        """
        _check(clip, voxels, self.spike_bins)
        height, width = clip.shape[2:4]
        rows, columns = self.padded_size(height, width)
        fusion, beside = None, None
        with use_kernels(self.kernels):
            if self.spike_channels is not None and voxels is not None:
                beside = _pad(_enlarge(self.spike_channels(voxels), height, width), rows, columns)
            elif self.spike_branch is not None and voxels is not None:
                voxels = _pad(_enlarge(voxels, height, width), rows, columns)
                fusion = self.spike_branch(voxels if self.compute_dtype is None else voxels.astype(self.compute_dtype))
            restored = self.vrt(_pad(clip, rows, columns), beside=beside, fusion=fusion, key=key)
        scale = self.vrt.config.upscale
        return restored[:, :, : height * scale, : width * scale]


def _build_vrt(config: Mapping[str, Any] | ConfigDict, *, rngs: nnx.Rngs) -> Restorer:
    """VRT with the spike branch that the configuration asks for."""
    spike = None if find_fusion(config["spike"]["fusion"]) is None else SpikeBranchConfig(**_plain(config["spike"]))
    return Restorer(
        VRTConfig(**_plain(config["vrt"])),
        spike,
        compute_dtype=config["compute_dtype"],
        remat=config["remat"],
        kernels=config["kernels"],
        rngs=rngs,
    )


# To add a backbone: a function (config, *, rngs) that makes the network of the `model` part of a configuration, and a
# line here; or model.backbone="FILE.py:NAME". The network is an nnx.Module that is called as `Restorer` is, has
# `traits`, and names the axes of its parameters (see `spikejax.models.layers`).
BACKBONES: dict[str, Callable[..., Any]] = {"vrt": _build_vrt}


def build_restorer(config: Mapping[str, Any] | ConfigDict, *, rngs: nnx.Rngs) -> Any:
    """The network that the `model` part of a configuration describes: a `Restorer`, or what another backbone is.

    Args:
        config: `backbone` (a name of `BACKBONES` or FILE.py:NAME), `vrt` (fields of VRTConfig), `spike` (fields of
            SpikeBranchConfig; fusion "none" for the backbone alone), `compute_dtype`, `remat` and `kernels`.
        rngs: seeds of the weights.

    Raises:
        InputError: what the configuration asks for does not exist or does not fit together.
    """
    build = find_entry(BACKBONES, config["backbone"], key="model.backbone", kind=Callable)
    try:
        return build(config, rngs=rngs)
    except InputError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"the model's configuration: {error}") from error


def _plain(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Lists, as read back from JSON, become the tuples that the dataclasses hold."""
    return {key: tuple(value) if isinstance(value, list | tuple) else value for key, value in config.items()}


def _check(clip: Array, voxels: Array | None, bins: int | None) -> None:
    frames, height, width = clip.shape[1:4]
    if frames < MIN_FRAMES or min(height, width) < MIN_SIDE:
        raise InputError(
            f"expected a clip of at least {MIN_FRAMES} frames of {MIN_SIDE} x {MIN_SIDE} pixels, "
            f"found {frames} of {height} x {width}"
        )
    if bins is None:
        if voxels is not None:
            raise InputError("expected no voxels, the network takes no spikes")
        return
    if voxels is None:
        raise InputError(f"expected voxels of {bins} bins for each of the {frames} frames, found none")
    rows, columns = voxels.shape[2:4]
    fits = height % rows == 0 and width % columns == 0 and height // rows == width // columns
    if voxels.shape[:2] != clip.shape[:2] or voxels.shape[-1] != bins or not fits:
        raise InputError(
            f"expected voxels {(*clip.shape[:4], bins)}, or smaller than the clip by a whole factor, "
            f"found {voxels.shape}"
        )


def _enlarge(voxels: Array, height: int, width: int) -> Array:
    """Nearest: every pixel of a larger picture gets the counts of the spike pixel that covers it."""
    factor = height // voxels.shape[2]
    return voxels if factor == 1 else voxels.repeat(factor, axis=2).repeat(width // voxels.shape[3], axis=3)


def _pad(x: Array, rows: int, columns: int) -> Array:
    """Reflected at the lower and right edge to `rows` x `columns`."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, rows - x.shape[2]), (0, columns - x.shape[3]), (0, 0)), mode="reflect")
