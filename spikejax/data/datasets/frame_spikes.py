"""The spikes of a frame within a data set: which file and window they are in, and their counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spikejax.data.datasets.layout import SPIKE, SPIKE_VOXELS
from spikejax.data.spikes.resolution import spike_ratio
from spikejax.data.spikes.stream_files import PackedSpikes, count_frames, read_packed
from spikejax.data.spikes.stream_size import StreamSize, find_stream_size
from spikejax.data.spikes.voxels import Counts, voxelise_packed, whole_counts
from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.bucket_listing import DataPath
from spikejax.io.damage import DAMAGED_ARRAY


@dataclass(frozen=True)
class FrameSpikes:
    """Where a frame's spikes are.

    Attributes:
        path: a `.dat` file.
        window: its frames [t0, t1) that belong to the exposure.
        height: rows of a spike frame.
        width: likewise.
        cache: a file of its counts, (K, H, W); None if there is none.
        upside_down: whether the camera stored the top row first.
    """

    path: DataPath
    window: tuple[int, int]
    height: int
    width: int
    cache: DataPath | None = None
    upside_down: bool = False

    @property
    def steps(self) -> int:
        """Number of spike frames in the window."""
        return self.window[1] - self.window[0]

    def counts(self, bins: int, box: Box | None = None) -> Counts:
        """Spikes per pixel and time bin [h, w, k], in a box or everywhere; from the cache if it has as many bins."""
        cached = self._cached_counts(bins, box or Box(0, 0, self.height, self.width))
        if cached is not None:
            return cached
        return voxelise_packed(self.read(), bins, box)

    def read(self) -> PackedSpikes:
        """The spikes of the window."""
        return read_packed(
            self.path, height=self.height, width=self.width, window=self.window, upside_down=self.upside_down
        )

    def _cached_counts(self, bins: int, box: Box) -> Counts | None:
        if self.cache is None:
            return None
        try:
            if isinstance(self.cache, Path):
                # Mapped, so that only the pages of the box are read from disk.
                counts = np.load(self.cache, mmap_mode="r", allow_pickle=False)
            else:
                counts = np.load(self.cache.open("rb"), allow_pickle=False)
        except DAMAGED_ARRAY as error:
            raise InputError(f"expected an array of voxels, found a damaged file: {self.cache}") from error
        if counts.dtype != np.float32 or counts.ndim != 3 or counts.shape[1:] != (self.height, self.width):
            expected = f"float32 voxels (K, {self.height}, {self.width})"
            raise InputError(f"expected {expected}, found {counts.dtype} {counts.shape}: {self.cache}")
        if len(counts) != bins:
            return None
        return np.ascontiguousarray(np.moveaxis(whole_counts(counts[:, *box.slices], source=self.cache), 0, -1))


def find_spike_size(sequence: DataPath, height: int, width: int) -> StreamSize:
    """The size of a sequence's spikes: that of its pictures, `height` x `width`, divided by a whole number.

    Raises:
        InputError: no config.yaml says it, or one says something else.
    """
    size = find_stream_size(sequence / SPIKE, pictures=(height, width))
    spike_ratio((height, width), size.shape, source=size.source)
    return size


def find_frame_spikes(
    sequence: DataPath, stem: str, size: StreamSize, logged: tuple[int, int] | None
) -> FrameSpikes | None:
    """A frame's spikes: a file of its own, or its window of the sequence's only stream; None if there are neither.

    Args:
        sequence: the sequence's folder.
        stem: the frame's name.
        size: of the spikes.
        logged: the frame's window as the alignment log says; None if it says nothing.

    Raises:
        InputError: a file is damaged, or its length is not what the log says.
    """
    cache: DataPath | None = sequence / SPIKE_VOXELS / f"{stem}.npy"
    cache = cache if cache is not None and cache.exists() else None
    own = sequence / SPIKE / f"{stem}.dat"
    if own.exists():
        steps = count_frames(own, height=size.height, width=size.width)
        if logged is not None and steps != logged[1] - logged[0]:
            expected = f"{logged[1] - logged[0]} spike frames as the alignment log says"
            raise InputError(f"expected {expected}, found {steps}: {own}")
        return FrameSpikes(own, (0, steps), size.height, size.width, cache)
    stream = sequence / SPIKE / (size.filename or "spike.dat")
    if logged is None or not stream.exists():
        return None
    steps = count_frames(stream, height=size.height, width=size.width)
    if logged[1] > steps:
        expected = f"spike frames {logged[0]} to {logged[1]} as the alignment log says"
        raise InputError(f"expected {expected}, found {steps}: {stream}")
    return FrameSpikes(stream, logged, size.height, size.width, cache)
