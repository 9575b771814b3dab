"""Voxels, the network's input: the spikes of an exposure window counted in equal time bins, and standardised."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8


def voxelise(spikes: UInt8[np.ndarray, "s h w"], bins: int) -> Float32[np.ndarray, "h w k"]:
    """Counts of spikes per pixel in `bins` equal time bins of the stream's window.

    A step belongs to the bin its middle lies in, so every spike is counted exactly once, also where the number of steps
    is not a multiple of the number of bins. With fewer steps than bins some bins are empty by construction.

    Args:
        spikes: 0 or 1; exactly the window's steps: what lies outside is the caller's to leave out.
        bins: number of time bins.
    """
    steps, height, width = spikes.shape
    starts = bin_starts(steps, bins)
    # Small whole numbers until the end: 3 times faster than counting in float32 at 128x160 and 64 steps.
    counts = np.empty((height, width, bins), np.uint8 if steps <= 255 else np.uint32)
    for index in range(bins):
        counts[..., index] = spikes[starts[index] : starts[index + 1]].sum(axis=0, dtype=counts.dtype)
    return counts.astype(np.float32)


def bin_starts(steps: int, bins: int) -> list[int]:
    """The first step of every bin, and `steps` at the end; step i lies in bin floor((i + 1/2) * bins / steps)."""
    # The smallest i with (i + 1/2) * bins / steps >= k, in whole numbers: ceil((2 k steps - bins) / (2 bins)).
    return [max(0, -((bins - 2 * k * steps) // (2 * bins))) for k in range(bins + 1)]


def standardise(counts: Float32[np.ndarray, "*shape"], *, mean: float, std: float) -> Float32[np.ndarray, "*shape"]:
    """(log1p(counts) - mean) / std, with the training split's statistics of log1p(counts).

    Raises:
        ValueError: the counts are not whole numbers from 0 to 65535.
    """
    whole = counts.astype(np.uint16)
    if not np.array_equal(whole, counts):
        raise ValueError("expected counts of spikes: whole numbers from 0 to 65535")
    # There are few different counts: looking them up is 8 times as fast as a logarithm for each, with the same result.
    values = np.arange(int(whole.max(initial=0)) + 1, dtype=np.float32)
    return ((np.log1p(values) - np.float32(mean)) / np.float32(std)).take(whole)
