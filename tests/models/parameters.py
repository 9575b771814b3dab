"""Parameters of layers under test."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from convert.convertible_networks import parameter_shapes, restorer_rules
from convert.rules import find_counterparts
from convert.transfer import from_torch
from convert.vrt_keys import attention_buffers
from spikejax.models.restorer import Restorer
from spikejax.models.rngs import make_rngs

Layer = TypeVar("Layer", bound=nnx.Module)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers, float64."""
    return np.random.default_rng(seed).normal(size=shape)


def build_random(make: Callable[[nnx.Rngs], Layer], *, size: float = 0.3) -> Layer:
    """A layer with random float32 numbers in the place of all parameters, those that begin at zero or one too."""
    definition, parameters = nnx.split(nnx.eval_shape(lambda: make(make_rngs(0))))
    leaves, structure = jax.tree.flatten(parameters)
    numbers = [jnp.asarray(size * normal(*leaf.shape, seed=seed), jnp.float32) for seed, leaf in enumerate(leaves)]
    return nnx.merge(definition, jax.tree.unflatten(structure, numbers))


def restorer_from_torch(model: Restorer, arrays: Mapping[str, Any]) -> nnx.State:
    """The parameters of `model`, which may be shapes alone, with the values of a PyTorch state dict."""
    counterparts = find_counterparts(parameter_shapes(model), restorer_rules(model))
    filled = from_torch(counterparts, arrays, buffers=attention_buffers(model, counterparts), network="the network")
    state = nnx.state(model, nnx.Param)
    return nnx.from_flat_state(
        [(path, variable.replace(filled[".".join(map(str, path))])) for path, variable in nnx.to_flat_state(state)]
    )


def values(*parameters: nnx.Param) -> list[np.ndarray]:
    """The parameters in float64."""
    return [np.asarray(parameter[...], np.float64) for parameter in parameters]


def linear(layer: nnx.Module, x: np.ndarray) -> np.ndarray:
    """What a Linear computes, in float64."""
    kernel, bias = values(layer.kernel, layer.bias)
    return x @ kernel + bias
