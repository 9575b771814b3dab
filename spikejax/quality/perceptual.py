"""The networks of perceptual losses and metrics, from weights files (`spikejax convert to-jax` makes them)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, UInt8

from spikejax.errors import InputError
from spikejax.io.weights import MismatchError, Weights, compare_params, flatten_params, nest_params, read_weights
from spikejax.models.lpips import LPIPS, Backbone
from spikejax.models.rngs import make_rngs
from spikejax.models.vgg import VGG, Name


def load_vgg(path: str | Path, name: Name, *, layers: tuple[str, ...] = ("relu3_3",)) -> VGG:
    """A VGG with the weights of a file.

    Args:
        path: see `spikejax.io.weights.read_weights`.
        name: which VGG it has to hold.
        layers: whose features are wanted; the weights of what comes after are left out.

    Raises:
        InputError: there is no such file, it is damaged, or it holds another network.
    """
    weights = read_weights(path)
    if weights.kind != name:
        raise InputError(f"expected weights of {name}, found {weights.kind}: {path}")
    return _fill(lambda: VGG(name, layers=layers, rngs=make_rngs(0)), weights, path)


def load_lpips(path: str | Path) -> LPIPS:
    """The LPIPS of a file, by AlexNet or VGG.

    Raises:
        InputError: there is no such file, it is damaged, or it holds another network.
    """
    weights = read_weights(path)
    kinds = {f"lpips_{backbone}": backbone for backbone in get_args(Backbone)}
    if weights.kind not in kinds:
        raise InputError(f"expected weights of {' or '.join(kinds)}, found {weights.kind}: {path}")
    return _fill(lambda: LPIPS(kinds[weights.kind], rngs=make_rngs(0)), weights, path)


def lpips_distance(network: LPIPS) -> Callable[[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]], float]:
    """LPIPS as a function of two 8-bit pictures; it is compiled once for each size of pictures."""
    graph, params = nnx.split(network)

    @jax.jit
    def distance(params: nnx.State, a: jax.Array, b: jax.Array) -> Float[jax.Array, ""]:
        a, b = (jnp.asarray(picture, jnp.float32)[jnp.newaxis] / 255 for picture in (a, b))
        return nnx.merge(graph, params)(a, b)[0]

    def measure(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"]) -> float:
        return float(distance(params, a, b))

    return measure


def _fill(make: Callable[[], Any], weights: Weights, path: str | Path) -> Any:
    """The network that `make` makes, with those of the weights that have a place in it."""
    graph, state = nnx.split(nnx.eval_shape(make))
    given = flatten_params(weights.params)
    wanted = flatten_params(nnx.to_pure_dict(state))
    if problems := [problem for problem in compare_params(given, wanted) if problem.kind != "unexpected"]:
        raise MismatchError(f"weights of {weights.kind}", problems, path)
    return nnx.merge(graph, nest_params({name: jnp.asarray(given[name], jnp.float32) for name in wanted}))
