"""The keys of the spike branch."""

from pathlib import Path

import jax
import numpy as np
import pytest

from convert.__main__ import main
from convert.array_files import read_arrays
from convert.convertible_networks import get_network, restorer_network
from convert.recognize import recognize
from spikejax.config.networks import spike_model
from spikejax.errors import InputError
from spikejax.io.weights import write_weights
from tests.convert.arrays import broadcast_zeros
from tests.models.conftest import golden_weights, read_manifest


@pytest.mark.slow
def test_spike_network_of_seven_stages() -> None:
    """Catches fusion blocks of the way back up that have no place, or are taken for the four-stage network."""
    network = get_network("spike:stages_1_to_7")
    shapes = {key: list(own.shape) for key, own in network.counterparts.items()}
    assert shapes["cross_attn_fuse.fuse_blocks.6.attn.attn.in_proj_weight"] == [288, 96]
    assert "spike_temporal_sa.blocks.6.mlp.2.bias" in shapes
    _, told = recognize(broadcast_zeros(shapes))
    assert told == "spike:stages_1_to_7"


@pytest.mark.slow
def test_spike_branch_onto_a_vrt() -> None:
    """Catches a VRT that was trained alone and cannot be joined with a spike branch."""
    arrays = golden_weights().make_state_dict(read_manifest("tiny_spike")["shapes"])
    joined = {key.removeprefix("vrt."): array for key, array in arrays.items()}
    network, _ = recognize(joined)
    ours, theirs = network.from_torch(joined), network.from_torch(arrays)
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


@pytest.mark.slow
@pytest.mark.parametrize(("time", "key"), (("relative", "time_bias"), ("local", "local_time_bias")))
def test_biases_over_time_go_and_come_back(
    time: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches biases that are lost on the way, extra keys that nobody is told of, and another kind or table taken back.

    Weights of the design, which have no such keys, come back without.
    """
    published = golden_weights().make_state_dict(read_manifest("tiny_spike")["shapes"])
    plain, _ = recognize(published)
    assert plain.model is not None and plain.model["spike"]["time"] == "none"
    spikes = plain.model["spike"] | dict(time=time, time_reach=3, heads=2)
    network = restorer_network(plain.model | dict(spike=spikes), "the network")
    shapes = {name: own.shape for name, own in network.counterparts.items()}
    own = [name for name in shapes if name.endswith(f".{key}")]
    assert len(own) == 8 and all(shapes[name] == (7, 2) for name in own)
    arrays = {name: np.full(shape, seed, np.float32) for seed, (name, shape) in enumerate(shapes.items())}

    weights = network.from_torch(arrays)
    write_weights(tmp_path / "ours.safetensors", weights)
    main(["to-torch", "--input", str(tmp_path / "ours.safetensors"), "--output", str(tmp_path / "theirs.pth")])
    assert "8 arrays are this project's own" in capsys.readouterr().out
    theirs = read_arrays(tmp_path / "theirs.pth")
    again, _ = recognize(theirs)
    assert again.model is not None
    assert {name: again.model["spike"][name] for name in ("time", "time_reach", "heads")} == dict(
        time=time, time_reach=3, heads=2
    )
    jax.tree.map(np.testing.assert_array_equal, again.from_torch(theirs).params, weights.params)


def test_a_time_without_a_torch_form_is_refused() -> None:
    """Catches a file for PyTorch that computes something else, since the encoding has no key that would say so."""
    model = spike_model("time").to_dict()
    model["spike"]["time"] = "sine"
    with pytest.raises(InputError, match="mine: no PyTorch form of model.spike.time 'sine' is known"):
        restorer_network(model, "mine")
