"""SpikeEncoder3D: features of the spike voxels at the scales of VRT.

Bins are channels, frames are the depth axis (docs/spike.md, section 1.2).
"""

from operator import call

from flax import nnx
from jaxtyping import Array, Float

from spikejax.models.layers import Conv3D
from spikejax.models.remat import remat_if


class ResidualBlock3D(nnx.Module):
    """relu(conv2(relu(conv1 x)) + x)."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        self.conv1 = Conv3D(features, features, rngs=rngs)
        self.conv2 = Conv3D(features, features, rngs=rngs)

    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The block's features."""
        return self.conv2(self.conv1(x, relu=True), added=x, relu=True)


class EncoderScale(nnx.Module):
    """A convolution to the scale's size and width, ReLU, and two residual blocks."""

    def __init__(self, features_in: int, features: int, *, stride: int, rngs: nnx.Rngs):
        self.entry = Conv3D(features_in, features, stride=stride, rngs=rngs)
        self.residual_blocks = nnx.List(ResidualBlock3D(features, rngs=rngs) for _ in range(2))

    def __call__(self, x: Float[Array, "b t h w i"]) -> Float[Array, "b t h2 w2 c"]:
        """The scale's features."""
        x = self.entry(x, relu=True)
        for block in self.residual_blocks:
            x = block(x)
        return x


class SpikeEncoder3D(nnx.Module):
    """A pyramid over the voxels: full size first, then half of the one before at each scale."""

    def __init__(self, bins: int, channels: tuple[int, ...], *, rngs: nnx.Rngs):
        """An encoder of voxels of `bins` bins, with so many features at each scale."""
        strides = (1, *(2,) * (len(channels) - 1))
        self.scales = nnx.List(
            EncoderScale(features_in, features, stride=stride, rngs=rngs)
            for features_in, features, stride in zip((bins, *channels), channels, strides, strict=False)
        )

    def __call__(
        self, voxels: Float[Array, "b t h w k"], *, recompute: bool = False
    ) -> list[Float[Array, "b _t _h _w _c"]]:
        """The features of every scale; with `recompute`, the backward pass computes what is within a scale again."""
        features = []
        for scale in self.scales:
            voxels = remat_if(recompute, call)(scale, voxels)
            features.append(voxels)
        return features
