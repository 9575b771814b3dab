"""Pictures of fallen leaves."""

import numpy as np
import pytest

from spikejax.data.simulation.leaves import fall_leaves


@pytest.mark.parametrize("seed", range(3))
def test_shapes_of_all_sizes_in_the_photographs_colours(seed: int) -> None:
    """Catches light out of range, colours of nowhere, a bare ground, and shapes of one size alone."""
    rng = np.random.default_rng(seed)
    red = np.zeros((400, 300, 3), np.float32)
    red[..., 0] = rng.uniform(0.2, 1, red.shape[:2])
    blue = red[::-1, ::-1, ::-1].copy()
    leaves = fall_leaves([red, blue], np.random.default_rng(seed))
    assert leaves.dtype == np.float32 and 0 <= leaves.min() and leaves.max() <= 1
    assert (leaves[..., 1] == 0).all() and (np.minimum(leaves[..., 0], leaves[..., 2]) == 0).all()
    is_red = leaves[..., 0] > 0
    assert 0.15 < is_red.mean() < 0.85
    # As in photographs, pixels at any distance are more alike than those further away.
    alike = [(is_red[:, distance:] == is_red[:, :-distance]).mean() for distance in (1, 8, 64)]
    assert alike[0] > 0.85 and alike[0] - alike[1] > 0.05 and alike[1] - alike[2] > 0.05


def test_leaves_follow_from_the_seed() -> None:
    """Catches a data set that cannot be made again, and one picture for all sequences."""
    photograph = np.random.default_rng(0).random((64, 64, 3), dtype=np.float32)
    one, again, other = (fall_leaves([photograph], np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 0.1
