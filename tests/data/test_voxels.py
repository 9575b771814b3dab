"""Tests of the voxeliser."""

import numpy as np
import pytest

from spikejax.data.voxels import standardise, voxelise


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
