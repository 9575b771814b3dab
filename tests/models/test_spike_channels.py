"""Spikes as channels of the picture, `model.spike.fusion="early_concat"`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.data.spikes.voxels import bin_starts, voxelise
from spikejax.models import vrt
from spikejax.models.flows import clip_flows
from spikejax.models.fusion import SpikeBranchConfig, SpikeChannels
from spikejax.models.restorer import Restorer, build_restorer
from spikejax.models.rngs import make_rngs
from tests.inference.small_input import tiny_config


@pytest.mark.parametrize(("steps", "bins"), [(56, 4), (41, 4), (5, 4), (4, 4), (21, 3)])
def test_shares_of_steps(steps: int, bins: int) -> None:
    """Catches a share of another number of steps than a bin has, where they do not all have as many."""
    spikes = np.random.default_rng(0).integers(0, 2, (steps, 3, 5)).astype(np.uint8)
    spikes[:, 0, 0] = 1
    counts = jnp.asarray(voxelise(spikes, bins)[None, None], jnp.float32)
    shares = SpikeChannels(bins, steps)(counts)[0, 0]
    starts = bin_starts(steps, bins)
    for number, (start, stop) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        np.testing.assert_allclose(shares[..., number], spikes[start:stop].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(shares[0, 0], 1)


class _Reached(Exception):
    """The first convolution was called, with this input."""


def _stop(x: Any) -> None:
    raise _Reached(x)


@pytest.mark.slow
def test_what_the_first_convolution_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches channels in another order, spikes that are not warped with their frame, or that change the flows."""
    network = build_restorer(tiny_config(fusion="early_concat", bins=4, steps=8).model, rngs=make_rngs(0))
    assert isinstance(network, Restorer)
    assert network.vrt.conv_first.kernel.shape[-2] == 63 and network.spike_branch is None
    rng = np.random.default_rng(0)
    clip = jnp.asarray(rng.random((1, 3, 16, 16, 3)), jnp.float32)
    counts = jnp.asarray(rng.integers(0, 3, (1, 3, 8, 8, 4)), jnp.float32)
    # Whole pixels to the right: what is warped is a picture itself, four times.
    flow = jnp.zeros((1, 2, 16, 16, 2)).at[..., 0].set(1.0)
    seen = []

    def flows_of(spynet: Any, picture: Any, *, reach: int) -> Any:
        seen.append(picture)
        flows = clip_flows(spynet, picture, reach=reach)
        same = jax.tree.map(lambda leaf: flow if leaf.shape == flow.shape else leaf, flows)
        return same

    monkeypatch.setattr(vrt, "clip_flows", flows_of)
    network.vrt.conv_first = _stop
    with pytest.raises(_Reached) as caught:
        network(clip, counts)
    x = np.asarray(caught.value.args[0])
    np.testing.assert_array_equal(seen[0], clip)
    shares = np.repeat(np.repeat(np.asarray(counts) / 2, 2, axis=2), 2, axis=3)
    joined = np.concatenate([clip, shares], axis=-1)
    assert x.shape == (1, 3, 16, 16, 63)
    np.testing.assert_array_equal(x[..., :7], joined)
    for copy in range(4):
        # nearest4: the pixels around a position, of which the first is the one itself where it is whole.
        after, before = x[..., 7 + 7 * copy : 14 + 7 * copy], x[..., 35 + 7 * copy : 42 + 7 * copy]
        if copy == 0:
            np.testing.assert_array_equal(after[:, :-1, :, :-2], joined[:, 1:, :, 1:-1])
            np.testing.assert_array_equal(before[:, 1:, :, :-2], joined[:, :-1, :, 1:-1])
        np.testing.assert_array_equal(after[:, -1], 0)
        np.testing.assert_array_equal(before[:, 0], 0)


def test_what_it_needs() -> None:
    """Catches statistics that are asked for and not used, and a window with fewer steps than bins."""
    network = nnx.eval_shape(
        lambda: build_restorer(tiny_config(fusion="early_concat", bins=4).model, rngs=make_rngs(0))
    )
    traits = network.traits
    assert (traits.spike_bins, traits.spike_normalise, traits.needs_statistics) == (4, "none", False)
    assert network.needs_spikes
    with pytest.raises(ValueError, match="spike.steps must be at least spike.bins, 4, not 3"):
        SpikeBranchConfig(fusion="early_concat", bins=4, steps=3)
