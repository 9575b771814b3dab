"""The flows of a clip, with a flow network whose answers are known, and flow networks by name."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jaxtyping import Array, Float

from spikejax.errors import InputError
from spikejax.models import flows as module
from spikejax.models.flows import FLOWS, ClipFlows, clip_flows, find_flow_network
from spikejax.models.spynet import SCALES, SpyNet
from tests.models import loops


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


class KnownNetwork(nnx.Module):
    """Answers, instead of a flow, with (the mean of the reference, the mean of the supporting picture)."""

    def __call__(self, reference: Array, supporting: Array) -> tuple[Array, ...]:
        """The "flows" at four scales."""
        means = jnp.stack([reference.mean((1, 2, 3)), supporting.mean((1, 2, 3))], axis=-1)
        rows, columns = reference.shape[1:3]
        return tuple(
            jnp.broadcast_to(means[:, None, None] / scale, (len(means), rows // scale, columns // scale, 2))
            for scale in SCALES
        )


def test_backward_brings_the_next_frame_and_forward_the_one_before() -> None:
    """Catches swapped directions, and frames of one clip that are paired with another clip's."""
    clip = np.zeros((2, 4, 16, 16, 3))
    values = clip[:, :, 0, 0, 0] = [[1, 2, 3, 4], [50, 60, 70, 80]]
    clip[:] = np.asarray(values)[:, :, None, None, None]
    by_scale = jax.tree.map(np.asarray, jax.jit(lambda clip: clip_flows(KnownNetwork(), clip, 1))(jnp.asarray(clip)))
    for scale, flows in zip(SCALES, by_scale, strict=True):
        assert len(flows.backward) == len(flows.forward) == 1
        for b, t in np.ndindex(2, 3):
            here, after = values[b][t] / scale, values[b][t + 1] / scale
            assert flows.backward[0].shape == flows.forward[0].shape == (2, 3, 16 // scale, 16 // scale, 2)
            # Onto frame t from t+1, and onto t+1 from t.
            np.testing.assert_allclose(
                flows.backward[0][b, t], np.broadcast_to([here, after], (16 // scale,) * 2 + (2,))
            )
            np.testing.assert_allclose(
                flows.forward[0][b, t], np.broadcast_to([after, here], (16 // scale,) * 2 + (2,))
            )


def composed(near: Float[np.ndarray, "h w 2"], rest: Float[np.ndarray, "h w 2"]) -> np.ndarray:
    """Two flows after each other."""
    return near + loops.warp(rest[None], near[None])[0]


@pytest.mark.parametrize("frames", (5, 3, 2))
def test_longer_flows_are_composed_of_neighbours(frames: int) -> None:
    """Catches a longer flow of the wrong frames or in the wrong order, and a clip that is shorter than the reach."""
    fb1, ff1 = (np.random.default_rng(seed).normal(size=(1, frames - 1, 4, 5, 2)) * 2 for seed in (0, 1))
    flows = jax.jit(lambda *flows: module._compose(*flows, 3))(jnp.asarray(fb1), jnp.asarray(ff1))
    assert isinstance(flows, ClipFlows)
    assert len(flows.backward) == len(flows.forward) == min(3, frames - 1)
    fb, ff = {}, {}
    for t in range(frames - 2):
        fb[2, t] = composed(fb1[0, t], fb1[0, t + 1])
        ff[2, t] = composed(ff1[0, t + 1], ff1[0, t])
    for t in range(frames - 3):
        fb[3, t] = composed(fb[2, t], fb1[0, t + 2])
        ff[3, t] = composed(ff[2, t + 1], ff1[0, t])
    for span, t in fb:
        np.testing.assert_allclose(flows.backward[span - 1][0, t], fb[span, t], atol=1e-12)
        np.testing.assert_allclose(flows.forward[span - 1][0, t], ff[span, t], atol=1e-12)


def test_flow_networks_by_name() -> None:
    """Catches a name that is silently SpyNet, and a message that does not say what there is."""
    assert find_flow_network("spynet") is SpyNet
    with pytest.raises(InputError, match=f"model.vrt.flow: expected one of {', '.join(FLOWS)} or FILE.py:NAME"):
        find_flow_network("spinet")
