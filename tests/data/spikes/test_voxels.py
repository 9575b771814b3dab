"""Tests of the voxeliser."""

import numpy as np
import pytest

from spikejax.data.spikes.stream_files import PackedSpikes
from spikejax.data.spikes.voxels import standardise, voxelise, voxelise_packed
from spikejax.io.box import Box


@pytest.mark.parametrize(("steps", "bins"), [(64, 32), (56, 32), (88, 32), (33, 7), (5, 8), (1, 1), (600, 2)])
def test_bins_are_equal_times(steps: int, bins: int) -> None:
    """Catches spikes lost, counted twice or piled into the first and last bin; 300 a bin overflow 8 bits."""
    spikes = (np.random.default_rng(steps).random((steps, 3, 4)) < 0.9).astype(np.uint8)
    expected = np.zeros((3, 4, bins), np.float32)
    for step in range(steps):
        expected[:, :, int((step + 0.5) * bins / steps)] += spikes[step]
    counts = voxelise(spikes, bins)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.float32 and counts.sum() == spikes.sum()


def test_standardise_is_the_formula() -> None:
    """Catches log instead of log1p, exchanged statistics and a look-up that differs from the logarithm."""
    counts = np.random.default_rng(0).integers(0, 300, (2, 3, 4)).astype(np.float32)
    expected = (np.log(1 + counts.astype(np.float64)) - 0.3) / 0.7
    np.testing.assert_allclose(standardise(counts, mean=0.3, std=0.7), expected, rtol=1e-5, atol=1e-6)
    for wrong in (0.5, -1.0, 70_000.0):
        with pytest.raises(ValueError, match="whole numbers"):
            standardise(np.full(3, wrong, np.float32), mean=0.3, std=0.7)


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


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_whole_counts_are_standardised_alike(kind: type) -> None:
    """Catches another result for small whole numbers, and an order of memory that is taken for another."""
    counts = np.random.default_rng(0).integers(0, 200, (3, 4, 5)).astype(kind)
    expected = standardise(counts.astype(np.float32), mean=0.3, std=0.7)
    np.testing.assert_array_equal(standardise(counts, mean=0.3, std=0.7), expected)
    turned = np.moveaxis(counts, 0, -1)
    np.testing.assert_array_equal(standardise(turned, mean=0.3, std=0.7), np.moveaxis(expected, 0, -1))
