"""The heads against loops over pixels: restoration, super-resolution by 2, 3 and 4, interpolation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.models.heads import InterpolationHead, PictureHead, UpscalingHead
from spikejax.models.layers import Conv2D
from spikejax.models.restorer import Restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.vrt import VRTConfig
from tests.models import loops
from tests.models.parameters import build_random, linear, normal, values


def convolve(layer: Conv2D, x: np.ndarray) -> np.ndarray:
    """What a Conv2D computes of images [n, h, w, c], in float64."""
    return loops.convolution(x, *values(layer.kernel, layer.bias))


def leaky_relu(x: np.ndarray, slope: float) -> np.ndarray:
    """`x`, its negative numbers multiplied by `slope`."""
    return np.where(x > 0, x, slope * x)


def shuffle(x: np.ndarray, factor: int) -> np.ndarray:
    """Pixels from channels that are ordered (channel, row, column)."""
    count, height, width, channels = x.shape
    shuffled = np.zeros((count, height * factor, width * factor, channels // factor**2))
    for row, column, channel in np.ndindex(*shuffled.shape[1:]):
        source = (channel * factor + row % factor) * factor + column % factor
        shuffled[:, row, column, channel] = x[:, row // factor, column // factor, source]
    return shuffled


def test_restored_picture_is_the_input_and_a_convolution() -> None:
    """Catches a picture that is not added back, or added twice."""
    features, picture = normal(1, 2, 3, 4, 5), normal(1, 2, 3, 4, 3, seed=1)
    with jax.enable_x64(True):
        head = build_random(lambda rngs: PictureHead(5, channels=3, rngs=rngs))
        answer = head(jnp.asarray(features), jnp.asarray(picture))
    np.testing.assert_allclose(answer[0], picture[0] + convolve(head.conv_last, features[0]), atol=1e-11)


@pytest.mark.parametrize(("scale", "factors"), [(2, (2,)), (3, (3,)), (4, (2, 2))])
def test_enlarged_picture_is_shuffled_and_added(scale: int, factors: tuple[int, ...]) -> None:
    """Catches a shuffle in another order, a factor of 3 by doublings, another slope or enlargement."""
    features, picture = normal(1, 2, 2, 3, 5), normal(1, 2, 2, 3, 3, seed=1)
    with jax.enable_x64(True):
        head = build_random(lambda rngs: UpscalingHead(5, scale=scale, channels=3, rngs=rngs), size=0.1)
        answer = np.asarray(jax.jit(head)(jnp.asarray(features), jnp.asarray(picture)))
    x = leaky_relu(convolve(head.conv_before_upsample, features[0]), 0.01)
    for factor, convolution in zip(factors, head.shuffles, strict=True):
        x = leaky_relu(shuffle(convolve(convolution, x), factor), 0.1)
    x = convolve(head.conv_last, convolve(head.conv_after_upsample, x))
    x += loops.resize(picture[0], 2 * scale, 3 * scale, align_corners=False)
    np.testing.assert_allclose(answer[0], x, atol=1e-10)


def test_the_frame_in_between() -> None:
    """Catches frames joined channel by channel, another padding than reflection, or zeros around the picture."""
    features = normal(1, 2, 5, 6, 4)
    with jax.enable_x64(True):
        head = build_random(lambda rngs: InterpolationHead(4, frames=2, channels=3, rngs=rngs))
        answer = np.asarray(jax.jit(head)(jnp.asarray(features)))
    joined = np.concatenate([features[0, 0], features[0, 1]], axis=-1)
    fused = leaky_relu(linear(head.linear_fuse, joined), 0.2)
    padded = np.pad(fused, ((3, 3), (3, 3), (0, 0)), mode="reflect")
    pictures = convolve(head.conv_last, padded[np.newaxis])[0, 3:-3, 3:-3]
    np.testing.assert_allclose(answer[0], pictures[np.newaxis], atol=1e-11)


class Enlarge(nnx.Module):
    """In the place of a VRT: every pixel becomes a square of its colour."""

    def __init__(self, config: VRTConfig):
        self.config = config

    def __call__(self, clip: jax.Array, *, beside: None, fusion: None, key: None) -> jax.Array:
        """The enlarged clip."""
        return clip.repeat(self.config.upscale, axis=2).repeat(self.config.upscale, axis=3)


def test_any_size_is_enlarged() -> None:
    """Catches a crop that forgets the scale: the padding of an odd size would stay, or the picture be cut."""
    config = VRTConfig(upscale=3, window=(2, 4, 4), depths=(1,) * 8, dims=(8,) * 8, heads=(2,) * 8, deformable_groups=2)
    restorer = nnx.eval_shape(lambda: Restorer(config, None, rngs=make_rngs(0)))
    restorer.vrt = Enlarge(config)
    clip = normal(1, 3, 35, 41, 3)
    restored = restorer(jnp.asarray(clip, jnp.float32))
    np.testing.assert_array_equal(restored, clip.astype(np.float32).repeat(3, axis=2).repeat(3, axis=3))


@pytest.mark.parametrize("scale", (5, 6))
def test_factors_without_a_shuffle_are_refused(scale: int) -> None:
    """Catches a factor that is silently rounded to a power of two."""
    with pytest.raises(ValueError, match=f"upscale must be 3 or a power of 2, not {scale}"):
        UpscalingHead(4, scale=scale, channels=3, rngs=make_rngs(0))
