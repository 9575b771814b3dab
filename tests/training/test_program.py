"""What a configuration computes, before anything is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.quality.losses import as_loss
from spikejax.training.program import Program, describe_program
from spikejax.training.step import Build


@pytest.fixture
def program(config: ConfigDict, build: Build) -> Program:
    """Of the tiny run, on all devices."""
    return describe_program(config, build=build)


def test_every_setting_of_an_update_is_the_configurations(config: ConfigDict, build: Build) -> None:
    """Catches a key that is read for one of training and planning, or for neither."""
    config.seed, config.training.accumulate, config.training.ema_decay = 7, 2, 0.5
    config.training.skip_not_finite, config.training.deterministic = 3, True
    config.optimizer.frozen, config.training.start_at_zero = r"^first\.", r"^last\."
    config.optimizer.peak_learning_rate, config.optimizer.warmup_steps = 0.25, 2
    program = describe_program(config, build=build)
    update = program.update
    assert (update.seed, update.accumulate, update.ema_decay, update.skip_not_finite) == (7, 2, 0.5, 3)
    assert update.deterministic
    assert update.network is program.network and update.mesh is program.mesh
    assert all(jax.tree.leaves(update.frozen["first"])) and not any(jax.tree.leaves(update.frozen["last"]))
    assert all(jax.tree.leaves(program.zeros["last"])) and not any(jax.tree.leaves(program.zeros["first"]))
    assert [float(program.schedule(number)) for number in (0, 1)] == pytest.approx([0.125, 0.25])
    assert program.abstract.average is not None
    config.training.ema_decay = 0.0
    assert describe_program(config, build=build).abstract.average is None


def test_the_state_lies_where_it_was_said_to(config: ConfigDict, build: Build) -> None:
    """Catches a fresh state of other shapes or places than the step is compiled for, and parameters not at zero."""
    config.training.start_at_zero = r"^last\."
    program = describe_program(config, build=build)
    state = program.fresh_state()
    jax.tree.map(
        lambda leaf, planned: np.testing.assert_equal(
            (leaf.shape, leaf.dtype, leaf.sharding), (planned.shape, planned.dtype, planned.sharding)
        ),
        state,
        program.abstract,
    )
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state.params["last"]))
    assert np.any(state.params["first"]["kernel"])


@pytest.mark.slow
def test_the_programs_are_of_one_network(program: Program, batch: dict[str, np.ndarray]) -> None:
    """Catches an update that trains other parameters than the forward pass restores with."""
    state = program.fresh_state()
    restored = program.forward()(state.params, batch["input"], batch["voxels"])
    loss = as_loss({"error": lambda restored, batch: jnp.abs(restored - batch["sharp"]).mean()})
    after, metrics = program.train_step()(state, batch, loss)
    assert restored.shape == batch["sharp"].shape
    assert int(after.step) == 1 and np.isfinite(float(metrics["loss"]))
    again = program.forward()(after.params, batch["input"], batch["voxels"])
    assert not np.array_equal(restored, again)


@pytest.mark.parametrize("key", ["optimizer.frozen", "optimizer.slow", "training.start_at_zero"])
@pytest.mark.parametrize(
    ("pattern", "message"), [("no_such", "found 'no_such'$"), ("neighbors", "; did you mean 'neighbours'")]
)
def test_every_pattern_means_a_parameter(
    key: str, pattern: str, message: str, config: ConfigDict, build: Build
) -> None:
    """Catches a misspelt part of the network that is trained like all others without a word."""
    section, name = key.split(".")
    config[section][name] = pattern
    with pytest.raises(InputError, match=f"^{key}: expected a part of some parameter's name .*{message}"):
        describe_program(config, build=build)


def test_something_is_left_to_train(config: ConfigDict, build: Build) -> None:
    """Catches a run that computes for days and changes nothing."""
    config.optimizer.frozen = "."
    with pytest.raises(
        InputError, match=r"optimizer.frozen: expected to leave parameters to train, found '\.' for all"
    ):
        describe_program(config, build=build)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mesh.data", 3, "device"),
        ("data.batch_size", 3, "data.batch_size|batch"),
    ],
)
def test_what_does_not_fit_the_devices(key: str, value: int, message: str, config: ConfigDict, build: Build) -> None:
    """Catches a batch or a mesh that fails only when it is put on the devices."""
    section, name = key.split(".")
    config[section][name] = value
    config.training.accumulate = 2
    with pytest.raises(InputError, match=message):
        describe_program(config, build=build)
