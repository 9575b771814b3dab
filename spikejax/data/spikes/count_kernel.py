"""The compiled loop that counts packed spikes. It releases the interpreter's lock, so that threads run side by side."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64, UInt8

from spikejax.data.compiled import compiled

# Byte i of the 8 bytes of entry b is bit i of b: adding entries counts 8 pixels at once (little-endian machines).
_SPREAD = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").view(np.uint64)[:, 0]


@compiled
def count_packed(
    packed: UInt8[np.ndarray, "s n"],
    starts: Int64[np.ndarray, " bins1"],
    rows: Int64[np.ndarray, " h"],
    columns: Int64[np.ndarray, " w"],
    counts: UInt8[np.ndarray, "h w k"],
) -> None:
    """Fills `counts` with the number of spikes of every pixel in every bin.

    Args:
        packed: 8 pixels a byte, the first in the lowest bit.
        starts: the first step of each bin and the step after the last one; no bin has more than 255 steps.
        rows: the number, within a packed frame, of the first pixel of each row.
        columns: the columns to count, ascending, as pixels after the row's first.
        counts: the result.
    """
    bins = len(starts) - 1
    span = columns[-1] - columns[0] + 1
    lanes = np.empty((bins, (span + 14) // 8), np.uint64)
    for row in range(len(rows)):
        first_byte, lead = divmod(rows[row] + columns[0], 8)
        used = (lead + span + 7) // 8
        lanes[:] = 0
        for k in range(bins):
            for step in range(starts[k], starts[k + 1]):
                for byte in range(used):
                    lanes[k, byte] += _SPREAD[packed[step, first_byte + byte]]
        pixels = lanes.view(np.uint8)
        for column in range(len(columns)):
            lane = lead + columns[column] - columns[0]
            for k in range(bins):
                counts[row, column, k] = pixels[k, lane]
