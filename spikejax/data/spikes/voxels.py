"""Voxels, the network's input: the spikes of an exposure window counted in equal time bins, and standardised."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, Real, UInt8, UInt16

from spikejax.data.spikes.count_kernel import count_packed
from spikejax.data.spikes.stream_files import PackedSpikes
from spikejax.io.box import Box

# The most spikes that are counted in a byte.
_BYTE = 255


def voxelise(spikes: UInt8[np.ndarray, "s h w"], bins: int) -> Float32[np.ndarray, "h w k"]:
    """Counts of spikes per pixel in `bins` equal time bins of the stream's window.

    A step belongs to the bin its middle lies in, so every spike is counted exactly once, also where the number of steps
    is not a multiple of the number of bins. With fewer steps than bins some bins are empty by construction.

    Args:
        spikes: 0 or 1; exactly the window's steps: what lies outside is the caller's to leave out.
        bins: number of time bins.
    """
    steps, height, width = spikes.shape
    # Packing first is faster than adding whole frames: what is counted then fits into the processor's caches.
    frames = np.packbits(spikes[:, ::-1].reshape(steps, -1), axis=-1, bitorder="little")
    return voxelise_packed(PackedSpikes(frames, height, width, width), bins).astype(np.float32)


def voxelise_packed(
    packed: PackedSpikes, bins: int, box: Box | None = None
) -> UInt8[np.ndarray, "h w k"] | UInt16[np.ndarray, "h w k"]:
    """What `voxelise` counts, from spikes as they are in a file, without ever unpacking them.

    Args:
        packed: exactly the window's steps.
        bins: number of time bins.
        box: count only within this part of the picture.

    Returns:
        8 bits a count, or 16 if a bin has more than 255 steps.
    """
    starts = np.array(bin_starts(len(packed.frames), bins), np.int64)
    rows, columns = packed.places(box)
    # Longer bins are counted in parts of equal number, some of them empty, that are added up in the end.
    parts = max(1, -(-int(np.diff(starts).max()) // _BYTE))
    ends = np.minimum(starts[:-1, None] + _BYTE * np.arange(parts), starts[1:, None])
    counts = np.empty((len(rows), len(columns), bins * parts), np.uint8)
    count_packed(packed.frames, np.append(ends, starts[-1]), rows, columns, counts)
    if parts == 1:
        return counts
    return counts.reshape(len(rows), len(columns), bins, parts).sum(axis=-1, dtype=np.uint16)


def bin_starts(steps: int, bins: int) -> list[int]:
    """The first step of every bin, and `steps` at the end; step i lies in bin floor((i + 1/2) * bins / steps)."""
    # The smallest i with (i + 1/2) * bins / steps >= k, in whole numbers: ceil((2 k steps - bins) / (2 bins)).
    return [max(0, -((bins - 2 * k * steps) // (2 * bins))) for k in range(bins + 1)]


def standardise(counts: Real[np.ndarray, "*shape"], *, mean: float, std: float) -> Float32[np.ndarray, "*shape"]:
    """(log1p(counts) - mean) / std, with the training split's statistics of log1p(counts).

    Raises:
        ValueError: the counts are not whole numbers from 0 to 65535.
    """
    # There are few different counts: looking them up takes two thirds of the time of a logarithm for each, or a quarter
    # of that of counts that come as float32 (5x256x256x32 counts: 8, 12 and 30 ms).
    if counts.dtype == np.uint8 and counts.size:
        table = _standardised(np.iinfo(np.uint8).max, mean, std)
        return cv2.LUT(counts.reshape(len(counts), -1), table).reshape(counts.shape)
    whole = counts.astype(np.uint16)
    if not np.array_equal(whole, counts):
        raise ValueError("expected counts of spikes: whole numbers from 0 to 65535")
    return _standardised(int(whole.max(initial=0)), mean, std).take(whole)


def _standardised(largest: int, mean: float, std: float) -> Float32[np.ndarray, " n"]:
    """The standardised values of the counts 0 to `largest`."""
    values = np.arange(largest + 1, dtype=np.float32)
    return (np.log1p(values) - np.float32(mean)) / np.float32(std)
