"""Losses between restored and sharp pictures: JAX, any float dtype, pictures in [0, 1], one scalar out.

Every loss takes (prediction, target, *, its constants), so that a training step can add up several.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from spikejax.models.vgg import VGG, normalize_imagenet


def charbonnier(
    prediction: Float[Array, "*shape"], target: Float[Array, "*shape"], *, epsilon: float = 1e-3
) -> Float[Array, ""]:
    """Returns the mean over all elements of sqrt(difference^2 + epsilon^2), in float32 or better.

    A smooth absolute error: quadratic below `epsilon`, linear above; its smallest value is `epsilon`, not 0. The form
    of the spike design, where the constant is squared (epsilon 1e-3); the published VRT adds 1e-9 unsquared, which is
    `epsilon=1e-9 ** 0.5` here.

    Args:
        prediction: restored pictures.
        target: sharp pictures.
        epsilon: where the parabola turns into the straight line, in units of the pictures' range.
    """
    # Never in bfloat16, which cannot tell 1 from 1 + epsilon.
    dtype = jnp.float64 if prediction.dtype == jnp.float64 else jnp.float32
    difference = prediction.astype(dtype) - target.astype(dtype)
    return jnp.mean(jnp.sqrt(jnp.square(difference) + epsilon**2))


def perceptual(
    prediction: Float[Array, "*batch h w 3"], target: Float[Array, "*batch h w 3"], *, network: VGG
) -> Float[Array, ""]:
    """Returns the mean absolute difference of VGG's features, over all layers that `network` gives, in float32.

    The frames of clips are pictures like any other; what VGG sees is normalised with ImageNet's mean and deviation.

    Args:
        prediction: restored pictures.
        target: sharp pictures.
        network: the VGG, whose weights are not trained.

    References:
        Johnson et al., Perceptual Losses for Real-Time Style Transfer and Super-Resolution, 2016.
    """
    features = (
        network(normalize_imagenet(pictures.reshape(-1, *pictures.shape[-3:]).astype(jnp.float32)))
        for pictures in (prediction, target)
    )
    differences = [jnp.abs(a - b).mean() for a, b in zip(*features, strict=True)]
    return sum(differences[1:], differences[0]) / len(differences)
