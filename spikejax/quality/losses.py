"""What training lowers: distances of restored from sharp clips, and the table of the terms that a run adds up.

JAX, any float dtype, pictures in [0, 1], one scalar out, in float32 or better.

To add a term: an entry of LOSS_TERMS and what it needs in the `loss` section of `spikejax.config.defaults`; the update
sums the terms, and every curve and message names them. Or one of your own without touching this file:
`loss.terms = ("charbonnier", "my_losses.py:edges")`, where `edges` is a factory like those here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.models.rngs import make_rngs
from spikejax.models.vgg import VGG, Name, normalize_imagenet
from spikejax.quality.perceptual import load_vgg

# input, sharp [b,t,h,w,3] in [0,1] (see spikejax.data.datasets.degradation for other tasks than deblurring); voxels
# [b,t,h',w',k] if the network takes spikes
Batch = Mapping[str, Array]
# (restored clips, the batch that they were restored from) -> a weighted part of the loss
Term = Callable[[Float[Array, "b t h w 3"], Batch], Float[Array, ""]]


@dataclasses.dataclass(frozen=True)
class WeightsTerm:
    """A term with weights of its own, which the compiled update is given and does not train.

    Attributes:
        value: (weights, restored clips, batch) -> a weighted part of the loss.
        shapes: the weights as ShapeDtypeStructs, for those who plan and have no file.
        load: reads the weights.
    """

    value: Callable[[Any, Array, Batch], Float[Array, ""]]
    shapes: Any
    load: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A term that is listed but does not act.

    Attributes:
        reason: said when the run begins; "" = nothing is said.
    """

    reason: str = ""


# (the `loss` section of the configuration) -> what it adds
TermFactory = Callable[[ConfigDict], Term | WeightsTerm | LeftOut]


def charbonnier(
    prediction: Float[Array, "*shape"], target: Float[Array, "*shape"], *, epsilon: float = 1e-3
) -> Float[Array, ""]:
    """The mean over all elements of sqrt(difference^2 + epsilon^2), in float32 or better.

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
    """The mean absolute difference of VGG's features, over all layers that `network` gives, in float32.

    The frames of clips are pictures like any other; VGG is given them normalised by ImageNet's mean and deviation.

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


def charbonnier_term(config: ConfigDict) -> Term:
    """Charbonnier's distance from the sharp clips."""
    epsilon = config.charbonnier_epsilon
    return lambda restored, batch: charbonnier(restored, batch["sharp"], epsilon=epsilon)


def perceptual_term(config: ConfigDict) -> WeightsTerm | LeftOut:
    """The distance of VGG's features (relu3_3) from those of the sharp clips, where there are weights for it.

    Raises:
        InputError: the network does not exist.
    """
    name, path, weight = config.perceptual_network, config.perceptual_weights_file, config.perceptual_weight
    if name not in get_args(Name):
        raise InputError(f"loss.perceptual_network: expected {' or '.join(get_args(Name))}, found {name!r}")
    if not weight:
        return LeftOut()
    if not path:
        return LeftOut(
            f"loss: without its perceptual term, loss.perceptual_weights_file names no weights of {name} "
            "(spikejax convert to-jax makes them)"
        )
    graph, shapes = nnx.split(nnx.eval_shape(lambda: VGG(name, layers=("relu3_3",), rngs=make_rngs(0))))

    def value(params: Any, restored: Array, batch: Batch) -> Array:
        return weight * perceptual(restored, batch["sharp"], network=nnx.merge(graph, params))

    return WeightsTerm(
        value,
        shapes=nnx.to_pure_dict(shapes),
        load=lambda: nnx.to_pure_dict(nnx.state(load_vgg(path, name, layers=("relu3_3",)))),
    )


LOSS_TERMS: dict[str, TermFactory] = {
    "charbonnier": charbonnier_term,
    "perceptual": perceptual_term,
}


def acting_terms(config: ConfigDict) -> list[str]:
    """The names of the terms that act; of code that the configuration names, which is not run, all are taken to.

    Args:
        config: the `loss` section.
    """
    return [
        name for name in config.terms if name not in LOSS_TERMS or not isinstance(LOSS_TERMS[name](config), LeftOut)
    ]


# Name -> (restored, batch) -> weighted scalar. Each is a `jax.tree_util.Partial`, so the whole is a tree whose leaves
# are the weights of its terms: arrays, or ShapeDtypeStructs when a plan is made.
Loss = Mapping[str, jax.tree_util.Partial]


def as_loss(terms: Mapping[str, Term | WeightsTerm], *, abstract: bool = False) -> Loss:
    """Terms as what the update takes.

    Args:
        terms: by the names that curves and messages call them.
        abstract: whether weights are given as their shapes and no file is read.
    """
    return {
        name: jax.tree_util.Partial(term.value, term.shapes if abstract else term.load())
        if isinstance(term, WeightsTerm)
        else jax.tree_util.Partial(term)
        for name, term in terms.items()
    }


def evaluate_terms(loss: Loss, restored: Array, batch: Batch) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The loss, which is the sum of its terms in their order, and each of them by its name.

    Raises:
        InputError: a term is not a scalar.
    """
    values = {name: term(restored, batch) for name, term in loss.items()}
    for name, value in values.items():
        if jnp.shape(value) != ():
            raise InputError(f"loss.terms: expected a scalar of {name}, found an array {jnp.shape(value)}")
    first, *others = values.values()
    return sum(others, first), values
