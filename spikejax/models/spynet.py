"""Optical flow by SpyNet (docs/vrt.md, section 3; Ranjan and Black, 2017).

Flow vectors are (dx, dy) in pixels. `flow(reference, supporting)` warps the supporting picture onto the reference.
"""

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax import Array
from jaxtyping import Float

from spikejax.models import imagenet
from spikejax.models.layers import Conv2D
from spikejax.models.warp import resize_bilinear, warp

LEVELS = 6
SCALES = (1, 2, 4, 8)


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
    mean, std = (jnp.asarray(v, picture.dtype).reshape(1, 1, 1, 3) for v in (imagenet.MEAN, imagenet.STD))
    pyramid = [(resize_bilinear(picture, height, width) - mean) / std]
    for _ in range(LEVELS - 1):
        blocks = rearrange(pyramid[-1], "n (h y) (w x) c -> n h y w x c", y=2, x=2)
        pyramid.append(blocks.mean((2, 4)))
    return pyramid[::-1]
