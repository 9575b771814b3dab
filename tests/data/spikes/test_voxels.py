"""Tests of the voxeliser."""

import subprocess
import sys
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest

from spikejax.data.spikes.stream_files import PackedSpikes
from spikejax.data.spikes.voxels import reverse_time, standardise, voxelise, voxelise_packed, whole_counts
from spikejax.errors import InputError
from spikejax.io.box import Box


@pytest.mark.parametrize(("steps", "bins"), [(64, 32), (56, 32), (88, 32), (33, 7), (5, 8), (1, 1), (600, 2)])
def test_bins_are_equal_times(steps: int, bins: int) -> None:
    """Catches spikes lost, counted twice or piled into the first and last bin; 300 a bin overflow 8 bits."""
    spikes = (np.random.default_rng(steps).random((steps, 3, 4)) < 0.9).astype(np.uint8)
    expected = np.zeros((3, 4, bins), np.int64)
    for step in range(steps):
        expected[:, :, int((step + 0.5) * bins / steps)] += spikes[step]
    counts = voxelise(spikes, bins)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == (np.uint16 if steps == 600 else np.uint8) and counts.sum() == spikes.sum()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("xp", [np, jnp])
def test_standardise_is_the_formula(xp: ModuleType, kind: type) -> None:
    """Catches log instead of log1p, exchanged statistics, and a device whose voxels are not those of training."""
    counts = np.random.default_rng(0).integers(0, 256 if kind == np.uint8 else 65536, (2, 3, 4)).astype(kind)
    expected = (np.log(1 + counts.astype(np.float64)) - 0.3) / 0.7
    voxels = standardise(xp, xp.asarray(counts), mean=0.3, std=0.7)
    assert voxels.dtype == np.float32
    np.testing.assert_allclose(voxels, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("xp", [np, jnp])
def test_clips_are_scaled_to_the_typical_count(xp: ModuleType, kind: type) -> None:
    """Catches a clip that is scaled by its neighbours in the batch, to another mean, or on the device otherwise."""
    rng = np.random.default_rng(0)
    one = rng.integers(0, 9, (3, 4, 5, 2))
    counts = np.stack([one, 3 * one, rng.integers(0, 40, one.shape)]).astype(kind)
    voxels = np.asarray(standardise(xp, xp.asarray(counts), mean=0.6, std=0.7, by="clip"))
    scale = np.expm1(0.6) / counts.mean(axis=(1, 2, 3, 4), keepdims=True)
    np.testing.assert_allclose(voxels, (np.log1p(counts * scale) - 0.6) / 0.7, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(voxels[1], voxels[0], atol=1e-5)
    assert voxels.dtype == np.float32
    alone = standardise(xp, xp.asarray(counts[2]), mean=0.6, std=0.7, by="clip")
    np.testing.assert_allclose(alone, voxels[2], atol=1e-6)


@pytest.mark.parametrize("xp", [np, jnp])
def test_dark_clips_are_not_scaled_without_bound(xp: ModuleType) -> None:
    """Catches a division by 0 where nothing fired, and a clip of one spike that becomes a bright one."""
    counts = np.zeros((2, 3, 4, 5, 2), np.uint8)
    counts[1, 0, 0, 0, 0] = 1
    voxels = np.asarray(standardise(xp, xp.asarray(counts), mean=0.6, std=0.7, by="clip"))
    np.testing.assert_allclose(voxels[0], -0.6 / 0.7, rtol=1e-6)
    np.testing.assert_allclose(voxels[1, 0, 0, 0, 0], (np.log1p(16) - 0.6) / 0.7, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_any_order_of_memory_is_standardised_alike(kind: type) -> None:
    """Catches a look-up that takes one order of memory for another, and one that fails where there is nothing."""
    counts = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(kind)
    expected = np.moveaxis(standardise(np, counts, mean=0.3, std=0.7), 0, -1)
    np.testing.assert_array_equal(standardise(np, np.moveaxis(counts, 0, -1), mean=0.3, std=0.7), expected)
    assert standardise(np, counts[:0], mean=0.3, std=0.7).shape == (0, 4, 5)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0.0, 255.0], None, np.uint8),
        ([0.0, 256.0], None, np.uint16),
        ([3.0, 7.0], np.uint16, np.uint16),
        ([0.0, 65535.0], np.uint16, np.uint16),
    ],
)
def test_counts_become_whole_numbers(values: list[float], dtype: type | None, expected: type) -> None:
    """Catches counts that wrap round, and a type that is not the one asked for or not the smaller one."""
    whole = whole_counts(np.array(values, np.float32), dtype)
    np.testing.assert_array_equal(whole, values)
    assert whole.dtype == expected


