"""State dicts of every network to our weights and back."""

import json
import tracemalloc
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from convert.array_files import read_arrays, write_arrays
from convert.convertible_networks import ConvertibleNetwork, get_network, network_of, restorer_network, restorers
from convert.network_names import SPIKE_PREFIX, network_names
from convert.recognize import recognize
from spikejax.config.networks import SPIKE_VARIANTS, spike_model
from spikejax.errors import InputError
from spikejax.io.weights import read_weights, write_weights
from spikejax.models.fusion import find_fusion
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training.measure_split import load_trained
from spikejax.training.trained_params import read_network
from tests.convert.arrays import assert_same, split_buffers
from tests.inference.small_input import tiny_config
from tests.models.conftest import golden_weights, read_manifest

FLOAT32 = np.dtype(np.float32)
TINY = ("tiny_interp", "tiny_sr_pa6", "tiny_spike")


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_round_trips_are_bitwise(tmp_path: Path, name: str) -> None:
    """Catches a layout that is not undone, an order of layers, a dtype, and weights that a file changes."""
    arrays = golden_weights().make_state_dict(read_manifest(name)["shapes"])
    network, _ = recognize(arrays)
    write_weights(tmp_path / "weights.safetensors", network.from_torch(arrays))
    weights = read_weights(tmp_path / "weights.safetensors")
    # With its buffers, as the original's own state dict has them, too.
    for _ in range(2):
        again = network_of(weights)
        state_dict = again.to_torch(weights, dtype=FLOAT32)
        parameters, _ = split_buffers(again, state_dict)
        assert_same({key: parameters[key] for key in arrays}, arrays)
        assert parameters.keys() == arrays.keys()
        weights = again.from_torch(state_dict)


def test_every_variant_with_a_torch_form_has_a_name() -> None:
    """Catches a variant that could be converted and cannot be named, and one that is named and cannot be."""
    fusions = {name: find_fusion(spike_model(name).spike.fusion) for name in SPIKE_VARIANTS}
    convertible = [name for name, fusion in fusions.items() if fusion is None or fusion.torch_form is not None]
    assert [name for name in network_names() if name.startswith(SPIKE_PREFIX)] == [
        f"{SPIKE_PREFIX}{name}" for name in convertible
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "restore"),
    [
        ("002", {"tile": (40, 128, 128), "overlap": (2, 20, 20)}),
        ("006", {"tile": (18, 192, 192), "overlap": (2, 20, 20)}),
        ("009", {"tile": (0, 256, 256), "overlap": (0, 20, 20)}),
        ("spike:baseline", None),
    ],
)
def test_weights_carry_the_published_tiles(name: str, restore: dict | None) -> None:
    """Catches 006, which has the architecture of 005 and 007, restored in their tiles, and 002 in those of 003."""
    assert get_network(name).restore == restore


def test_both_residual_forms() -> None:
    """Catches weights that forget which form of the fusion they are for; their arrays do not tell."""
    sections = dict(restorers())
    assert sections["spike:baseline"]["spike"]["residual"] == "features"
    assert sections["spike:normalized_query"]["spike"]["residual"] == "normalized_query"
    assert "spike:concat" not in network_names()
    with pytest.raises(InputError, match="spike:baseline, spike:normalized_query, .*, found 'spike:concat'"):
        get_network("spike:concat")


@pytest.mark.slow
def test_converted_weights_build_the_network() -> None:
    """Catches a tree of parameters that nnx.merge does not take, and float64 that stays."""
    arrays = golden_weights().make_state_dict(read_manifest("tiny_interp")["shapes"])
    arrays["conv_last.bias"] = arrays["conv_last.bias"].astype(np.float64)
    network, _ = recognize(arrays)
    weights = network.from_torch(arrays)
    model = json.loads(json.dumps(weights.model))
    graphdef, state = nnx.split(nnx.eval_shape(lambda: build_restorer(model, rngs=make_rngs(0))))
    expected = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), nnx.to_pure_dict(state))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), weights.params) == expected
    assert nnx.merge(graphdef, weights.params).vrt.config.window == (4, 8, 8)


def test_memory(tmp_path: Path, spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]) -> None:
    """Catches arrays that are all read before they are needed, or copied whole on their way."""
    path = tmp_path / "spynet.pth"
    write_arrays(path, flow_weights)
    tracemalloc.start()
    try:
        write_weights(tmp_path / "weights.safetensors", spynet.from_torch(read_arrays(path)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * path.stat().st_size


def test_spikes_as_channels_of_the_picture(tmp_path: Path) -> None:
    """Catches arrays of a network with a picture of 7 channels that go astray, or its statistics, which it has not."""
    model = tiny_config(fusion="early_concat", bins=4).model.to_dict()
    network = restorer_network(model, "a small one")
    rng = np.random.default_rng(0)
    state_dict = {
        key: rng.standard_normal(counterpart.shape).astype(np.float32)
        for key, counterpart in network.counterparts.items()
    }
    assert state_dict["conv_first.weight"].shape == (4, 63, 1, 3, 3)  # at the top, as VRT has it
    write_weights(tmp_path / "a.safetensors", network.from_torch(state_dict))
    weights = read_network(tmp_path / "a.safetensors")
    kernel = weights.params["vrt"]["conv_first"]["kernel"]
    # Channel 7 + 7 c + i is channel i of the next frame's copy c.
    np.testing.assert_array_equal(kernel[1, 2, 7 + 7 * 3 + 5], state_dict["conv_first.weight"][:, 33, 0, 1, 2])
    again = network.to_torch(weights, dtype=FLOAT32)
    for key, array in state_dict.items():
        np.testing.assert_array_equal(np.asarray(again[key]), array, err_msg=key)
    assert load_trained(tmp_path / "a.safetensors").restorer.traits.spike_bins == 4
