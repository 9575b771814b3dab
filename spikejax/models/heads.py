"""From features to pictures: restoration at the same size, super-resolution, interpolation (docs/vrt.md, section 2)."""

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax import Array
from jaxtyping import Float

from spikejax.models.layers import Conv2D, Linear
from spikejax.models.warp import resize_bilinear

UPSCALING_FEATURES = 64
FUSED_FEATURES = 64


class PictureHead(nnx.Module):
    """The difference from the input picture."""

    def __init__(self, features: int, *, channels: int, rngs: nnx.Rngs):
        self.conv_last = Conv2D(features, channels, rngs=rngs)

    def __call__(
        self, features: Float[Array, "b t h w i"], picture: Float[Array, "b t h w c"]
    ) -> Float[Array, "b t h w c"]:
        """The restored pictures."""
        return picture + self.conv_last(features).astype(picture.dtype)


class UpscalingHead(nnx.Module):
    """The difference from the bilinearly enlarged input picture, by convolutions and pixel shuffles."""

    def __init__(self, features: int, *, scale: int, channels: int, rngs: nnx.Rngs):
        doublings = int(math.log2(scale))
        if 2**doublings == scale:
            self.factors = (2,) * doublings
        elif scale == 3:
            self.factors = (3,)
        else:
            raise ValueError(f"upscale must be 3 or a power of 2, not {scale}")
        width = UPSCALING_FEATURES
        self.conv_before_upsample = Conv2D(features, width, rngs=rngs)
        self.shuffles = nnx.List(Conv2D(width, width * factor**2, rngs=rngs) for factor in self.factors)
        self.conv_after_upsample = Conv2D(width, width, rngs=rngs)
        self.conv_last = Conv2D(width, channels, rngs=rngs)

    def __call__(
        self, features: Float[Array, "b t h w i"], picture: Float[Array, "b t h w c"]
    ) -> Float[Array, "b t h2 w2 c"]:
        """The restored pictures, enlarged."""
        x = jax.nn.leaky_relu(self.conv_before_upsample(features), 0.01)
        for factor, convolution in zip(self.factors, self.shuffles, strict=True):
            x = rearrange(convolution(x), "b t h w (c y x) -> b t (h y) (w x) c", y=factor, x=factor)
            x = jax.nn.leaky_relu(x, 0.1)
        x = self.conv_last(self.conv_after_upsample(x)).astype(picture.dtype)
        enlarged = resize_bilinear(picture.reshape(-1, *picture.shape[2:]), *x.shape[2:4])
        return enlarged.reshape(x.shape) + x


class InterpolationHead(nnx.Module):
    """The frame in the middle between all of a clip's frames."""

    def __init__(self, features: int, *, frames: int, channels: int, rngs: nnx.Rngs):
        self.frames = frames
        self.linear_fuse = Linear(features * frames, FUSED_FEATURES, rngs=rngs)
        self.conv_last = Conv2D(FUSED_FEATURES, channels, 7, padding=0, rngs=rngs)

    def __call__(self, features: Float[Array, "b t h w i"]) -> Float[Array, "b 1 h w c"]:
        """The frame in between."""
        x = rearrange(features, "b t h w c -> b h w (t c)")
        x = jax.nn.leaky_relu(self.linear_fuse(x), 0.2)
        x = jnp.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
        return self.conv_last(x)[:, jnp.newaxis]