@pytest.mark.parametrize("wrong", [0.5, -1.0, 65536.0, np.nan, np.inf])
@pytest.mark.parametrize("dtype", [None, np.uint8, np.uint16])
def test_what_is_no_count_is_refused(wrong: float, dtype: type | None) -> None:
    """Catches numbers that are no counts and reach the network as others, and a message without the file."""
    with pytest.raises(InputError, match=r"expected counts of spikes, whole numbers .*: some/file\.npy") as caught:
        whole_counts(np.array([1.0, wrong], np.float32), dtype, source="some/file.npy")
    assert "\n" not in str(caught.value)


def test_time_runs_backwards() -> None:
    """Catches frames that are reversed while the bins within them still run forward, or the other way round."""
    spikes = (np.random.default_rng(0).random((24, 2, 4)) < 0.4).astype(np.uint8)
    forward = np.stack([voxelise(window, 4) for window in spikes.reshape(3, 8, 2, 4)])
    backward = np.stack([voxelise(window, 4) for window in spikes[::-1].reshape(3, 8, 2, 4)])
    np.testing.assert_array_equal(reverse_time(forward), backward)


def test_standardising_needs_no_compiler_of_counts() -> None:
    """Catches numba or OpenCV, seconds of importing, in what restores from counts that are there already."""
    program = "import sys, spikejax.data.spikes.voxels; print({'numba', 'cv2', 'jax'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("height", "width", "stored_width", "box"),
    [
        (6, 8, 8, None),
        (5, 24, 24, Box(1, 3, 3, 17)),
        (8, 13, 13, Box(2, 5, 6, 7)),  # rows do not start at bytes
        (2, 4, 4, None),
        (3, 400, 416, Box(0, 130, 2, 270)),
        (8, 1000, 1024, Box(1, 490, 6, 30)),  # across the two halves of the readout
    ],
)
@pytest.mark.parametrize(("steps", "bins"), [(1, 3), (20, 6), (530, 2), (770, 1)])
def test_packed_equals_unpacked(
    height: int, width: int, stored_width: int, box: Box | None, steps: int, bins: int
) -> None:
    """Catches pixels of other rows, columns or bits, and counts above 255 that run over into their neighbours."""
    rng = np.random.default_rng(steps)
    frames = rng.integers(0, 256, (steps, height * stored_width // 8)).astype(np.uint8)
    frames |= rng.integers(0, 256, frames.shape).astype(np.uint8)
    packed = PackedSpikes(frames, height, width, stored_width)
    spikes = packed.unpack(box)
    expected = np.zeros((*spikes.shape[1:], bins), np.int64)
    for step in range(steps):
        expected[:, :, int((step + 0.5) * bins / steps)] += spikes[step]
    counts = voxelise_packed(packed, bins, box)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == (np.uint8 if steps <= 255 * bins else np.uint16)


def test_full_and_empty_streams() -> None:
    """Catches a byte of counts that overflows where every step fires, and what is left over from before."""
    for value in (0, 1):
        counts = voxelise(np.full((255, 3, 7), value, np.uint8), 1)
        np.testing.assert_array_equal(counts, 255 * value)
