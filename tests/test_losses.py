"""Losses against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spikejax.losses import charbonnier


def test_charbonnier_is_its_formula() -> None:
    """Catches a sum for a mean, or a constant that is not squared."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 1, 2, 4, 4, 3)).astype(np.float32)
    expected = np.mean(np.sqrt((a.astype(np.float64) - b) ** 2 + 1e-6))
    assert charbonnier(jnp.asarray(a), jnp.asarray(b)) == pytest.approx(expected, rel=1e-6)
    assert charbonnier(jnp.asarray(a), jnp.asarray(a), epsilon=0.01) == pytest.approx(0.01, rel=1e-6)


def test_charbonnier_of_equal_pictures_has_a_gradient() -> None:
    """Catches an epsilon that is lost, whose root has no derivative at 0."""
    picture = jnp.full((1, 2, 4, 4, 3), 0.5)
    gradient = jax.grad(lambda x: charbonnier(x, picture))(picture)
    np.testing.assert_array_equal(gradient, 0.0)


def test_charbonnier_of_bfloat16_is_float32() -> None:
    """Catches a loss that is rounded to bfloat16, whose steps beside 1 are 1/128."""
    one = jnp.ones((1, 2, 4, 4, 3), jnp.bfloat16)
    value = charbonnier(one, jnp.zeros_like(one))
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(np.sqrt(1 + 1e-6), abs=5e-7)
