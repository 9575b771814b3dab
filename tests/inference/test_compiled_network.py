"""A network compiled for tiles of one shape; test_devices.py has several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.data.spikes.voxels import standardise
from spikejax.inference.compiled_network import ClipShape, CompiledNetwork, use_devices

TILES = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 6, 3), dtype=np.uint8)


class Echo(nnx.Module):
    """The clip, plus its noise level, plus the voxels of its first bin."""

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        result = clip[..., :3]
        if clip.shape[-1] == 4:
            result = result + clip[..., 3:]
        return result if voxels is None else result + voxels[..., :1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiles_of_every_depth_in_their_order(dtype: str) -> None:
    """Catches tiles out of order or lost where one is sent while another is computed, and another range."""
    most = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    tiles = (TILES / 255 * most).astype(dtype)
    network = CompiledNetwork(Echo(), ClipShape((2, 4, 6), dtype), devices=use_devices(1))
    answers = list(network.restore((tile, None) for tile in tiles))
    np.testing.assert_allclose(np.stack(answers), tiles.astype(np.float64) / most, atol=1e-6)
    assert network.compile_seconds > 0 and network.bytes > tiles[0].nbytes


@pytest.mark.parametrize("way", ["statistics", "clip"])
def test_noise_level_and_counts_reach_the_network(way: str) -> None:
    """Catches a noise level of another unit, and counts that are standardised in another way than in training."""
    counts = np.random.default_rng(1).integers(0, 9, (3, 2, 4, 6, 5), dtype=np.uint8)
    shape = ClipShape((2, 4, 6), counts=(2, 4, 6, 5))
    network = CompiledNetwork(Echo(), shape, statistics=(0.5, 0.25), normalise=way, sigma=51.0, devices=use_devices(1))
    answers = np.stack(list(network.restore(zip(TILES, counts, strict=True))))
    voxels = standardise(np, counts, mean=0.5, std=0.25, by=way)[..., :1]
    np.testing.assert_allclose(answers, TILES / 255 + 0.2 + voxels, atol=1e-5)


def test_a_network_may_compute_in_another_type() -> None:
    """Catches restored tiles of bfloat16, which NumPy cannot add up."""

    class Short(nnx.Module):
        def __call__(self, clip: jax.Array, voxels: None, *, key: None = None) -> jax.Array:
            return clip.astype(jnp.bfloat16)

    network = CompiledNetwork(Short(), ClipShape((2, 4, 6)), devices=use_devices(1))
    (answer,) = network.restore([(TILES[0], None)])
    assert answer.dtype == np.float32
