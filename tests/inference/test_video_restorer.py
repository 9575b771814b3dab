"""The Python interface, on arrays and iterators, for networks of every task."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.spikes.voxels import standardise, voxelise
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.models.traits import NetworkTraits

TILE, OVERLAP = Extent(4, 24, 32), Extent(1, 8, 8)
CLIP = np.random.default_rng(0).random((7, 40, 56, 3), np.float32)


class Enlarge(nnx.Module):
    """Repeats every pixel; as many times brighter as the clip has frames."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        return clip[..., :3].repeat(self.factor, 2).repeat(self.factor, 3) * clip.shape[1]


class Middle(nnx.Module):
    """The mean of a clip's frames."""

    def __call__(self, clip: jax.Array, voxels: None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        return clip.mean(axis=1, keepdims=True)


class FourthChannel(nnx.Module):
    """What it is told about the noise."""

    def __call__(self, clip: jax.Array, voxels: None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        assert clip.shape[-1] == 4
        return jnp.broadcast_to(clip[..., 3:], (*clip.shape[:-1], 3))


class Voxels(nnx.Module):
    """The sum of what it sees of the spikes, which have half the resolution."""

    def __call__(self, clip: jax.Array, voxels: jax.Array, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        total = voxels.sum(axis=-1, keepdims=True)
        return jnp.broadcast_to(total.repeat(2, 2).repeat(2, 3), clip.shape)


def restorer_of(model: nnx.Module, traits: NetworkTraits) -> VideoRestorer:
    """With small tiles."""
    statistics = SpikeStatistics(bins=4, mean=0.3, std=0.5, windows=1)
    return VideoRestorer(model, traits, statistics=statistics, tile=TILE, overlap=OVERLAP)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "bfloat16"])
def test_arrays_of_every_kind(dtype: str) -> None:
    """Catches a range or rounding that depends on the dtype, and JAX arrays that are not taken."""
    most = {"uint8": 255, "uint16": 65535}.get(dtype)
    clip = CLIP / 4 if most is None else np.floor(CLIP / 4 * most)
    array = jnp.asarray(clip, jnp.bfloat16) if dtype == "bfloat16" else clip.astype(dtype)
    restored = restorer_of(Enlarge(), NetworkTraits()).restore(array)
    assert restored.dtype == (dtype if most else "float32")
    expected = np.asarray(array, np.float64) * TILE.frames
    np.testing.assert_allclose(restored, expected, atol=0 if most else 1e-6)


def test_an_iterator_is_restored_as_it_comes() -> None:
    """Catches a stream that is read whole before the first frame comes out."""
    read = []

    def frames() -> Iterator[np.ndarray]:
        for frame in np.concatenate([CLIP] * 4):
            read.append(None)
            yield frame

    restored = restorer_of(Enlarge(), NetworkTraits()).restore(frames())
    np.testing.assert_allclose(next(restored), CLIP[0] * TILE.frames, atol=1e-6)
    assert len(read) <= 3 * TILE.frames  # while one clip is restored, the next one waits and that after it is read
    assert len(list(restored)) == 27


@pytest.mark.parametrize(("window", "frames"), [(8, 8), (6, 7)])
def test_super_resolution(window: int, frames: int) -> None:
    """Catches an answer of the input's size, and 7 frames that are not filled up to a window of 8 (and cut back)."""
    restored = restorer_of(Enlarge(2), NetworkTraits(upscale=2, window=window)).restore(CLIP, tile=(8, 24, 32))
    np.testing.assert_allclose(restored, CLIP.repeat(2, 1).repeat(2, 2) * frames, rtol=1e-5)


@pytest.mark.parametrize("times", [2, 4])
def test_interpolation(times: int) -> None:
    """Catches another number of frames than is asked for, and frames of the input that change."""
    restored = restorer_of(Middle(), NetworkTraits(interpolates=True, window=4)).restore(CLIP, times=times)
    assert len(restored) == times * (len(CLIP) - 1) + 1
    np.testing.assert_array_equal(restored[::times], CLIP)
    np.testing.assert_allclose(restored[2 * times + times // 2], CLIP[1:5].mean(axis=0), atol=1e-6)


def test_the_noise_level_reaches_the_network() -> None:
    """Catches a sigma of another unit, and a network that is told nothing."""
    restorer = restorer_of(FourthChannel(), NetworkTraits(noise_level=True))
    np.testing.assert_allclose(restorer.restore(CLIP, sigma=25.5), np.full(CLIP.shape, 0.1), rtol=1e-6)
    with pytest.raises(InputError, match="expected a sigma"):
        restorer.restore(CLIP)
    with pytest.raises(InputError, match="expected no sigma"):
        restorer_of(Enlarge(), NetworkTraits()).restore(CLIP, sigma=10)


def test_tiles_are_normalised_as_the_network_wants() -> None:
    """Catches a network of normalised clips that is given, when it restores, what the statistics alone make of them."""
    counts = np.random.default_rng(1).integers(0, 9, (7, 20, 28, 4), dtype=np.uint8)
    restorer = restorer_of(Voxels(), NetworkTraits(spike_bins=4, spike_normalise="clip"))
    restored, thrice = (restorer.restore(CLIP, counts=c, tile=(0, 0, 0)) for c in (counts, 3 * counts))
    expected = standardise(np, counts, mean=0.3, std=0.5, by="clip").sum(axis=-1)
    np.testing.assert_allclose(restored[..., 0], expected.repeat(2, 1).repeat(2, 2), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(thrice, restored, atol=1e-4)


@pytest.mark.parametrize("as_counts", [False, True])
def test_spikes_reach_the_network(as_counts: bool) -> None:
    """Catches other statistics or bins than the training's, of the device's own logarithm too."""
    spikes = (np.random.default_rng(1).random((7, 12, 20, 28)) < 0.4).astype(np.uint8)
    counts = np.stack([voxelise(window, 4) for window in spikes])
    restorer = restorer_of(Voxels(), NetworkTraits(spike_bins=4))
    restored = restorer.restore(CLIP, counts=counts) if as_counts else restorer.restore(CLIP, spikes)
    expected = standardise(np, counts, mean=0.3, std=0.5).sum(axis=-1)
    np.testing.assert_allclose(restored[..., 0], expected.repeat(2, 1).repeat(2, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("clip", "spikes", "message"),
    [
        (CLIP[0], None, r"clip \[t,h,w,3\], found an array of shape \(40, 56, 3\)"),
        (CLIP[..., :2], None, r"frames \[h,w,3\]"),
        (CLIP[:1], None, "at least 2 frames, found 1"),
        (CLIP[:, :7, :5], None, "frames of at least 16x16, found 7x5"),
        (CLIP[:0], None, "at least 2 frames, found 0"),
        (CLIP.astype(np.int32), None, "uint8, uint16 or floats"),
        (CLIP, np.zeros((7, 3, 40, 56), np.uint8), "expected no spikes"),
    ],
)
def test_clips_that_do_not_fit(clip: np.ndarray, spikes: np.ndarray | None, message: str) -> None:
    """Catches a failure inside the network that speaks of shapes nobody has seen."""
    with pytest.raises(InputError, match=message):
        restorer_of(Enlarge(), NetworkTraits()).restore(clip, spikes)


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        (None, "needs them"),
        (np.zeros((6, 8, 20, 28), np.uint8), "every frame, found fewer"),
        (np.zeros((8, 8, 20, 28), np.uint8), "every frame, found more"),
        (np.zeros((7, 8, 30, 56), np.uint8), "a whole part of it"),
        (np.zeros((7, 8, 80, 112), np.uint8), "a whole part of it, found 80x112"),
        (np.zeros((7, 40, 56), np.uint8), r"each frame as \[s,h,w\]"),
    ],
)
def test_spikes_that_do_not_fit(spikes: np.ndarray | None, message: str) -> None:
    """Catches spikes of other frames or another camera."""
    with pytest.raises(InputError, match=message):
        restorer_of(Voxels(), NetworkTraits(spike_bins=4)).restore(CLIP, spikes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": (1, 24, 32)}, "tile of at least 2,16,16"),
        ({"tile": (4, 16, 16), "overlap": (1, 16, 8)}, "overlap smaller than"),
        ({"tile": "largest"}, 'or "auto", found .largest.'),
        ({"ensemble": "all"}, "expected an ensemble"),
        ({"times": 2}, "does not interpolate"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    """Catches a mistake that shows as something else."""
    with pytest.raises(InputError, match=message):
        restorer_of(Enlarge(), NetworkTraits()).restore(CLIP, **options)


def test_a_tile_far_too_small_for_the_frame() -> None:
    """Catches weeks of work on what a slip of the pen made of a tile."""
    clip = np.zeros((2, 2160, 3840, 3), np.uint8)
    with pytest.raises(InputError, match="at most 4096 times, found 128851 tiles of 2,16,16 in a frame of 2160x3840"):
        restorer_of(Enlarge(), NetworkTraits()).restore(clip, tile=(2, 16, 16), overlap=(0, 8, 8))


def test_the_overlap_gives_way_to_a_small_tile() -> None:
    """Catches a complaint about an overlap that nobody gave, and one that is made smaller without need."""
    restorer = VideoRestorer(Enlarge(), NetworkTraits(), tile=Extent(12, 256, 256), overlap=Extent(2, 20, 20))
    for tile, overlap in (((2, 24, 64), (1, 12, 20)), ((12, 0, 0), (2, 20, 20)), ((3, 16, 41), (1, 8, 20))):
        assert restorer.overlap_of(Extent(*tile)) == Extent(*overlap)
    np.testing.assert_allclose(restorer.restore(CLIP, tile=(2, 24, 32)), 2 * np.asarray(CLIP, np.float64), atol=1e-5)


def test_the_largest_tile_gives_the_untiled_answer() -> None:
    """Catches a small tile where memory is no matter, and a choice that never reaches the stream."""
    restorer = restorer_of(Enlarge(), NetworkTraits())
    np.testing.assert_array_equal(restorer.restore(CLIP, tile="auto"), restorer.restore(CLIP, tile=(4, 0, 0)))
