"""Networks as programs of `jax.export`: what they compute is what the network computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.data.spikes.voxels import standardise
from spikejax.inference.exported_network import export_network
from spikejax.inference.tiling import Extent
from spikejax.models.restorer import Restorer, build_restorer
from spikejax.models.rngs import make_rngs
from tests.inference.small_input import BINS, tiny_config

TILE, MOMENTS = Extent(2, 16, 16), (0.5, 0.25)


def small_network(**spike: object) -> Restorer:
    """Random parameters; making them by NumPy compiles nothing."""
    network = nnx.eval_shape(lambda: build_restorer(tiny_config(**spike).model, rngs=make_rngs(0)))
    graph, shapes = nnx.split(network)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.standard_normal(leaf.shape), leaf.dtype), shapes)
    return nnx.merge(graph, params)


@pytest.mark.slow
@pytest.mark.parametrize("spike", [{"normalise": "clip"}, {"fusion": "early_concat", "steps": 40}], ids=str)
def test_counts_that_are_normalised_otherwise(spike: dict) -> None:
    """Catches a program that standardises by the statistics alone, or a clip by the counts of its whole batch."""
    network = small_network(**spike)
    exported = export_network(network, network.traits, tile=TILE, ratio=2, moments=MOMENTS, platforms=("cpu",))
    program = jax.export.deserialize(exported.serialize())
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, *TILE.shape, 3)).astype(np.uint8)
    counts = rng.integers(0, 5, (2, 2, 8, 8, BINS)).astype(np.uint16)
    counts[1] *= 2  # a lower threshold
    mean, std = MOMENTS
    voxels = standardise(np, counts, mean=mean, std=std, by=network.traits.spike_normalise)
    expected = nnx.jit(lambda network, clip, voxels: network(clip, voxels))(
        network, jnp.asarray(frames / np.float32(255)), jnp.asarray(voxels)
    )
    both = np.asarray(program.call(frames, counts))
    # The same arithmetic in float32, in another order.
    np.testing.assert_allclose(both, expected, atol=2e-5)
    alone = np.asarray(program.call(frames[1:], counts[1:]))  # b is free
    np.testing.assert_allclose(alone[0], both[1], atol=2e-5)
    otherwise = np.asarray(program.call(frames, np.flip(counts, 0)))
    assert np.abs(otherwise - both).max() > 1e-4  # the spikes of a network with small random parameters say little


@pytest.mark.slow
def test_sizes_of_a_program() -> None:
    """Catches a batch that is fixed and takes any other, and rows or frames that are free without being said to be."""
    network = small_network()
    arguments = {"tile": TILE, "moments": MOMENTS, "platforms": ("cpu",)}
    free, fixed = (export_network(network, network.traits, batch=batch, **arguments) for batch in (None, 3))
    assert [str(side) for side in free.in_avals[0].shape] == ["b", "2", "16", "16", "3"]
    assert [str(side) for side in free.in_avals[1].shape] == ["b", "2", "16", "16", str(BINS)]
    assert [aval.shape[0] for aval in (*fixed.in_avals, *fixed.out_avals)] == [3, 3, 3]
    for program, frames in ((fixed, (1, 2, 16, 16, 3)), (free, (1, 2, 16, 24, 3)), (free, (1, 3, 16, 16, 3))):
        clip, counts = np.zeros(frames, np.uint8), np.zeros((*frames[:4], BINS), np.uint16)
        with pytest.raises(ValueError, match="hape"):
            program.call(clip, counts)
