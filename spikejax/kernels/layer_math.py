"""What layers and their kernels compute alike: the norm's epsilon, and GELU with derivatives that lower in kernels."""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

LAYER_NORM_EPSILON = 1e-5
# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: to 1.5e-7.
_ERF = 0.3275911, (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


@jax.custom_vjp
def gelu(x: Array) -> Array:
    """The exact GELU of float32."""
    return x * _share_below(x)


def _share_below(x: Array) -> Array:
    return 0.5 * (1.0 + lax.erf(x * 0.5**0.5))


def _bell(x: Array) -> Array:
    return jnp.exp(-0.5 * x * x)


def _density(bell: Array) -> Array:
    return bell * (2 * math.pi) ** -0.5


# JAX's own derivative of erf has an operation that Mosaic does not know in JAX 0.12.
gelu.defvjp(lambda x: (gelu(x), x), lambda x, dy: (dy * (_share_below(x) + x * _density(_bell(x))),))


def gelu_and_slope(x: Array) -> tuple[Array, Array]:
    """GELU to 6e-7, and its derivative, where there is no erf: in Triton."""
    step, coefficients = _ERF
    bell = _bell(x)
    t = 1.0 / (1.0 + step * 0.5**0.5 * jnp.abs(x))
    polynomial = jnp.zeros_like(t)
    for coefficient in reversed(coefficients):
        polynomial = (polynomial + coefficient) * t
    beyond = 0.5 * polynomial * bell  # of the normal distribution, above |x|
    below = jnp.where(x < 0, beyond, 1.0 - beyond)
    return x * below, below + x * _density(bell)
