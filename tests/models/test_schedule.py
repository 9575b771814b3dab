"""Chunks of large arrays: how many, of what, and what is carried from one to the next."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from spikejax.models.schedule import count_chunks, in_chunks
from tests.models.parameters import normal


@pytest.mark.parametrize(
    ("size", "limit", "divides", "chunks"),
    [(100, 100, 12, 1), (101, 100, 12, 2), (100, 20, 12, 6), (100, 9, 12, 12), (100, 1, 12, 12), (100, 60, 7, 7)],
)
def test_chunks_are_equal_and_small_enough(size: int, limit: int, divides: int, chunks: int) -> None:
    """Catches a number that does not divide, a chunk too few, no answer where even single things are too large."""
    assert count_chunks(size, limit=limit, divides=divides) == chunks


@pytest.mark.parametrize("chunks", (1, 2, 3))
@pytest.mark.parametrize("interleaved", (False, True))
def test_every_chunk_is_worked_on_in_its_turn(chunks: int, interleaved: bool) -> None:
    """Catches results that are joined in another order, a total that starts anew, a chunk of the wrong neighbours."""
    x = jnp.asarray(normal(2, 6, 3), jnp.float32)
    order: list[tuple[int, ...]] = []

    def part(total: Array, x: Array, missing: None) -> tuple[Array, Array]:
        assert missing is None
        order.append(x.shape)
        # 1, then 10, then 100 ...: which chunk came when.
        return total * 10, 2 * x + total

    total, results = jax.jit(
        lambda x: in_chunks(part, jnp.float32(1), (x, None), chunks=chunks, interleaved=interleaved)
    )(x)
    assert order[-1] == (2, 6 // chunks, 3)
    assert total == 10**chunks
    index = np.arange(6)
    turn = index % chunks if interleaved else index // (6 // chunks)
    np.testing.assert_allclose(results, 2 * x + 10.0 ** turn[None, :, None], rtol=1e-6)
