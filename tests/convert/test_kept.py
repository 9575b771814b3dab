"""What converting keeps of a spike network beside its parameters, there and back."""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import spikejax
from convert.__main__ import main
from convert.array_files import read_all, write_arrays
from convert.convertible_networks import network_of
from spikejax.config.networks import published_model
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.errors import InputError
from spikejax.io.weights import Weights, read_weights, write_weights
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training.step import describe_network
from tests.inference.small_input import BINS, STATISTICS, save_random_network, tiny_config

pytestmark = pytest.mark.slow
GIVEN = SpikeStatistics(BINS, mean=0.75, std=0.5, windows=9)
TILES = {"tile": [3, 64, 96], "overlap": [1, 8, 10]}


@cache
def random_weights(**spike: Any) -> Weights:
    """Of a tiny network with spikes, which no shape tells everything of."""
    model: dict[str, Any] = tiny_config(**spike).model.to_dict()
    network = describe_network(lambda: build_restorer(model, rngs=make_rngs(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), network.shapes)
    return Weights("restorer", model, params, STATISTICS, TILES, {"updates": 7})


@pytest.fixture
def statistics(tmp_path: Path) -> Path:
    """The statistics of a data set."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "statistics.json").write_text(json.dumps(asdict(GIVEN)))
    return tmp_path / "data" / "statistics.json"


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_file_for_pytorch_says_what_it_is(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a form of the fusion, statistics, tiles or a training that PyTorch's file loses, and a key of ours."""
    weights = random_weights(residual="normalized_query", normalise="clip")
    write_weights(tmp_path / "a", weights)
    main(["to-torch", "--input", str(tmp_path / "a"), "--output", str(tmp_path / name)])
    contents = read_all([tmp_path / name])
    own = network_of(weights)
    assert contents.arrays.keys() == own.to_torch(weights, dtype=np.dtype(np.float32)).keys()
    capsys.readouterr()
    main(["to-jax", "--input", str(tmp_path / name), "--output", str(tmp_path / "again.safetensors")])
    assert capsys.readouterr().out.startswith("network: the one that the file says it is of, restorer\n")
    again = read_weights(tmp_path / "again.safetensors")
    assert (again.statistics, again.restore, again.training) == (STATISTICS, TILES, {"updates": 7})
    assert again.model is not None
    spike = again.model["spike"]
    assert (spike["residual"], spike["normalise"]) == ("normalized_query", "clip")
    assert jax.tree.all(jax.tree.map(np.array_equal, again.params, weights.params))


def test_a_description_that_lies(tmp_path: Path) -> None:
    """Catches a traceback, a wrong network or code that is run, where a file says nonsense of itself."""
    state_dict = network_of(random_weights()).to_torch(random_weights(), dtype=np.dtype(np.float32))
    arguments = ["to-jax", "--input", str(tmp_path / "a.pth"), "--output", str(tmp_path / "a")]
    described = {"kind": "restorer", "model": random_weights().model}
    for description, told in (
        ({"format": 9}, "expected weights of format 1, found format 9"),
        ({"kind": "spynet", "model": None}, "expected the weights of spynet, found"),
        ({**described, "statistics": 3}, "statistics: expected a section, found a int"),
        ({**described, "model": {"spike": {"fusion": "mine.py:CODE"}}}, "expected an entry of the package"),
        ({**described, "model": {"vrt": {"window": [3, 4, 4]}}}, "expected the weights of the network they say"),
    ):
        write_arrays(tmp_path / "a.pth", state_dict, description=description)
        with pytest.raises(InputError, match=f"{told}.*a.pth"):
            main(arguments)
        assert not (tmp_path / "a").exists()


def test_statistics_that_are_given(tmp_path: Path, statistics: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a converted spike network that cannot restore, and numbers that are not those of the file."""
    weights = random_weights()
    state_dict = network_of(weights).to_torch(weights, dtype=np.dtype(np.float32))
    write_arrays(tmp_path / "a.pth", state_dict)
    files = ["--input", str(tmp_path / "a.pth")]
    main(["to-jax", *files, "--output", str(tmp_path / "without.safetensors")])
    with pytest.raises(
        InputError, match=r"expected the training statistics of the spikes \(--statistics FILE\), found"
    ):
        spikejax.load(tmp_path / "without.safetensors")
    main(["to-jax", *files, "--output", str(tmp_path / "with.safetensors"), "--statistics", str(statistics.parent)])
    assert read_weights(tmp_path / "with.safetensors").statistics == asdict(GIVEN)
    moments = (GIVEN.mean, GIVEN.std)
    assert spikejax.load(tmp_path / "with.safetensors").network.moments == moments
    given = spikejax.load(tmp_path / "without.safetensors", statistics=statistics)
    assert given.network.moments == moments
    # The same once more is no mistake; others are one.
    spikejax.load(tmp_path / "with.safetensors", statistics=statistics)
    statistics.write_text(json.dumps(asdict(GIVEN) | {"mean": 0.5}))
    with pytest.raises(InputError, match="expected the statistics that the network has, .* found mean 0.5 and std 0.5"):
        spikejax.load(tmp_path / "with.safetensors", statistics=statistics)
    statistics.write_text(json.dumps(asdict(GIVEN) | {"bins": 9}))
    with pytest.raises(InputError, match=f"expected statistics for {BINS} bins, found them for 9: .*statistics.json"):
        spikejax.load(tmp_path / "without.safetensors", statistics=statistics)
    with pytest.raises(InputError, match="expected the training split's statistics, found none: .*nothing"):
        spikejax.load(tmp_path / "without.safetensors", statistics=tmp_path / "nothing")


def test_statistics_of_a_network_without_spikes(tmp_path: Path, statistics: Path) -> None:
    """Catches an option that has no effect."""
    model = published_model("006").to_dict() | {"vrt": tiny_config().model.vrt.to_dict()}
    network = describe_network(lambda: build_restorer(model, rngs=make_rngs(0)))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), network.shapes)
    write_weights(tmp_path / "a.safetensors", Weights("restorer", model, params))
    with pytest.raises(InputError, match="expected no --statistics with a network that takes no spikes, found .*json"):
        spikejax.load(tmp_path / "a.safetensors", statistics=statistics)


def test_statistics_that_another_program_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches numbers beside a state dict that are not taken, or taken without a word."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    weights = random_weights()
    state_dict = network_of(weights).to_torch(weights, dtype=np.dtype(np.float32))
    tensors = {key: torch.from_numpy(np.array(array)) for key, array in state_dict.items()}
    torch.save({"params": tensors, "spike_statistics": {"mean": 0.75, "std": 0.5}}, tmp_path / "a.pth")
    main(["to-jax", "--input", str(tmp_path / "a.pth"), "--output", str(tmp_path / "a.safetensors")])
    assert "taken: statistics of log1p of the spikes' counts, mean 0.75, std 0.5: " in capsys.readouterr().out
    assert read_weights(tmp_path / "a.safetensors").statistics == {"bins": BINS, "mean": 0.75, "std": 0.5}


def test_a_workdir_to_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a workdir that PyTorch's form can be had of only by way of another file, and a checkpoint not chosen."""
    _, params = save_random_network(tmp_path / "work", tiny_config())
    into = ["--output", str(tmp_path / "a.pth"), "--wrap", "params", "--prefix", "net_g."]
    main(["to-torch", "--input", str(tmp_path / "work"), "--which", "best", *into])
    main(["to-jax", "--input", str(tmp_path / "a.pth"), "--output", str(tmp_path / "a.safetensors")])
    again = read_weights(tmp_path / "a.safetensors")
    assert jax.tree.all(jax.tree.map(np.array_equal, again.params, params))
    assert again.statistics == STATISTICS
    assert again.training is not None
    assert again.training["checkpoint"] == "best_psnr/1"
    with pytest.raises(InputError, match="expected a checkpoint in .*last, found none"):
        main(["to-torch", "--input", str(tmp_path / "work"), "--which", "last", *into, "--overwrite"])
    with pytest.raises(InputError, match="expected a workdir, which has the checkpoint last, found weights: .*a.saf"):
        main(["to-torch", "--input", str(tmp_path / "a.safetensors"), "--which", "last", *into, "--overwrite"])
    capsys.readouterr()
    main(["info", str(tmp_path / "work")])
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{len(jax.tree.leaves(params))} arrays, ")
