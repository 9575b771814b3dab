"""Clips and spikes that a program has in memory, as frames to be restored: arrays of any kind, or iterables of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
from jaxtyping import Num

from spikejax.data.spikes.resolution import spike_ratio
from spikejax.data.spikes.voxels import CountType, bin_starts, voxelise, whole_counts
from spikejax.errors import InputError
from spikejax.inference.clip_blending import InputFrame


def frames_of_arrays(clip: Iterable[Any], *, spikes: Any, counts: Any, bins: int | None) -> Iterator[InputFrame]:
    """Yields the frames of a clip, with the counts of their spikes if the network takes any.

    Args:
        clip: RGB frames [h,w,3] of any array type: uint8, uint16, or floats in [0, 1].
        spikes: for each frame [s,h',w'] of 0 and 1; h' and w' are h and w or a whole part of them.
        counts: instead of `spikes`, for each frame [h',w',bins].
        bins: of the network; None = it takes no spikes.

    Raises:
        InputError: frames, spikes or counts are of another shape or type, or not as many.
    """
    frames = (_frame(frame) for frame in clip)
    if bins is None:
        return (InputFrame(frame) for frame in frames)
    dtype = _count_type(spikes, counts, bins)
    if counts is None:
        counts = (_counted(window, bins) for window in spikes)
    return (_with_counts(frame, window, bins, dtype) for frame, window in _pairs(frames, counts))


def _count_type(spikes: Any, counts: Any, bins: int) -> CountType:
    """The one type of all frames' counts: the network is compiled for the first frame's.

    A byte is known to hold them where one array holds the counts or the spikes of all frames. Windows that come one by
    one may each be longer than those before, and their counts larger.
    """
    if counts is not None:
        return np.uint8 if getattr(counts, "dtype", None) == np.uint8 else np.uint16
    if getattr(spikes, "ndim", 0) != 4:
        return np.uint16
    longest_bin = int(np.diff(bin_starts(spikes.shape[1], bins)).max())
    return np.uint8 if longest_bin <= np.iinfo(np.uint8).max else np.uint16


def _pairs(frames: Iterable[Any], windows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for frame, window in zip_longest(frames, windows):
        if frame is None or window is None:
            raise InputError(
                f"expected spikes for every frame, found {'fewer' if window is None else 'more'} than frames"
            )
        yield frame, window


def _frame(frame: Any) -> Num[np.ndarray, "h w 3"]:
    """A frame of any array type as uint8, uint16 or float32."""
    values = np.asarray(frame)
    if values.ndim != 3 or values.shape[2] != 3:
        raise InputError(f"expected frames [h,w,3], found an array of shape {values.shape}")
    if values.dtype in (np.uint8, np.uint16, np.float32):
        return values
    if np.issubdtype(values.dtype, np.integer) or values.dtype == bool:
        raise InputError(f"expected frames of uint8, uint16 or floats in [0, 1], found {values.dtype}")
    return values.astype(np.float32)


def _counted(window: Any, bins: int) -> Num[np.ndarray, "h w k"]:
    spikes = np.asarray(window)
    if spikes.ndim != 3:
        raise InputError(f"expected the spikes of each frame as [s,h,w], found an array of shape {spikes.shape}")
    return voxelise(spikes.astype(np.uint8), bins)


def _with_counts(frame: Num[np.ndarray, "h w 3"], window: Any, bins: int, dtype: CountType) -> InputFrame:
    counts = np.asarray(window)
    if counts.ndim != 3 or counts.shape[2] != bins:
        raise InputError(f"expected counts [h,w,{bins}] of each frame, found an array of shape {counts.shape}")
    spike_ratio((frame.shape[0], frame.shape[1]), (counts.shape[0], counts.shape[1]), source=f"counts {counts.shape}")
    return InputFrame(frame, whole_counts(counts, dtype))
