"""`spikejax.load`, for what converting wrote; training's folders are restored with in test_restore.py."""

import dataclasses
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import spikejax
from convert.array_files import write_arrays
from convert.convertible_networks import network_of
from spikejax import loading
from spikejax.config.files import save_config
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.io.weights import Weights, write_weights
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training.step import describe_network
from tests.inference.small_input import BINS, STATISTICS, Brighten, restorer_of, save_random_network, tiny_config


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Random weights of a tiny network with spikes; making them by NumPy compiles nothing."""
    model: dict[str, Any] = tiny_config().model.to_dict()
    network = describe_network(lambda: build_restorer(model, rngs=make_rngs(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), network.shapes)
    return Weights("restorer", model, params, STATISTICS)


def test_every_keyword_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a keyword of loading that `spikejax.load` does not know, or takes and does not pass on."""
    defaults = {name: of.default for name, of in inspect.signature(loading.load).parameters.items() if name != "path"}
    arrived = []
    restorer = restorer_of(Brighten(None))
    monkeypatch.setattr(loading, "load", lambda path, **given: arrived.append((path, given)) or restorer)
    given = {name: True if default is False else f"the {name}" for name, default in defaults.items()}
    assert spikejax.load("a.safetensors", **given) is restorer
    assert arrived == [("a.safetensors", given)] and "precision" in given


@pytest.mark.slow
def test_a_file_of_weights(weights: Weights, tmp_path: Path) -> None:
    """Catches parameters, statistics or a dtype that do not arrive, and spikes of more frames than a window at once."""
    write_weights(tmp_path / "a.safetensors", weights)
    restorer = spikejax.load(tmp_path / "a.safetensors", dtype="bfloat16")
    assert restorer.traits.spike_bins == BINS
    assert (restorer.tile, restorer.overlap) == (Extent(2, 256, 256), Extent(1, 20, 20))
    loaded = restorer.params
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, weights.params))
    own = {"tile": (3, 64, 96), "overlap": (1, 8, 10)}
    write_weights(tmp_path / "b", dataclasses.replace(weights, restore=own))
    again = spikejax.load(tmp_path / "b", dtype="bfloat16")
    assert (again.tile, again.overlap) == (Extent(3, 64, 96), Extent(1, 8, 10))
    assert restorer.fingerprint() == again.fingerprint()


@pytest.mark.slow
def test_the_network_in_float32(weights: Weights, tmp_path: Path) -> None:
    """Catches tiles computed again in bfloat16, and with other parameters."""
    path = tmp_path / "w.safetensors"
    write_weights(path, weights)
    restorer = spikejax.load(path, dtype="bfloat16")
    exact = restorer.network.in_float32()
    assert (restorer.network.model.vrt.compute_dtype, exact.model.vrt.compute_dtype) == (jax.numpy.bfloat16, None)
    for own, other in zip(*(jax.tree.leaves(nnx.state(net.model)) for net in (restorer.network, exact)), strict=True):
        np.testing.assert_array_equal(own, other)


def as_torch(weights: Weights, path: Path) -> None:
    """Writes weights as PyTorch programs do."""
    write_arrays(path, network_of(weights).to_torch(weights, dtype=np.dtype("float32")), wrapper="params")


@pytest.mark.slow
def test_a_file_of_pytorch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a file that has to be converted first, and parameters that are not those that converting gives."""
    model: dict[str, Any] = tiny_config(fusion="none").model.to_dict()
    network = describe_network(lambda: build_restorer(model, rngs=make_rngs(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), network.shapes)
    as_torch(Weights("restorer", model, params), tmp_path / "mine.pth")
    restorer = spikejax.load(tmp_path / "mine.pth")
    assert jax.tree.all(jax.tree.map(np.array_equal, restorer.params, params))
    assert "network: a VRT of its own" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.pth"]


class Runs:
    """An object whose unpickling would run a program."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("ran",)


