"""Counts of spikes, and voxels: all that is known of their numbers is here.

The spikes of an exposure window are counted per pixel in equal time bins. Counts [h, w, k], or [t, h, w, k] of several
frames, are whole numbers from 0 to 65535, uint8 where they fit and else uint16, wherever they are kept or sent. The
network takes voxels: the counts' logarithms, standardised; NumPy and JAX make them by the same formula.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Integer, Real, Shaped, UInt8, UInt16

from spikejax.data.spikes.stream_files import PackedSpikes, pack
from spikejax.errors import InputError
from spikejax.io.box import Box

Counts = UInt8[np.ndarray, "*shape"] | UInt16[np.ndarray, "*shape"]
CountType = type[np.uint8] | type[np.uint16]

# The largest number of spikes that is counted in a byte.
_BYTE = int(np.iinfo(np.uint8).max)
_LARGEST = int(np.iinfo(np.uint16).max)
# The smallest mean of a clip's counts, of the typical one, that its counts are divided by: fewer spikes are darkness
# rather than a high threshold, and to divide by still less would show the network nothing but their noise.
_DARKEST = 1 / 16


def voxelise(spikes: UInt8[np.ndarray, "s h w"], bins: int) -> Counts:
    """Counts of spikes per pixel in `bins` equal time bins of the stream's window, [h, w, k].

    A step belongs to the bin its middle lies in, so every spike is counted exactly once, also where the number of steps
    is not a multiple of the number of bins. With fewer steps than bins some bins are empty by construction.

    Args:
        spikes: 0 or 1; exactly the window's steps: what lies outside is the caller's to leave out.
        bins: number of time bins.

    Returns:
        8 bits a count, or 16 if a bin has more than 255 steps.
    """
    # Packing first is faster than adding whole frames: what is counted then fits into the processor's caches.
    return voxelise_packed(pack(spikes), bins)


def voxelise_packed(packed: PackedSpikes, bins: int, box: Box | None = None) -> Counts:
    """What `voxelise` counts, from spikes as they are in a file, without ever unpacking them.

    Args:
        packed: exactly the window's steps.
        bins: number of time bins.
        box: count only within this part of the picture.
    """
    # Here and not above: numba takes a second to import, and what only standardises counts does without it.
    from spikejax.data.spikes.count_kernel import count_packed

    starts = np.array(bin_starts(len(packed.frames), bins), np.int64)
    rows, columns = packed.pixels(box)
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


def whole_counts(counts: Real[np.ndarray, "*shape"], dtype: CountType | None = None, *, source: object = "") -> Counts:
    """The same counts as unsigned whole numbers.

    Args:
        counts: of any numeric type, such as float32 from a file.
        dtype: of the result; None = the smaller one that holds them all.
        source: names them in errors.

    Raises:
        InputError: they are not whole numbers, or not from 0 to what the type holds.
    """
    if counts.dtype == (np.uint8 if dtype is None else dtype):
        return counts
    if dtype is None:
        dtype = np.uint8 if counts.max(initial=0) <= _BYTE else np.uint16
    with np.errstate(invalid="ignore"):  # what is not finite is refused below
        whole = counts.astype(dtype, copy=False)
    if not np.array_equal(whole, counts):
        largest = _BYTE if dtype == np.uint8 else _LARGEST
        expected = f"expected counts of spikes, whole numbers from 0 to {largest}"
        where = f": {source}" if source else ""
        raise InputError(f"{expected}, found values from {counts.min():g} to {counts.max():g}{where}")
    return whole


def standardise(
    xp: ModuleType,
    counts: Integer[Any, "*shape"],
    *,
    mean: float | Float[Any, ""],
    std: float | Float[Any, ""],
    by: str = "statistics",
) -> Float32[Any, "*shape"]:
    """The voxels (log1p(counts) - mean) / std, with the training split's statistics of log1p(counts).

    By "clip", the counts of each clip are first scaled to a mean of exp(mean) - 1, the typical count of the training
    split: a camera with another threshold, or in another light, then gives about the same voxels.

    Args:
        xp: `numpy` or `jax.numpy`, whichever the counts are of.
        counts: whole numbers from 0 to 65535, see `whole_counts`; by "clip" [t, h, w, k] or a batch of such clips.
        mean: of the logarithms; an argument of the compiled program with `jax.numpy`, so that one serves all networks.
        std: likewise.
        by: "statistics" or "clip", `model.spike.normalise`; or "none", for a network that takes counts as they are.
    """
    if by == "none":
        return xp.asarray(counts, xp.float32)
    if by == "clip" and xp is np and counts.ndim > 4:
        return np.stack([standardise(np, clip, mean=mean, std=std, by=by) for clip in counts])
    scale = _clip_scale(xp, counts, mean) if by == "clip" else None
    if xp is not np:
        return _voxels_of(xp, counts, mean, std, scale)
    # There are few different counts: looking them up takes two thirds of the time of a logarithm for each (5x256x256x32
    # counts of uint8: 8 and 12 ms).
    if counts.dtype == np.uint8 and counts.size:
        import cv2  # here for the same reason as numba above

        table = _voxels_of(np, np.arange(_BYTE + 1), mean, std, scale)
        return cv2.LUT(counts.reshape(len(counts), -1), table).reshape(counts.shape)
    return _voxels_of(np, np.arange(int(counts.max(initial=0)) + 1), mean, std, scale).take(counts)


def _voxels_of(
    xp: ModuleType,
    counts: Integer[Any, "*shape"],
    mean: float | Float[Any, ""],
    std: float | Float[Any, ""],
    scale: Float32[Any, "..."] | None,
) -> Float32[Any, "*shape"]:
    """The formula, in float32, with counts that are scaled first unless `scale` is None."""
    mean, std = xp.asarray(mean, xp.float32), xp.asarray(std, xp.float32)
    values = counts.astype(xp.float32)
    return (xp.log1p(values if scale is None else values * scale) - mean) / std


def _clip_scale(
    xp: ModuleType, counts: Integer[Any, "*batch t h w k"], mean: float | Float[Any, ""]
) -> Float32[Any, "..."]:
    """What brings the mean of each clip's counts to the typical count: [b, 1, 1, 1, 1], of one NumPy clip a number."""
    typical = xp.expm1(xp.asarray(mean, xp.float32))
    if xp is np:
        own = np.asarray(counts.mean(dtype=np.float64), np.float32)
    else:
        own = counts.astype(xp.float32).mean(axis=(-4, -3, -2, -1), keepdims=True)
    return typical / xp.maximum(own, typical * np.float32(_DARKEST))


def reverse_time(voxels: Shaped[np.ndarray, "t h w k"]) -> Shaped[np.ndarray, "t h w k"]:
    """Counts or voxels [t, h, w, k] of a clip played backwards: its frames, and the bins of each, in reverse order."""
    return voxels[::-1, ..., ::-1]
