"""The compiled loop that counts, against NumPy's unpacking and adding."""

import numpy as np
import pytest

from spikejax.data.spikes.count_kernel import count_packed


def count_plainly(packed: np.ndarray, starts: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Unpacks every bit, picks the pixels, adds up the steps of each bin."""
    pixels = np.unpackbits(packed, axis=1, bitorder="little")[:, rows[:, None] + columns]
    bins = [pixels[first:stop].sum(axis=0) for first, stop in zip(starts[:-1], starts[1:], strict=True)]
    return np.stack(bins, axis=-1)


def count(packed: np.ndarray, starts: list[int], rows: list[int], columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The kernel's counts and the plain ones."""
    arguments = (packed, *(np.array(values, np.int64) for values in (starts, rows, columns)))
    counts = np.full((len(rows), len(columns), len(starts) - 1), 99, np.uint8)  # all of them are to be overwritten
    count_packed(*arguments, counts)
    return counts, count_plainly(*arguments)


@pytest.mark.parametrize("first_column", range(9))
@pytest.mark.parametrize("width", [1, 7, 8, 9, 31])
def test_any_part_of_a_byte(first_column: int, width: int) -> None:
    """Catches a part that begins or ends within a byte and is shifted, or loses its last pixels."""
    stored_width = 43  # no row but the first begins at a byte
    packed = np.random.default_rng(width).integers(0, 256, (24, -(-6 * stored_width // 8)), dtype=np.uint8)
    rows = [row * stored_width for row in (4, 3, 1)]  # the bottom row first, as in a file
    counts, expected = count(packed, [0, 5, 16, 24], rows, list(range(first_column, first_column + width)))
    np.testing.assert_array_equal(counts, expected)


def test_columns_with_a_gap() -> None:
    """Catches the padding between two readout halves that is counted as pixels."""
    packed = np.random.default_rng(0).integers(0, 256, (20, 2 * 8), dtype=np.uint8)
    counts, expected = count(packed, [0, 20], [0, 64], [*range(3, 30), *range(34, 61)])
    np.testing.assert_array_equal(counts, expected)


def test_a_bin_of_255_steps_is_full_and_does_not_run_over() -> None:
    """Catches a pixel's count that is carried into its neighbour's: eight of them are added as one number."""
    packed = np.full((255, 4), 0b01010101, np.uint8)
    counts, expected = count(packed, [0, 255], [0, 16], list(range(16)))
    np.testing.assert_array_equal(counts, expected)
    assert counts[0, :4, 0].tolist() == [255, 0, 255, 0]


def test_bins_without_steps_and_steps_without_a_bin() -> None:
    """Catches counts left over from another bin or row, and steps counted that no bin has."""
    packed = np.random.default_rng(1).integers(0, 256, (12, 6), dtype=np.uint8)
    counts, expected = count(packed, [2, 2, 7, 7, 9], [0, 16, 32], list(range(16)))
    np.testing.assert_array_equal(counts, expected)
    assert not counts[..., [0, 2]].any() and counts[..., [1, 3]].any()