def test_files_of_pytorch_that_do_not_restore(
    weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a file that runs what it names, one that is damaged, and weights of something else."""
    monkeypatch.chdir(tmp_path)
    Path("evil.pth").write_bytes(pickle.dumps({"state_dict": Runs()}))
    Path("cut.pt").write_bytes(b"PK\x03\x04")
    Path("empty.ckpt").touch()
    as_torch(Weights("spynet", None, weights.params["vrt"]["spynet"]), tmp_path / "flow.pth")
    for name, message in {
        "evil.pth": "not run",
        "cut.pt": "expected",
        "empty.ckpt": "expected",
        "flow.pth": "found weights of spynet",
        "absent.pth": "found no",
    }.items():
        with pytest.raises(InputError, match=f"{message}.*{name}|{name}.*{message}") as caught:
            spikejax.load(name)
        assert "\n" not in str(caught.value)
    assert not Path("ran").exists()


def test_weights_that_do_not_restore(weights: Weights, tmp_path: Path) -> None:
    """Catches a traceback for another network's weights, or for a parameter that is not there."""
    write_weights(tmp_path / "flow.safetensors", Weights("spynet", None, weights.params["vrt"]["spynet"]))
    with pytest.raises(InputError, match="found weights of spynet"):
        spikejax.load(tmp_path / "flow.safetensors")
    params = {**weights.params, "vrt": {key: leaf for key, leaf in weights.params["vrt"].items() if key != "norm"}}
    write_weights(tmp_path / "a.safetensors", Weights("restorer", weights.model, params, STATISTICS))
    with pytest.raises(InputError, match="found 2 missing: .*a.safetensors") as caught:
        spikejax.load(tmp_path / "a.safetensors")
    assert caught.value.details == tuple(f"vrt.norm.{name}: expected (4,), found none" for name in ("bias", "scale"))
    write_weights(tmp_path / "b.safetensors", Weights("restorer", weights.model, weights.params, None))
    with pytest.raises(InputError, match="expected the training statistics"):
        spikejax.load(tmp_path / "b.safetensors")


def test_code_in_a_file_of_weights_is_not_run(weights: Weights, tmp_path: Path) -> None:
    """Catches a file of weights that runs its maker's code where it is opened, and one that cannot be opened at all."""
    code = tmp_path / "parts.py"
    code.write_text("raise RuntimeError('ran')\n")
    assert weights.model is not None
    model = {**weights.model, "spike": {**weights.model["spike"], "fusion": f"{code}:GATE"}}
    write_weights(tmp_path / "a.safetensors", Weights("restorer", model, weights.params, STATISTICS))
    with pytest.raises(
        InputError, match=r"model.spike.fusion: expected an entry of the package \(--trust-code .*a.safetensors"
    ):
        spikejax.load(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="RuntimeError: ran"):
        spikejax.load(tmp_path / "a.safetensors", trust_code=True)


@pytest.mark.slow
def test_a_checkpoint_of_another_network(tmp_path: Path) -> None:
    """Catches parameters of one network poured into another."""
    save_random_network(tmp_path / "work", tiny_config())
    save_config(tiny_config(heads=1, bins=BINS + 1), tmp_path / "work" / "config.json")
    with pytest.raises(InputError, match="expected a checkpoint of this network, found "):
        spikejax.load(tmp_path / "work")


@pytest.mark.parametrize("name", ["nothing", "nothing.safetensors"])
def test_nothing_to_load(tmp_path: Path, name: str) -> None:
    """Catches a traceback for a misspelt path."""
    with pytest.raises(InputError, match="nothing"):
        spikejax.load(tmp_path / name)


def test_the_name_of_a_published_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a newcomer who asks for network 006 and is not told where its weights come from."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"found no 006 \(vrt:006 is the published network, "):
        spikejax.load("006")
    with pytest.raises(InputError, match="found no 600$"):
        spikejax.load("600")


def test_importing_the_package_is_quick() -> None:
    """Catches an import that makes `import spikejax` take the seconds that JAX takes."""
    program = "import sys, spikejax; assert callable(spikejax.load); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
