"""Losses between restored and sharp pictures: JAX, any float dtype, pictures in [0, 1], one scalar out.

Every loss takes (prediction, target, *, its constants), so that a training step can add up several.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


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
