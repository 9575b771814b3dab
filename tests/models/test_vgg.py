"""VGG against loops over pixels, and the colours of ImageNet (spikejax.models.imagenet)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.models.rngs import make_rngs
from spikejax.models.vgg import VGG, normalize_imagenet
from tests.models import loops
from tests.models.parameters import build_random, normal, values


def max_pool(x: np.ndarray) -> np.ndarray:
    """The largest of every 2 x 2 pixels of images [n, h, w, c]; an odd row or column at the end is left out."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    pooled = np.zeros((len(x), height, width, x.shape[3]))
    for row, column in np.ndindex(height, width):
        pooled[:, row, column] = x[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].max((1, 2))
    return pooled


def test_features_are_those_of_the_layers_asked_for() -> None:
    """Catches a block with a convolution too few, pooling at another place, features before the ReLU."""
    pictures = normal(1, 5, 6, 3)
    with jax.enable_x64(True):
        network = build_random(lambda rngs: VGG("vgg19", layers=("relu1_2", "relu3_3"), rngs=rngs), size=0.05)
        answers = jax.jit(lambda network, x: network(x))(network, jnp.asarray(pictures))
    x, expected = pictures, []
    convolutions = iter(network.convolutions)
    for depth in (2, 2, 3):
        for _ in range(depth):
            layer = next(convolutions)
            x = np.maximum(loops.convolution(x, *values(layer.kernel, layer.bias)), 0)
        expected.append(x)
        x = max_pool(x)
    assert next(convolutions, None) is None
    np.testing.assert_allclose(answers[0], expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(answers[1], expected[2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "layer", "widths"),
    # Torchvision's configurations D and E, without the poolings.
    [
        ("vgg16", "relu5_3", "64 64 128 128 256 256 256 512 512 512 512 512 512"),
        ("vgg19", "relu5_4", "64 64 128 128 256 256 256 256 512 512 512 512 512 512 512 512"),
    ],
)
def test_whole_networks_have_the_originals_parameters(name: Any, layer: str, widths: str) -> None:
    """Catches a width, depth or size of kernel that no weights fit."""
    network = nnx.eval_shape(lambda: VGG(name, layers=(layer,), rngs=make_rngs(0)))
    features = [3, *map(int, widths.split())]
    expected = [(3, 3, *pair) for pair in zip(features, features[1:], strict=False)]
    assert [layer.kernel.shape for layer in network.convolutions] == expected
    assert [layer.bias.shape for layer in network.convolutions] == [shape[-1:] for shape in expected]


def test_layer_that_does_not_exist() -> None:
    """Catches a mistyped layer that ends in a KeyError, or is left out."""
    with pytest.raises(ValueError, match="layers of vgg16 must be some of relu1_1, .*, not relu3_4"):
        VGG("vgg16", layers=("relu3_4",), rngs=make_rngs(0))


def test_normalisation_is_imagenets() -> None:
    """Catches mean and deviation in another order of channels."""
    colour = np.array([0.485, 0.456, 0.406]) + np.array([0.229, -0.224, 0.45])
    with jax.enable_x64(True):
        answer = normalize_imagenet(jnp.asarray(colour.reshape(1, 1, 1, 3)))
    np.testing.assert_allclose(answer[0, 0, 0], [1, -1, 2], atol=1e-12)
