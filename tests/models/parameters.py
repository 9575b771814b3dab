"""Parameters of layers under test."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Layer = TypeVar("Layer", bound=nnx.Module)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers, float64."""
    return np.random.default_rng(seed).normal(size=shape)


def build_random(make: Callable[[nnx.Rngs], Layer], *, size: float = 0.3) -> Layer:
    """A layer with random float32 numbers in the place of all parameters, those that begin at zero or one too."""
    definition, parameters = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    leaves, structure = jax.tree.flatten(parameters)
    numbers = [jnp.asarray(size * normal(*leaf.shape, seed=seed), jnp.float32) for seed, leaf in enumerate(leaves)]
    return nnx.merge(definition, jax.tree.unflatten(structure, numbers))


def values(*parameters: nnx.Param) -> list[np.ndarray]:
    """The parameters in float64."""
    return [np.asarray(parameter[...], np.float64) for parameter in parameters]


def linear(layer: nnx.Module, x: np.ndarray) -> np.ndarray:
    """What a Linear computes, in float64."""
    kernel, bias = values(layer.kernel, layer.bias)
    return x @ kernel + bias
