"""The keys of the spike branch."""

import jax
import numpy as np
import pytest

from convert.convertible_networks import get_network
from convert.recognize import recognize
from tests.convert.arrays import broadcast_zeros
from tests.models.conftest import golden_weights, read_manifest


@pytest.mark.slow
def test_spike_network_of_seven_stages() -> None:
    """Catches fusion blocks of the way back up that have no place, or are taken for the four-stage network."""
    network = get_network("spike:stages_1_to_7")
    shapes = {key: list(own.shape) for key, own in network.counterparts.items()}
    assert shapes["cross_attn_fuse.fuse_blocks.6.attn.attn.in_proj_weight"] == [288, 96]
    assert "spike_temporal_sa.blocks.6.mlp.2.bias" in shapes
    _, told = recognize(broadcast_zeros(shapes), any_architecture=False)
    assert told == "spike:stages_1_to_7"


@pytest.mark.slow
def test_spike_branch_onto_a_vrt() -> None:
    """Catches a VRT that was trained alone and cannot be joined with a spike branch."""
    arrays = golden_weights().make_state_dict(read_manifest("tiny_spike")["shapes"])
    joined = {key.removeprefix("vrt."): array for key, array in arrays.items()}
    network, _ = recognize(joined, any_architecture=True)
    ours, theirs = network.from_torch(joined), network.from_torch(arrays)
    jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)
