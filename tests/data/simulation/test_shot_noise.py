"""The tables that Poisson numbers are drawn from."""

import math

import numpy as np
import pytest

from spikejax.data.simulation.camera_kernels import MAX_SLOTS
from spikejax.data.simulation.shot_noise import poisson_tables

OTHER_BITS = int(math.log2(MAX_SLOTS))


def shares(table: np.ndarray) -> np.ndarray:
    """The probability of each slot's outcome that an alias table stands for."""
    own = (table >> OTHER_BITS) / 2.0 ** (32 - OTHER_BITS)
    other = table & (MAX_SLOTS - 1)
    drawn = own + np.bincount(other, weights=1 - own, minlength=len(table))[: len(table)]
    return drawn / len(table)


@pytest.mark.parametrize("mean", [0.5, 20.0, 3000.0])
def test_tables_are_poisson_distributions(mean: float) -> None:
    """Catches a slot with another's share, an outcome shifted, and levels that are not evenly spaced."""
    tables = poisson_tables(mean)
    levels = len(tables.coarse) - 1
    for level in (1, levels // 3, levels):
        rate = level * mean / levels
        outcomes = tables.first[level] + np.arange(tables.coarse.shape[1])
        exact = np.exp([n * math.log(rate) - rate - math.lgamma(n + 1) for n in outcomes])
        # A share has 20 bits in each of up to thousands of slots.
        np.testing.assert_allclose(shares(tables.coarse[level]), exact, atol=2e-6)
    assert tables.fine_mean * len(tables.fine) == pytest.approx(mean / levels)
