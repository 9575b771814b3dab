"""The update: it learns, it is one program, and it says the same on 1 and on 8 devices."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.models.rngs import make_rngs
from spikejax.planning.compilers import quiet
from spikejax.planning.topology import open_topology
from spikejax.quality.losses import as_loss, charbonnier
from spikejax.training.optimizer import make_optimizer
from spikejax.training.parameter_patterns import matching
from spikejax.training.program import describe_program
from spikejax.training.step import (
    NetworkDescription,
    TrainState,
    Update,
    abstract_state,
    batch_shapes,
    create_state,
    describe_network,
    make_forward,
    make_train_step,
)
from tests.stand_ins import build_stand_in

LOSS = as_loss({"charbonnier": lambda restored, batch: charbonnier(restored, batch["sharp"])})


def compiled(
    network: NetworkDescription,
    config: ConfigDict,
    *,
    seed: int,
    optimizer: optax.GradientTransformation | None = None,
) -> tuple[Any, TrainState]:
    """The update of a configuration, on all devices, and a fresh state."""
    mesh = sharding.make_mesh(config.mesh.to_dict())
    frozen = matching(network.shapes, config.optimizer.frozen, key="optimizer.frozen")
    slow = matching(network.shapes, config.optimizer.slow, key="optimizer.slow")
    zeros = matching(network.shapes, config.training.start_at_zero, key="training.start_at_zero")
    if optimizer is None:
        optimizer = make_optimizer(config.optimizer, lambda step: 0.01, network.axes, frozen=frozen, slow=slow)
    abstract = abstract_state(network, optimizer, mesh, average=config.training.ema_decay > 0)
    state = create_state(network, optimizer, abstract, zeros=zeros)
    update = Update(
        network,
        optimizer,
        mesh,
        frozen,
        seed=seed,
        accumulate=config.training.accumulate,
        ema_decay=config.training.ema_decay,
        skip_not_finite=config.training.skip_not_finite,
    )
    return make_train_step(update, abstract), state


def run(
    network: NetworkDescription,
    config: ConfigDict,
    batch: dict,
    *,
    steps: int,
    seed: int = 0,
    optimizer: optax.GradientTransformation | None = None,
) -> tuple[list, TrainState]:
    """Losses of `steps` updates on one batch, on all devices, and the state after them."""
    train_step, state = compiled(network, config, seed=seed, optimizer=optimizer)
    placed = sharding.put_batch(batch, sharding.make_mesh(config.mesh.to_dict()), len(batch["input"]))
    losses = []
    for _ in range(steps):
        state, metrics = train_step(state, placed, LOSS)
        losses.append(float(metrics["loss"]))
    assert train_step._cache_size() == min(steps, 1)
    return losses, state


@pytest.mark.slow
def test_updates_lower_the_loss(network: NetworkDescription, config: ConfigDict, batch: dict) -> None:
    """Catches a gradient of the wrong sign, parameters that are not updated, a step that compiles anew every time."""
    losses, state = run(network, config, batch, steps=30)
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.step) == 30


@pytest.mark.slow
def test_frozen_parameters_stay(network: NetworkDescription, config: ConfigDict, batch: dict) -> None:
    """Catches frozen parameters that decay, and others that stop with them."""
    config.optimizer.frozen = r"^first\."
    _, before = run(network, config, batch, steps=0)
    _, after = run(network, config, batch, steps=2)
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before.params, after.params)
    assert same["first"] == {"kernel": True, "bias": True}
    assert same["last"] == {"kernel": False, "bias": False}


@pytest.mark.slow
def test_a_batch_in_parts_is_the_whole_batch(network: NetworkDescription, config: ConfigDict, batch: dict) -> None:
    """Catches a sum for a mean, clips that are in no part or in two, and stochastic depth that repeats in each part."""
    config.model.vrt.drop_path = 0.0
    network = describe_network(lambda: build_stand_in(config.model.to_dict(), rngs=make_rngs(config.seed)))
    whole, whole_state = run(network, config, batch, steps=3)
    config.training.accumulate = 4
    parts, parts_state = run(network, config, batch, steps=3)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    train_step, state = compiled(network, config, seed=0)
    _, metrics = train_step(state, sharding.put_batch(batch, sharding.make_mesh(config.mesh.to_dict()), 8), LOSS)
    np.testing.assert_allclose(metrics["loss/charbonnier"], whole[0], rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), whole_state.params, parts_state.params
    )


@pytest.mark.slow
class LookUp(nnx.Module):
    """Looks brightness up in a table, whose gradient adds many pixels to one entry."""

    needs_spikes = False

    def __init__(self) -> None:
        self.table = nnx.Param(jnp.zeros(16), axes=("features_out",))

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, key: jax.Array | None = None) -> jax.Array:
        """Restores clips."""
        return clip + self.table[...][(clip * 15).astype(jnp.int32)]


@pytest.mark.needs("plan-gpu")
@pytest.mark.parametrize("deterministic", (True, False))
def test_gpus_add_in_order_where_they_are_told_to(deterministic: bool, config: ConfigDict) -> None:
    """Catches sums whose last bits differ from run to run, and a slower step for those who did not ask for them."""
    config.training.deterministic = deterministic
    config.optimizer.frozen = config.training.start_at_zero = ""
    program = describe_program(config, build=lambda model, *, rngs: LookUp(), devices=open_topology("h100:1").devices)
    shapes = batch_shapes(config.data, program.network.traits)
    step: Any = program.train_step()
    with quiet():
        text = step.trace(program.abstract, shapes, LOSS).lower().compile().as_text()
    # XLA sorts what is added by where it goes, and adds equal ones up; otherwise the additions are atomic.
    assert ("sort(" in text) == deterministic


def test_average_of_parameters(network: NetworkDescription, config: ConfigDict, batch: dict) -> None:
    """Catches an average of other parameters, or with the decay the wrong way round."""
    config.training.ema_decay = 0.75
    states = [run(network, config, batch, steps=steps)[1] for steps in (0, 1, 2)]
    expected = states[0].params
    for state in states[1:]:
        expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, expected, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), states[2].best_params, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("allowed", "losses_after"), [(0, "same"), (1, "lower")])
def test_what_is_not_finite_changes_nothing(
    network: NetworkDescription, config: ConfigDict, batch: dict, allowed: int, losses_after: str
) -> None:
    """Catches NaN in the parameters or moments, and a run that goes on training before anybody could look."""
    mesh = sharding.make_mesh(config.mesh.to_dict())
    config.training.skip_not_finite = allowed
    train_step, state = compiled(network, config, seed=0)
    good = sharding.put_batch(batch, mesh, 8)
    bad = sharding.put_batch(batch | {"sharp": np.full_like(batch["sharp"], np.nan)}, mesh, 8)
    before = jax.tree.map(np.asarray, state.params)
    state, metrics = train_step(state, bad, LOSS)
    assert np.isnan(float(metrics["loss"])) and int(metrics["skipped"]) == int(state.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, state.params, before)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.optimizer))
    state, _ = train_step(state, good, LOSS)
    assert int(state.step) == 2
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, before)
    assert all(jax.tree.leaves(moved)) == (losses_after == "lower")


def test_parameters_that_begin_as_zero(network: NetworkDescription, config: ConfigDict, batch: dict) -> None:
    """Catches a network that was to begin as the identity and does not, and others set to 0 with it."""
    config.training.start_at_zero = r"^last\."
    _, state = run(network, config, batch, steps=0)
    forward = make_forward(network, sharding.make_mesh(config.mesh.to_dict()))
    recon = forward(state.params, jnp.asarray(batch["input"]), jnp.asarray(batch["voxels"]))
    np.testing.assert_array_equal(recon, batch["input"])
    assert float(jnp.abs(state.params["first"]["kernel"]).min()) > 0


def test_description_costs_nothing_and_knows_the_network(network: NetworkDescription) -> None:
    """Catches sizes or names of dimensions that are not those of the parameters."""
    assert network.size == (7 * 16 + 16) + 2 * (16 * 16 + 16) + 9 * 16 * 16 + (16 * 3 + 3)
    assert network.traits.spike_bins == 4
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(network.shapes))
    assert network.axes["first"]["kernel"] == ("features_in", "features_out")


@pytest.mark.slow
def test_stochastic_depth_follows_seed_and_step(network: NetworkDescription, config: ConfigDict, batch: dict) -> None:
    """Catches a key that is the same at every step, or does not depend on the seed."""
    config.optimizer.peak_learning_rate = 1e-9
    one, _ = run(network, config, batch, steps=4, seed=1)
    again, _ = run(network, config, batch, steps=4, seed=1)
    other, _ = run(network, config, batch, steps=4, seed=2)
    assert one == again
    assert one != other


def test_forward_is_deterministic_and_serves_every_size(
    network: NetworkDescription, config: ConfigDict, batch: dict
) -> None:
    """Catches stochastic depth in validation, and a program per call rather than per size."""
    mesh = sharding.make_mesh(config.mesh.to_dict())
    _, state = run(network, config, batch, steps=1)
    forward: Any = make_forward(network, mesh)
    first = forward(state.params, jnp.asarray(batch["input"]), jnp.asarray(batch["voxels"]))
    second = forward(state.params, jnp.asarray(batch["input"]), jnp.asarray(batch["voxels"]))
    np.testing.assert_array_equal(first, second)
    small = forward(state.params, jnp.asarray(batch["input"][:, :, :4]), jnp.asarray(batch["voxels"][:, :, :4]))
    np.testing.assert_allclose(small[:, :, :3], first[:, :, :3], atol=1e-6)  # the last row sees the new border
    assert forward._cache_size() == 2


MANY_DEVICES = """
import importlib.util, json, sys
import jax, optax, pytest
from flax import nnx

