"""Tests of raising the spike camera's threshold."""

import numpy as np
import pytest

from spikejax.data.spikes.threshold import raise_threshold

STEPS, BINS = 20, 5


def integrate(light: np.ndarray, theta: float, charge: np.ndarray) -> np.ndarray:
    """Counts [t, h, w, k] of integrate-and-fire pixels, step by step; the light never exceeds the threshold."""
    charge = charge.copy()
    counts = np.zeros((len(light), *light.shape[2:], BINS), np.uint8)
    for frame, steps in enumerate(light):
        for step, amount in enumerate(steps):
            charge += amount
            fired = charge >= theta
            charge -= theta * fired
            counts[frame, ..., step * BINS // STEPS] += fired
    return counts


class Beginning(np.random.Generator):
    """Gives a known charge at the beginning."""

    def __init__(self, charge: np.ndarray):
        super().__init__(np.random.PCG64(0))
        self._charge = charge

    def uniform(self, *_: object, **__: object) -> np.ndarray:
        """The charge, in units of the old threshold."""
        return self._charge[..., None]


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_whole_factors_are_the_camera_itself(factor: int) -> None:
    """Catches thinning that forgets the charge between bins or frames: the result must be the new camera's spikes."""
    rng = np.random.default_rng(factor)
    light = rng.integers(0, 65, (3, STEPS, 4, 6)) / 64  # exact in binary, as are the thresholds
    start = rng.integers(0, 64, (4, 6)) / 64
    skipped = rng.integers(0, factor, (4, 6)).astype(np.float64)
    raised = raise_threshold(integrate(light, 1.0, start), factor, rng=Beginning(skipped))
    np.testing.assert_array_equal(raised, integrate(light, factor, start + skipped))
    assert raised.dtype == np.uint8


def test_other_factors_are_right_within_one_spike() -> None:
    """Catches a rate that is off, and the irregular counts that keeping spikes at random would give."""
    rng = np.random.default_rng(0)
    light = np.broadcast_to(rng.uniform(0.1, 1, (8, 8)), (40, STEPS, 8, 8))
    counts = integrate(light, 1.0, rng.uniform(0, 1, (8, 8)))
    raised = raise_threshold(counts, 1.7, rng=rng)
    expected = light[:, :, :, :].sum(axis=1).cumsum(axis=0) / 1.7
    assert np.abs(raised.sum(axis=-1).cumsum(axis=0) - expected).max() <= 2
    # Binomial thinning would give a variance of (1 - 1/1.7) times the mean number of spikes in a frame, about 2.7.
    assert np.var(raised.sum(axis=-1), axis=0).max() < 1
    assert raised.max() <= counts.max()


def test_beginnings_are_uniform_and_seeded() -> None:
    """Catches pixels that all drop the same spikes, and a result that the seed does not decide."""
    counts = np.ones((1, 64, 64, 4), np.uint8)
    raised, again = (raise_threshold(counts, 4.0, rng=np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(raised, again)
    np.testing.assert_allclose(raised.mean(axis=(0, 1, 2)), 0.25, atol=0.05)
    assert (raised.sum(axis=-1) == 1).all()
    with pytest.raises(ValueError, match=r"at least 1, found 0\.5"):
        raise_threshold(counts, 0.5, rng=np.random.default_rng(0))
