"""What a compiled step is known by: all that decides the program, and nothing that does not."""

from collections.abc import Iterator
from typing import Any

import jax
import pytest
from ml_collections import ConfigDict

from spikejax.config.files import load_config
from spikejax.config.keys import KEYS, leaves
from spikejax.training import step_identity
from spikejax.training.objective import make_loss
from spikejax.training.program import Program, describe_program
from spikejax.training.step import Build
from spikejax.training.step_identity import code_of, decides_step, step_arguments
from tests.small_run import OVERRIDES


def asked_keys(config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The keys that making the program reads."""
    asked: set[str] = set()
    prefixes = {id(part): f"{name}." for name, part in config.items() if isinstance(part, ConfigDict)}
    get, to_dict = ConfigDict.__getattr__, ConfigDict.to_dict

    def noting_get(self: ConfigDict, name: str) -> Any:
        value = get(self, name)
        if not isinstance(value, ConfigDict):
            asked.add(f"{prefixes.get(id(self), '')}{name}")
        return value

    def noting_all(self: ConfigDict, *arguments: Any, **more: Any) -> dict:
        if id(self) in prefixes:  # a section within is a part of what this says of its own
            asked.update(f"{prefixes[id(self)]}{name}" for name, _ in leaves(self))
        return to_dict(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(ConfigDict, "__getattr__", noting_get)
        patch.setattr(ConfigDict, "to_dict", noting_all)
        program = describe_program(config, build=build)
        step_arguments(config, program, make_loss(config.loss, note=lambda text: None))
    return asked


def test_every_key_that_makes_the_program_is_in_it(
    config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a key that the program is made by and a kept step of another value of it is taken for."""
    said_by_arrays = {
        "data.batch_size",  # shapes
        "data.frames",
        "data.crop",
        "training.start_at_zero",  # of a fresh state, which no step makes
        "loss.perceptual_weights_file",  # whether there are weights
    }
    said_by_the_mesh = {key for key in KEYS if key.startswith("mesh.")}
    asked = asked_keys(config, build, monkeypatch)
    assert {"seed", "training.steps", "optimizer.beta1", "data.crop", "model.backbone", "mesh.fsdp"} <= asked
    assert {key for key in asked if not decides_step(key)} <= said_by_arrays | said_by_the_mesh


@pytest.fixture
def identity(config: ConfigDict, build: Build) -> Iterator[dict[str, str]]:
    """Of the tiny run."""
    yield identity_of(config, describe_program(config, build=build))


def identity_of(config: ConfigDict, program: Program) -> dict[str, str]:
    """Of a run."""
    loss = make_loss(config.loss, note=lambda text: None)
    return step_identity.step_identity(config, program, step_arguments(config, program, loss))


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 7), ("optimizer.beta1", 0.5), ("training.accumulate", 2), ("data.crop", 32), ("data.batch_size", 16)],
)
def test_another_program_is_another_identity(
    key: str, value: object, identity: dict[str, str], config: ConfigDict, build: Build
) -> None:
    """Catches a step that is taken for another configuration's."""
    config.update_from_flattened_dict({key: value})
    assert identity_of(config, describe_program(config, build=build)) != identity


@pytest.mark.parametrize(
    ("key", "value"),
    [("data.root", "/elsewhere"), ("training.log_every", 3), ("validation.every", 7), ("data.seed", 3)],
)
def test_the_same_program_elsewhere_is_the_same(
    key: str, value: object, identity: dict[str, str], config: ConfigDict, build: Build
) -> None:
    """Catches a step that is planned ahead and refused since the data lie in another folder."""
    config.update_from_flattened_dict({key: value})
    assert identity_of(config, describe_program(config, build=build)) == identity


def test_flags_and_devices_count(
    identity: dict[str, str], config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a program of other flags or fewer devices that is taken, and one refused for how many a process has."""
    program = describe_program(config, build=build)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_dump_to=/x")
    assert identity_of(config, program) == identity | {"XLA_FLAGS": ""}
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert identity_of(config, program)["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=true"
    two = describe_program(config, build=build, devices=jax.devices()[:2])
    one = describe_program(config, build=build, devices=jax.devices()[:1])
    if len(two.mesh.devices) == 2:
        changed = {name for name, value in identity_of(config, two).items() if value != identity_of(config, one)[name]}
        assert changed == {"devices", "mesh", "places"}


def test_code_of_somebodys_own_is_named() -> None:
    """Catches a step of a file that has changed since it was compiled."""
    config = load_config("quickstart", [f"--config.{key}={value}" for key, value in OVERRIDES.items()])
    assert code_of(config) is None
    with config.unlocked():
        config.loss.terms = ("charbonnier", "mine.py:edges")
    assert code_of(config) == "loss.terms"
