"""The precision of float32 products: that every program is traced with the one that was asked for."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from spikejax.config.keys import KEYS
from spikejax.config.value_rules import OneOf
from spikejax.errors import InputError
from spikejax.inference.exported_network import export_network
from spikejax.inference.precision import PRECISIONS, check_precision
from spikejax.inference.restored_stream import ClipNetwork
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.models.flows import clip_flows
from spikejax.models.restorer import Restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.spynet import SpyNet
from spikejax.models.traits import NetworkTraits
from spikejax.training.objective import make_loss
from spikejax.training.program import describe_program
from spikejax.training.step import batch_shapes
from tests.stand_ins import build_stand_in, tiny_config

TILE = Extent(2, 16, 16)


def precisions_of(jaxpr: Any) -> Iterator[Any]:
    """Of every product and convolution in it."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation.params["precision"]
        for value in equation.params.values():
            for entry in value if isinstance(value, tuple | list) else (value,):
                if hasattr(getattr(entry, "jaxpr", entry), "eqns"):
                    yield from precisions_of(entry)


def both(precision: str) -> tuple[lax.Precision, lax.Precision]:
    """As a product has it, of each operand."""
    return (lax.Precision(precision),) * 2


def product(clip: jax.Array, voxels: None = None, *, key: None = None) -> jax.Array:
    """A network of one product, of every pixel's colours."""
    return clip @ jnp.eye(3, dtype=clip.dtype)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_training_computes_as_its_key_says(precision: str) -> None:
    """Catches a gradient or a validation whose products drop bits that the loss' own keep."""
    config = tiny_config()
    config.model.precision = precision
    program = describe_program(config, build=build_stand_in)
    shapes = batch_shapes(config.data, program.network.traits)
    loss = make_loss(config.loss, note=print, abstract=True)
    forward: Any = program.forward()
    step: Any = program.train_step()
    traced = {
        "update": step.trace(program.abstract, shapes, loss).jaxpr,
        "validation": forward.trace(program.abstract.params, shapes["input"], shapes.get("voxels")).jaxpr,
    }
    for name, jaxpr in traced.items():
        assert set(precisions_of(jaxpr)) == {both(precision)}, name


def test_the_key_and_the_options_know_the_same() -> None:
    """Catches a value that one of them refuses, and another default of restoring than the most exact."""
    rule = KEYS["model.precision"].rule
    assert isinstance(rule, OneOf) and rule.values == PRECISIONS
    assert check_precision(None) == "highest"
    with pytest.raises(InputError, match="expected one of highest, high, default, found 'float32'"):
        check_precision("float32")


@pytest.mark.parametrize("precision", [None, *PRECISIONS])
def test_restoring_is_traced_with_it(precision: str | None) -> None:
    """Catches restoring that leaves the bits to the device unless it was asked to, and an option without effect."""
    asked: list[str | None] = []

    class Asked(Restorer):
        def __init__(self) -> None:
            pass

        def __call__(self, clip: jax.Array, voxels: None = None, *, key: None = None) -> jax.Array:
            asked.append(getattr(jax.config, "jax_default_matmul_precision"))  # noqa: B009, not in JAX's type hints
            return product(clip)

    given = {} if precision is None else {"precision": precision}
    restorer = VideoRestorer(Asked(), NetworkTraits(), tile=TILE, overlap=Extent(0, 0, 0), **given)
    restorer.restore(np.zeros((2, 16, 16, 3), np.float32))
    export_network(Asked(), NetworkTraits(), tile=TILE, platforms=["cpu"], **given)
    assert set(asked) == {precision or "highest"} and len(asked) >= 2
    assert isinstance(restorer.network, ClipNetwork) and restorer.network.in_float32().precision == "highest"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_flows_keep_all_bits(precision: str) -> None:
    """Catches flows of 8 bits, which miss pixels by as much as they are long."""
    network, clip = SpyNet(rngs=make_rngs(0)), jnp.zeros((1, 2, 32, 32, 3))
    with jax.default_matmul_precision(precision):
        jaxpr = jax.make_jaxpr(lambda clip: clip_flows(network, clip, 1))(clip)
    assert set(precisions_of(jaxpr)) == {both("highest")}
