"""What is computed again has the same values and gradients, and is not stored."""

from operator import call

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from spikejax.models.layers import GatedMLP
from spikejax.models.remat import remat_if
from tests.models.parameters import build_random, normal


def saved_numbers(recompute: bool) -> tuple[int, list[np.ndarray]]:
    """How many numbers the forward pass keeps for the backward pass, and the gradients of parameters and input."""
    definition, parameters = nnx.split(build_random(lambda rngs: GatedMLP(3, 64, rngs=rngs)))
    x = jnp.asarray(normal(5, 3), jnp.float32)

    def loss(parameters: nnx.State, x: Array) -> Array:
        return jnp.square(remat_if(recompute, call)(nnx.merge(definition, parameters), x)).sum()

    _, back = jax.vjp(loss, parameters, x)
    gradients = back(jnp.float32(1))
    return sum(leaf.size for leaf in jax.tree.leaves(back)), [np.asarray(leaf) for leaf in jax.tree.leaves(gradients)]


def test_what_is_computed_again_is_not_stored() -> None:
    """Catches a switch that stores as much as before, gradients that change, and parameters that get none."""
    (stored, gradients), (fewer, again) = saved_numbers(False), saved_numbers(True)
    # Of 5 x 64 hidden features there are at least two arrays less.
    assert fewer <= stored - 2 * 5 * 64
    assert len(again) == len(gradients) == 7
    for a, b in zip(again, gradients, strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_any_function_of_a_module() -> None:
    """Catches a function that is left out, or called without the module or its other inputs."""
    mlp = build_random(lambda rngs: GatedMLP(3, 4, rngs=rngs))
    x = jnp.asarray(normal(5, 3), jnp.float32)

    def doubled(module: GatedMLP, x: Array, offset: Array) -> Array:
        return 2 * module(x) + offset

    expected = 2 * mlp(x) + 1
    for recompute in (False, True):
        np.testing.assert_allclose(remat_if(recompute, doubled)(mlp, x, jnp.float32(1)), expected, rtol=1e-6)
