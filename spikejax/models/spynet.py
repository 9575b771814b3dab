"""Optical flow by SpyNet, and the flows between the frames of a clip (spec/VRT section 3; Ranjan and Black, 2017).

Flow vectors are (dx, dy) in pixels. `flow(reference, supporting)` warps the supporting picture onto the reference.
Names: `backward[k-1][:, t]` brings frame t+k to t, `forward[k-1][:, t]` brings frame t to t+k. All pairs of
neighbouring frames, in both directions, are one batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax import Array
from jaxtyping import Float

from spikejax.models.layers import Conv2D
from spikejax.models.warp import resize_bilinear, warp

LEVELS = 6
SCALES = (1, 2, 4, 8)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ClipFlows(NamedTuple):
    """The flows of a clip at one scale; entry k-1 of each tuple spans k frames and is [b, t-k, h, w, 2]."""

    backward: tuple[Array, ...]
    forward: tuple[Array, ...]


class PyramidLevel(nnx.Module):
    """The network of one pyramid level: 7x7 convolutions, 8-32-64-32-16-2."""

    def __init__(self, *, rngs: nnx.Rngs):
        widths = (8, 32, 64, 32, 16, 2)
        self.convolutions = nnx.List(
            Conv2D(width, width_next, 7, rngs=rngs) for width, width_next in zip(widths, widths[1:], strict=False)
        )

    def __call__(self, x: Float[Array, "n h w 8"]) -> Float[Array, "n h w 2"]:
        """What is to be added to the flow, of (reference, warped supporting, flow)."""
        for convolution in self.convolutions[:-1]:
            x = jax.nn.relu(convolution(x))
        return self.convolutions[-1](x)


class SpyNet(nnx.Module):
    """Coarse-to-fine flow over a pyramid of 6 levels."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.levels = nnx.List(PyramidLevel(rngs=rngs) for _ in range(LEVELS))

    def __call__(
        self, reference: Float[Array, "n h w 3"], supporting: Float[Array, "n h w 3"]
    ) -> tuple[Float[Array, "n _h _w 2"], ...]:
        """The flows at the scales 1, 1/2, 1/4 and 1/8, that warp `supporting` onto `reference`."""
        height, width = reference.shape[1:3]
        flows = self._pyramid_flows(reference, supporting)
        scaled = []
        for scale, flow in zip(SCALES, reversed(flows), strict=False):
            rows, columns = height // scale, width // scale
            unit = jnp.asarray([columns / flow.shape[2], rows / flow.shape[1]], flow.dtype).reshape(1, 1, 1, 2)
            scaled.append(resize_bilinear(flow, rows, columns) * unit)
        return tuple(scaled)

    def _pyramid_flows(self, reference: Array, supporting: Array) -> list[Array]:
        """The flow of every level, coarsest first, at the sizes of the padded picture's pyramid."""
        references, supportings = _pyramid(reference), _pyramid(supporting)
        # The published network starts from a flow of half the coarsest size and doubles it: zero, and so is its double.
        flow = jnp.zeros((*references[0].shape[:3], 2), reference.dtype)
        flows: list[Array] = []
        for level, picture, other in zip(self.levels, references, supportings, strict=True):
            if flows:
                flow = 2 * resize_bilinear(flow, *picture.shape[1:3], align_corners=True)
            warped = warp(other, flow, padding="border")
            flow = flow + level(jnp.concatenate([picture, warped, flow], axis=-1))
            flows.append(flow)
        return flows


def _pyramid(picture: Float[Array, "n h w 3"]) -> list[Array]:
    """Normalised pictures from 1/32 to full size, after resizing to multiples of 32."""
    height, width = (-(-size // 32) * 32 for size in picture.shape[1:3])
    # The constants are rounded to the picture's own precision, once.
    mean, std = (jnp.asarray(v, picture.dtype).reshape(1, 1, 1, 3) for v in (IMAGENET_MEAN, IMAGENET_STD))
    pyramid = [(resize_bilinear(picture, height, width) - mean) / std]
    for _ in range(LEVELS - 1):
        blocks = rearrange(pyramid[-1], "n (h y) (w x) c -> n h y w x c", y=2, x=2)
        pyramid.append(blocks.mean((2, 4)))
    return pyramid[::-1]


def clip_flows(spynet: SpyNet, clip: Float[Array, "b t h w 3"], reach: int) -> tuple[ClipFlows, ...]:
    """The flows of `clip` at the scales 1, 1/2, 1/4 and 1/8, between frames up to `reach` (1 to 3) apart."""
    batch = clip.shape[0]
    earlier, later = clip[:, :-1], clip[:, 1:]
    # The clips are the outermost axis of the batch, so that one that is split over devices stays split.
    references, supportings = (
        rearrange(jnp.stack(frames), "d b t h w c -> (b d t) h w c") for frames in ((earlier, later), (later, earlier))
    )
    flows = spynet(references, supportings)
    by_scale = []
    for flow in flows:
        backward, forward = rearrange(flow, "(b d t) h w c -> d b t h w c", d=2, b=batch)
        by_scale.append(_compose(backward, forward, reach))
    return tuple(by_scale)


def _compose(backward: Array, forward: Array, reach: int) -> ClipFlows:
    """Longer flows from those between neighbours: the flow to the frame in between, plus the rest seen through it."""
    backwards, forwards = [backward], [forward]
    for span in range(2, min(reach, backward.shape[1]) + 1):
        near, rest = backwards[-1][:, :-1], backward[:, span - 1 :]
        backwards.append(near + _warp_frames(rest, near))
        near, rest = forwards[-1][:, 1:], forward[:, : forward.shape[1] - span + 1]
        forwards.append(near + _warp_frames(rest, near))
    return ClipFlows(tuple(backwards), tuple(forwards))


def _warp_frames(image: Float[Array, "b t h w c"], flow: Float[Array, "b t h w 2"]) -> Array:
    return warp(image.reshape(-1, *image.shape[2:]), flow.reshape(-1, *flow.shape[2:])).reshape(image.shape)
