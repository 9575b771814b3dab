"""LPIPS, a distance between pictures that was fitted to what people find similar (version 0.1).

References:
    Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018.
    Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (the AlexNet of torchvision).
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from spikejax.errors import InputError
from spikejax.models.layers import Conv2D
from spikejax.models.vgg import VGG

Backbone = Literal["alex", "vgg"]
# The published metric's own normalisation of pictures in [-1, 1].
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_VGG_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
# Smaller pictures leave nothing for the last layers to see.
_MIN_SIDE = {"alex": 31, "vgg": 16}


class AlexNet(nnx.Module):
    """The five convolutions of AlexNet."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.convolutions = nnx.List(
            [
                Conv2D(3, 64, 11, stride=4, padding=2, rngs=rngs),
                Conv2D(64, 192, 5, rngs=rngs),
                Conv2D(192, 384, rngs=rngs),
                Conv2D(384, 256, rngs=rngs),
                Conv2D(256, 256, rngs=rngs),
            ]
        )

    def __call__(self, pictures: Float[Array, "n h w 3"]) -> tuple[Float[Array, "n _h _w _c"], ...]:
        """The features of every convolution after its ReLU."""
        x, features = pictures, []
        for index, convolution in enumerate(self.convolutions):
            if index in (1, 2):
                x = nnx.max_pool(x, (3, 3), strides=(2, 2))
            x = jax.nn.relu(convolution(x))
            features.append(x)
        return tuple(features)


class Head(nnx.Module):
    """How much each feature of a layer counts."""

    def __init__(self, features: int):
        self.kernel = nnx.Param(jnp.full(features, 1 / features), axes=("embed",))

    def __call__(self, differences: Float[Array, "n h w c"]) -> Float[Array, " n"]:
        """The weighted sum over features, its mean over pixels."""
        return jnp.einsum("nhwc,c->nhw", differences, self.kernel[...].astype(differences.dtype)).mean((1, 2))


class LPIPS(nnx.Module):
    """The distance by a backbone's features and a head for each of their layers."""

    def __init__(self, backbone: Backbone, *, rngs: nnx.Rngs):
        self.name = backbone
        self.backbone = AlexNet(rngs=rngs) if backbone == "alex" else VGG("vgg16", layers=_VGG_LAYERS, rngs=rngs)
        self.heads = nnx.List(Head(width) for width in _WIDTHS[backbone])

    def __call__(self, a: Float[Array, "n h w 3"], b: Float[Array, "n h w 3"]) -> Float[Array, " n"]:
        """The distance of each pair of pictures in [0, 1]: 0 for equal ones, about 1 for very different ones.

        Raises:
            InputError: the pictures are too small.
        """
        height, width = a.shape[1:3]
        if min(height, width) < _MIN_SIDE[self.name]:
            limit = _MIN_SIDE[self.name]
            raise InputError(f"expected pictures of at least {limit}x{limit} for LPIPS, found {height}x{width}")
        pictures = jnp.concatenate([a, b])
        shift, scale = (jnp.asarray(v, pictures.dtype).reshape(1, 1, 1, 3) for v in (SHIFT, SCALE))
        distances = []
        for head, features in zip(self.heads, self.backbone((2 * pictures - 1 - shift) / scale), strict=True):
            unit_a, unit_b = jnp.split(_unit(features), 2)
            distances.append(head(jnp.square(unit_a - unit_b)))
        return sum(distances[1:], distances[0])


def _unit(features: Array) -> Array:
    """The features of every pixel divided by their length."""
    squares = jnp.square(features).sum(-1, keepdims=True)
    # Below the epsilon the root has no use, and at 0 no derivative.
    return features / (jnp.sqrt(jnp.maximum(squares, _EPSILON**2)) + _EPSILON)
