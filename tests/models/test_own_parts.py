"""Parts of a network from a file of the user's: a fusion, a flow network, a backbone, reached by the configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array
from ml_collections import ConfigDict

from convert.convertible_networks import network_of
from spikejax.config import defaults
from spikejax.errors import InputError
from spikejax.io.weights import Weights
from spikejax.models.flows import FLOWS
from spikejax.models.fusion import FUSIONS
from spikejax.models.restorer import BACKBONES, build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.traits import NetworkTraits, traits_of
from tests.models.parameters import normal
from tests.models.quick import quick_jit

PARTS = '''
import jax.numpy as jnp
from flax import nnx

from spikejax.models.fusion import FusionKind
from spikejax.models.layers import Linear
from spikejax.models.traits import NetworkTraits


class Gate(nnx.Module):
    """VRT's features, each multiplied by what the spikes say."""

    def __init__(self, features, *, rngs):
        self.linear = Linear(features, features, rngs=rngs)

    def __call__(self, features, spikes):
        return features * (1 + self.linear(spikes))


GATE = FusionKind(
    acts="before_attention", attends_over_time=False, build=lambda features, config, *, rngs: Gate(features, rngs=rngs)
)


class OneFlow(nnx.Module):
    """The same flow for all pixels, which is learnt."""

    def __init__(self, *, rngs):
        self.shift = nnx.Param(jnp.asarray([0.25, -0.25]), axes=(None,))

    def __call__(self, reference, supporting):
        count, rows, columns, _ = reference.shape
        return tuple(
            jnp.broadcast_to(self.shift[...] / scale, (count, rows // scale, columns // scale, 2))
            for scale in (1, 2, 4, 8)
        )


class Doubling(nnx.Module):
    """A network that enlarges twice, and nothing else."""

    traits = NetworkTraits(upscale=2, min_side=4)

    def __init__(self, config, *, rngs):
        self.colours = Linear(3, 3, rngs=rngs)

    def __call__(self, clip, voxels=None, *, key=None):
        return self.colours(clip).repeat(2, axis=2).repeat(2, axis=3)
'''


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's file."""
    path = tmp_path_factory.mktemp("own") / "parts.py"
    path.write_text(PARTS)
    return path


def tiny_model(**changes: Any) -> ConfigDict:
    """The `model` section of a small network with spikes, and changes to it by dotted names."""
    model: ConfigDict = defaults.get_config().model
    model.vrt.update(
        window=(2, 2, 2), depths=(1,) * 8, dims=(8,) * 8, heads=(2,) * 8, independent=(), deformable_groups=2
    )
    model.vrt.mutual_ratio = 1.0
    model.spike.update(bins=3, channels=(8,) * 4, heads=2)
    model.update_from_flattened_dict(changes)
    return model


def losses_of_a_step(network: nnx.Module, *inputs: Array) -> tuple[Array, Array, Any]:
    """The loss before and after a step of gradient descent, and the gradients."""
    graph, parameters = nnx.split(network)

    def loss(parameters: nnx.State, *inputs: Array) -> Array:
        return jnp.square(nnx.merge(graph, parameters)(*inputs) - 0.5).mean()

    @quick_jit
    def step(parameters: nnx.State, rate: Array, *inputs: Array) -> tuple[Array, nnx.State, nnx.State]:
        value, gradients = jax.value_and_grad(loss)(parameters, *inputs)
        return value, jax.tree.map(lambda x, dx: x - rate * dx, parameters, gradients), gradients

    before, parameters, gradients = step(parameters, jnp.float32(1e-3), *inputs)
    after, _, _ = step(parameters, jnp.float32(0), *inputs)
    return before, after, nnx.to_pure_dict(gradients)


def clip(channels: int, seed: int = 0) -> Array:
    """Random numbers of a clip of 2 frames of 16 x 16."""
    return jnp.asarray(np.abs(normal(1, 2, 16, 16, channels, seed=seed)), jnp.float32)


@pytest.mark.slow
def test_a_fusion_and_a_flow_network_of_ones_own_learn(parts: Path) -> None:
    """Catches a part that is found and not used, one that a gradient does not reach, and one that stays in a table."""
    tables = [dict(FUSIONS), dict(FLOWS)]
    model = tiny_model(**{"spike.fusion": f"{parts}:GATE", "vrt.flow": f"{parts}:OneFlow"})
    graph, _ = nnx.split(nnx.eval_shape(lambda: build_restorer(model, rngs=make_rngs(0))))
    network = nnx.merge(graph, quick_jit(lambda: nnx.split(build_restorer(model, rngs=make_rngs(0)))[1])())
    assert type(network.spike_branch.fuse_blocks[0]).__name__ == "Gate"
    assert network.spike_branch.temporal_attention is None
    before, after, gradients = losses_of_a_step(network, clip(3), clip(3, seed=1))
    assert after < before
    assert np.any(gradients["spike_branch"]["fuse_blocks"][0]["linear"]["kernel"])
    assert np.any(gradients["vrt"]["spynet"]["shift"])
    assert [FUSIONS, FLOWS] == tables


def test_a_backbone_of_ones_own_learns(parts: Path) -> None:
    """Catches a backbone that is VRT after all, or whose traits nobody reads."""
    tables = dict(BACKBONES)
    network = build_restorer(tiny_model(backbone=f"{parts}:Doubling"), rngs=make_rngs(0))
    assert traits_of(network) == NetworkTraits(upscale=2, min_side=4)
    assert network(clip(3)).shape == (1, 2, 32, 32, 3)
    before, after, _ = losses_of_a_step(network, clip(3))
    assert after < before
    assert tables == BACKBONES


@pytest.mark.parametrize(
    ("key", "find"),
    [("backbone", lambda name: f"{name}:Doubling"), ("vrt.flow", lambda name: f"{name}:OneFlow")]
    + [("spike.fusion", lambda name: f"{name}:GATE")],
)
def test_code_that_comes_with_parameters_is_refused(parts: Path, key: str, find: Callable[[Path], str]) -> None:
    """Catches a workdir or a file of weights that runs its maker's code where it is opened."""
    model = tiny_model(**{key: find(parts)}).to_dict()
    with pytest.raises(InputError, match=f"model.{key}: expected an entry of the package .*: the weights"):
        network_of(Weights("restorer", model, {}))


@pytest.mark.parametrize(
    ("key", "name", "message"),
    [
        ("backbone", "vrtt", "model.backbone: expected one of vrt or FILE.py:NAME, found 'vrtt'"),
        ("vrt.flow", "spinet", "model.vrt.flow: expected one of spynet or FILE.py:NAME, found 'spinet'"),
        (
            "spike.fusion",
            "cocnat",
            "model.spike.fusion: .* found 'cocnat'; did you mean 'concat'",
        ),
        ("spike.fusion", "math:pi", "model.spike.fusion: expected FusionKind, found float: math:pi"),
    ],
)
def test_parts_that_do_not_exist(key: str, name: str, message: str) -> None:
    """Catches a misspelt part that ends in a traceback, or without the names there are."""
    with pytest.raises(InputError, match=message):
        nnx.eval_shape(lambda: build_restorer(tiny_model(**{key: name}), rngs=make_rngs(0)))
