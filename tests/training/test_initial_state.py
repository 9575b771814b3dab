"""Runs that begin as other weights."""

from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from spikejax import packaged
from spikejax.distributed import sharding
from spikejax.errors import InputError
from spikejax.io.weights import Weights, flatten_params, nest_params, write_weights
from spikejax.training.initial_state import parts, start_from
from spikejax.training.step import NetworkDescription, TrainState, abstract_state, create_state


@pytest.fixture
def state(network: NetworkDescription, config: ConfigDict) -> TrainState:
    """A fresh state that keeps an average."""
    abstract = abstract_state(network, optax.sgd(1.0), sharding.make_mesh(config.mesh.to_dict()), average=True)
    return create_state(network, optax.sgd(1.0), abstract, zeros=jax.tree.map(lambda _: False, network.shapes))


def given(state: TrainState) -> dict[str, Any]:
    """Other numbers for all parameters, by name."""
    return {name: np.asarray(leaf) + 1 for name, leaf in flatten_params(state.params).items()}


@pytest.mark.parametrize("name", ["weights.safetensors", "weights"])
def test_what_the_file_lacks_stays_fresh(tmp_path: Path, state: TrainState, name: str) -> None:
    """Catches weights that are not used, a fresh branch that is overwritten, and an average of other parameters."""
    params = {key: leaf for key, leaf in given(state).items() if not key.startswith(("blocks.1", "first.bias"))}
    write_weights(tmp_path / name, Weights("restorer", {}, nest_params(params)))
    started, fresh = start_from(state, tmp_path / name)
    assert fresh == ["blocks.1", "first.bias"]
    for tree in (started.params, started.average):
        for key, leaf in flatten_params(tree).items():
            np.testing.assert_array_equal(leaf, params.get(key, flatten_params(state.params)[key]))


def test_a_network_by_its_name(tmp_path: Path, state: TrainState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a run that starts from named networks nowhere, or from parameters of fewer bits as they are."""
    params = {key: leaf.astype(ml_dtypes.bfloat16) for key, leaf in given(state).items()}
    write_weights(tmp_path / "demo.safetensors", Weights("restorer", {}, nest_params(params)))
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    started, fresh = start_from(state, "demo")
    assert fresh == []
    for key, leaf in flatten_params(started.params).items():
        np.testing.assert_array_equal(leaf, params[key].astype(np.float32))


def test_weights_that_do_not_fit(tmp_path: Path, state: TrainState) -> None:
    """Catches weights of another network of which what fits is used silently."""
    params = given(state)
    larger = params | {"last.bias": np.zeros(4, np.float32)}
    write_weights(tmp_path / "larger", Weights("restorer", {}, nest_params(larger)))
    with pytest.raises(InputError, match="found 1 of another shape: .*/larger") as caught:
        start_from(state, tmp_path / "larger")
    assert caught.value.details == ("last.bias: expected (3,), found (4,)",)
    more = params | {"other.a": np.zeros(4, np.float32), "other.b": np.zeros(4, np.float32)}
    write_weights(tmp_path / "more", Weights("restorer", {}, nest_params(more)))
    with pytest.raises(InputError, match="^expected training.start_from to .* found 2 unexpected: .*/more") as caught:
        start_from(state, tmp_path / "more")
    assert caught.value.details == tuple(f"other.{name}: expected none, found (4,)" for name in "ab")
    write_weights(tmp_path / "flow", Weights("spynet", None, nest_params(params)))
    with pytest.raises(InputError, match="expected a network that restores pictures, found weights of spynet: .*/flow"):
        start_from(state, tmp_path / "flow")
    with pytest.raises(InputError, match="expected a checkpoint in .*/nothing/.*, found none"):
        start_from(state, tmp_path / "nothing")


def test_parts() -> None:
    """Catches a part that is named by a beginning which others share, or by every one of its parameters."""
    names = ["vrt.a.kernel", "vrt.a.bias", "vrt.b.kernel", "spike.x", "spike.y", "vrt.ab"]
    assert parts({"spike.x", "spike.y", "vrt.a.bias", "vrt.ab"}, all_names=names) == ["spike", "vrt.a.bias", "vrt.ab"]
    assert parts({"vrt.a.kernel", "vrt.a.bias"}, all_names=names) == ["vrt.a"]
    assert parts(set(), all_names=names) == []
