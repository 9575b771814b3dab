"""Parallel warping: flow-guided deformable alignment of the neighbouring frames (docs/vrt.md, section 7).

Backward alignment brings frames t+1 .. t+K to t, forward alignment t-1 .. t-K. No target depends on another, so all
targets of both directions are one batch.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax import Array
from jaxtyping import Float

from spikejax.kernels import sampling as kernel
from spikejax.kernels.choice import choose
from spikejax.kernels.sampling_layout import TAPS, Sampling
from spikejax.models.deformable import deformable_convolution
from spikejax.models.flows import ClipFlows
from spikejax.models.layers import Conv2D, GatedMLP, accumulation_dtype, truncated_normal
from spikejax.models.warp import pixel_grid, warp

MAX_OFFSET = 10.0


@dataclass(frozen=True)
class WarpingOptions:
    """What an alignment is made for.

    Attributes:
        sources: K, the neighbours on each side.
        groups: of offsets, over all sources.
        scale: 1, 2, 4 or 8, of the picture over the features.
    """

    sources: int
    groups: int
    scale: int


class DeformableAlignment(nnx.Module):
    """A modulated deformable 3x3 convolution whose offsets start from the flows (Zhu et al. 2019; Chan et al. 2022)."""

    def __init__(self, features: int, options: WarpingOptions, *, rngs: nnx.Rngs):
        """A convolution of K sources; source, target and result have so many features."""
        sources, groups = options.sources, options.groups
        if groups % sources or (features * sources) % groups:
            raise ValueError(
                f"deformable_groups = {groups} must be a multiple of the {sources} sources and divide their "
                f"{features * sources} channels"
            )
        self.sources, self.groups, self.scale = sources, groups, options.scale
        widths = (features * (sources + 1) + 2 * sources, features, features, features)
        self.offset_convolutions = nnx.List(
            Conv2D(width, width_next, rngs=rngs) for width, width_next in zip(widths, widths[1:], strict=False)
        )
        # Zero: alignment begins at the flow itself.
        self.offset_projection = Conv2D(features, 3 * TAPS * groups, zero_init=True, rngs=rngs)
        shape = (3, 3, features, features)
        self.kernel = nnx.Param(
            truncated_normal(rngs.params(), shape, fan_in=TAPS * features),
            axes=("kernel", "kernel", "features_in", "features_out"),
        )
        self.bias = nnx.Param(jnp.zeros(features), axes=("features_out",))

    def __call__(
        self,
        sources: Float[Array, "b n k h w c"],
        target: Float[Array, "b n h w c"],
        flows: Float[Array, "b n k h w 2"],
    ) -> Float[Array, "b n h w c"]:
        """The sources, each through its flow, aligned with the target and merged.

        Args:
            sources: pictures to be aligned, for each of the n targets of a clip.
            target: what they are aligned with.
            flows: from the target to each source.
        """
        k, height, width, c = sources.shape[2:]
        groups = self.groups // k
        sampling = Sampling(k, groups, c // groups, c // k, MAX_OFFSET / self.scale)
        # Offsets, and the positions they lead to, are float32 at least.
        features = self._offset_features(sources, target, flows).astype(flows.dtype)
        choice = choose(lambda form: kernel.fits(form, sampling, dtype=sources.dtype, rows=height, columns=width))
        if choice.form == "plain":
            position, mask = sampling_positions(self.offset_projection(features), flows, sampling)
            return self._sample(sources, position, mask.astype(sources.dtype))
        offsets = self.offset_projection(features, partial(kernel.arrange_offsets, sampling=sampling))
        base = pixel_grid(height, width, flows.dtype).reshape(1, 1, 1, height, width, 2) + flows
        return self._add_bias(
            kernel.sample(self._image(sources), offsets, base, self._weights(sources), sampling, choice)
        )

    def _sample(self, sources: Array, position: Array, mask: Array) -> Array:
        """The deformable convolution itself, in plain JAX."""
        height = sources.shape[3]
        position, mask = (rearrange(x, "b n h w ... -> b n (h w) ...") for x in (position, mask))
        merged = deformable_convolution(self._image(sources), position, mask, self._weights(sources))
        return self._add_bias(rearrange(merged, "b n (h w) c -> b n h w c", h=height))

    def _image(self, sources: Array) -> Float[Array, "b n h w kg c"]:
        return rearrange(sources, "b n k h w (g c) -> b n h w (k g) c", g=self.groups // self.sources)

    def _weights(self, sources: Array) -> Float[Array, "k gtapc o"]:
        kernel = self.kernel[...].astype(sources.dtype)
        return rearrange(kernel, "ty tx i (k o) -> k (ty tx i) o", k=self.sources)

    def _add_bias(self, merged: Array) -> Array:
        return merged + self.bias[...].astype(merged.dtype).reshape(1, 1, 1, 1, -1)

    def _offset_features(self, sources: Array, target: Array, flows: Array) -> Array:
        """What the offsets are projected from."""
        b, _, k = sources.shape[:3]
        warped = warp(*(rearrange(x, "b n k h w c -> (b n k) h w c") for x in (sources, flows)))
        features = jnp.concatenate(
            [
                rearrange(warped, "(b n k) h w c -> b n h w (k c)", b=b, k=k),
                target,
                rearrange(flows, "b n k h w c -> b n h w (k c)").astype(target.dtype),
            ],
            axis=-1,
        )
        for convolution in self.offset_convolutions:
            features = jax.nn.leaky_relu(convolution(features), 0.1)
        return features


def sampling_positions(
    offsets: Float[Array, "b n h w _offsets"], flows: Float[Array, "b n k h w 2"], sampling: Sampling
) -> tuple[Float[Array, "b n h w tap kg 2"], Float[Array, "b n h w tap kg"]]:
    """Where to sample, as (column, row), and how much of it, given what the offset convolution gives.

    Args:
        offsets: of every (source, group, tap), y before x, and then every (source, group, tap)'s mask.
        flows: from the target to each source.
        sampling: how it is sampled.
    """
    k, (height, width) = sampling.sources, flows.shape[3:5]
    offset, mask = jnp.split(offsets, [2 * TAPS * k * sampling.groups], axis=-1)
    offset = rearrange(
        sampling.reach * jnp.tanh(offset), "b n h w (k g tap yx) -> b n h w tap k g yx", k=k, tap=TAPS, yx=2
    )
    flow = rearrange(flows, "b n k h w c -> b n h w 1 k 1 c")
    grid = pixel_grid(height, width, flows.dtype).reshape(1, 1, height, width, 1, 1, 1, 2)
    position = grid + _tap_positions(flows.dtype) + offset[..., ::-1] + flow
    mask = rearrange(jax.nn.sigmoid(mask), "b n h w (g tap) -> b n h w tap g", tap=TAPS)
    return rearrange(position, "b n h w tap k g xy -> b n h w tap (k g) xy"), mask


def _tap_positions(dtype: jnp.dtype) -> Float[Array, "1 1 1 1 9 1 1 2"]:
    """(column, row) of the taps of a 3x3 kernel about its centre, row-major."""
    taps = [(column, row) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    return jnp.asarray(np.array(taps), dtype).reshape(1, 1, 1, 1, TAPS, 1, 1, 2)


class ParallelWarping(nnx.Module):
    """Every frame joined with its neighbours of both directions, aligned to it."""

    def __init__(self, features: int, options: WarpingOptions, *, rngs: nnx.Rngs):
        self.alignment = DeformableAlignment(features, options, rngs=rngs)
        self.fuse = GatedMLP(3 * features, 3 * features, features, rngs=rngs)

    def __call__(self, x: Float[Array, "b t h w c"], flows: ClipFlows) -> Float[Array, "b t h w c"]:
        """The features of every frame, fused with those of its neighbours aligned to it."""
        spans = range(1, self.alignment.sources + 1)
        later = [_neighbours(x, flows.backward, span, forward=False) for span in spans]
        earlier = [_neighbours(x, flows.forward, span, forward=True) for span in spans]
        sources, source_flows = (
            rearrange(jnp.stack(arrays), "(d k) b t h w c -> b (d t) k h w c", d=2)
            for arrays in zip(*later, *earlier, strict=True)
        )
        targets = rearrange(jnp.stack([x[:, :-1], x[:, 1:]]), "d b t h w c -> b (d t) h w c")
        aligned = self.alignment(sources, targets, source_flows)
        from_later, from_earlier = rearrange(aligned, "b (d t) h w c -> d b t h w c", d=2)
        # The last frame has none after it, the first none before it.
        from_later, from_earlier = _pad_frames(from_later, 0, 1), _pad_frames(from_earlier, 1, 0)
        return self.fuse(jnp.concatenate([x, from_later, from_earlier], axis=-1))


def _neighbours(x: Array, flows: tuple[Array, ...], span: int, *, forward: bool) -> tuple[Array, Array]:
    """The frame `span` away from each of the t-1 targets and the flow to it; zeros where the clip has no such frame."""
    missing = min(span - 1, x.shape[1] - 1)
    padding = (missing, 0) if forward else (0, missing)
    frames = x[:, : x.shape[1] - span] if forward else x[:, span:]
    if span > len(flows):
        zero_flow = jnp.zeros((*x[:, 1:].shape[:-1], 2), accumulation_dtype(x.dtype))
        return jnp.zeros_like(x[:, 1:]), zero_flow
    return _pad_frames(frames, *padding), _pad_frames(flows[span - 1], *padding)


def _pad_frames(x: Array, before: int, after: int) -> Array:
    return jnp.pad(x, ((0, 0), (before, after), (0, 0), (0, 0), (0, 0)))
