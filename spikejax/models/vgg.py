"""VGG's features, which perceptual losses and metrics compare (Simonyan and Zisserman, 2015).

Pictures are [n, h, w, 3]. Layers have the names they are known by: "relu3_3" is the third convolution of the third
block, after its ReLU. Weights are those of the networks trained to classify ImageNet.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from spikejax.models import imagenet
from spikejax.models.layers import Conv2D

Name = Literal["vgg16", "vgg19"]
_DEPTHS: dict[Name, tuple[int, ...]] = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)  # of the five blocks
LAYERS: dict[Name, tuple[str, ...]] = {
    name: tuple(f"relu{block}_{number}" for block, depth in enumerate(depths, 1) for number in range(1, depth + 1))
    for name, depths in _DEPTHS.items()
}


class VGG(nnx.Module):
    """The convolutions of a VGG, as far as they are needed."""

    def __init__(self, name: Name, *, layers: tuple[str, ...], rngs: nnx.Rngs):
        """A network with random weights.

        Args:
            name: which VGG.
            layers: whose features are wanted, in the network's order; it ends with the last of them.
            rngs: seeds of the weights.
        """
        names = LAYERS[name]
        if not layers or any(layer not in names for layer in layers):
            raise ValueError(f"layers of {name} must be some of {', '.join(names)}, not {', '.join(layers)}")
        self.layers, self.names = layers, names[: max(map(names.index, layers)) + 1]
        widths = (3, *(_WIDTHS[int(layer[len("relu")]) - 1] for layer in self.names))
        self.convolutions = nnx.List(
            Conv2D(width, width_next, rngs=rngs) for width, width_next in zip(widths, widths[1:], strict=False)
        )

    def __call__(self, pictures: Float[Array, "n h w 3"]) -> tuple[Float[Array, "n _h _w _c"], ...]:
        """The features of every layer asked for; `pictures` are normalised as the weights expect it."""
        x, features = pictures, []
        for layer, convolution in zip(self.names, self.convolutions, strict=True):
            if layer.endswith("_1") and layer != "relu1_1":
                x = nnx.max_pool(x, (2, 2), strides=(2, 2))
            x = jax.nn.relu(convolution(x))
            if layer in self.layers:
                features.append(x)
        return tuple(features)


def normalize_imagenet(pictures: Float[Array, "n h w 3"]) -> Float[Array, "n h w 3"]:
    """Pictures in [0, 1] with ImageNet's mean subtracted, in units of its standard deviation."""
    mean, std = (jnp.asarray(v, pictures.dtype).reshape(1, 1, 1, 3) for v in (imagenet.MEAN, imagenet.STD))
    return (pictures - mean) / std