def load(path):
    spec = importlib.util.spec_from_file_location("loaded_" + str(len(sys.modules)), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

conftest, tests = load(sys.argv[1]), load(sys.argv[2])
from spikejax.training.step import describe_network
def moment(state):
    return state.optimizer[2].inner_states["trained"].inner_state[0].mu
def factored():
    # Numbers of Adafactor that the tiny kernels are factored by as well.
    return optax.adafactor(0.01, min_dim_size_to_factor=8)
answers = {}
for data, fsdp, space in ((8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2), (2, 1, 1)):
    config = conftest.tiny_config()
    config.mesh.data, config.mesh.fsdp, config.mesh.space = data, fsdp, space
    name = f"{data}x{fsdp}x{space}"
    if data * fsdp * space < 8:
        name, config.mesh.layout, config.mesh.extra = "own layout", sys.argv[3] + ":WITH_MODEL", ("model=4",)
    network = describe_network(lambda: conftest.build_stand_in(config.model.to_dict(), rngs=nnx.Rngs(config.seed)))
    losses, state = tests.run(network, config, conftest.tiny_batch(), steps=5)
    kernel = state.params["blocks"][0]["kernel"]
    answers[name] = dict(
        losses=losses,
        factored=tests.run(network, config, conftest.tiny_batch(), steps=3, optimizer=factored())[0],
        shard=kernel.sharding.shard_shape(kernel.shape),
        moment=moment(state)["blocks"][0]["kernel"].sharding.shard_shape(kernel.shape),
    )
print(json.dumps(answers))
"""


LAYOUT = """
import dataclasses
from spikejax.distributed.sharding import MESH_LAYOUTS

STANDARD = MESH_LAYOUTS["standard"]
# An axis of its own splits the channels that layers make.
WITH_MODEL = dataclasses.replace(
    STANDARD, axes=(*STANDARD.axes, "model"), rules=(("features_out", "model"), ("features_in", "fsdp"))
)
"""


@pytest.mark.slow
def test_same_losses_on_one_and_on_eight_devices(
    network: NetworkDescription, config: ConfigDict, batch: dict, tmp_path: Path
) -> None:
    """Catches a mean over one device's part of the batch, a mesh that changes what is drawn, moments not split.

    And factored moments (Adafactor's), which have their parameter's name but not its dimensions, placed like it. And a
    mesh axis of the user's that is known in one place and not in another.
    """
    if jax.device_count() != 1:
        pytest.skip("needs to be the single-device side of the comparison")
    alone, _ = run(network, config, batch, steps=5)
    factored, state = run(network, config, batch, steps=3, optimizer=optax.adafactor(0.01, min_dim_size_to_factor=8))
    rows = [leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(state.optimizer) if "v_row" in str(path)]
    assert (16,) in rows, "nothing is factored"
    here, layout = Path(__file__), tmp_path / "layouts.py"
    layout.write_text(LAYOUT)
    answer = subprocess.run(
        [sys.executable, "-c", MANY_DEVICES, str(here.with_name("conftest.py")), str(here), str(layout)],
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        cwd=here.parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(answer.stdout)
    print("", f"1x1x1 {alone}", *(f"{mesh} {found['losses']}" for mesh, found in answers.items()), sep="\n")
    for mesh, found in answers.items():
        np.testing.assert_allclose(found["losses"], alone, rtol=1e-5, err_msg=mesh)
        np.testing.assert_allclose(found["factored"], factored, rtol=1e-5, err_msg=mesh)
    assert answers["8x1x1"]["shard"] == answers["1x1x8"]["shard"] == [16, 16]
    assert answers["1x8x1"]["shard"] == answers["1x8x1"]["moment"] == [16, 2]
    assert answers["own layout"]["shard"] == answers["own layout"]["moment"] == [16, 4]
    assert answers["2x2x2"]["shard"] == answers["2x2x2"]["moment"] == [16, 8]
