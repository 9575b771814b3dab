"""Mirrored and turned copies."""

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.inference.ensemble import PLAIN, choose_variants

CLIP = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("flips", 4), ("turns", 8)])
def test_every_copy_is_another_and_comes_back(name: str, count: int) -> None:
    """Catches a copy that is there twice, one that is left out, and one that is not put back as it was."""
    variants = choose_variants(name)
    assert variants[0] == PLAIN
    copies = {variant.apply(CLIP).tobytes() for variant in variants}
    assert len(variants) == len(copies) == count
    for variant in variants:
        np.testing.assert_array_equal(variant.undo(variant.apply(CLIP)), CLIP)
        assert variant.apply(CLIP).shape == ((2, 4, 3, 3) if variant.swapped else (2, 3, 4, 3))


def test_an_ensemble_that_there_is_not() -> None:
    """Catches a misspelt name that means no ensemble."""
    with pytest.raises(InputError, match="expected an ensemble .none, flips, turns., found 'flip'"):
        choose_variants("flip")
