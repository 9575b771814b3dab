"""A data set in folders (see `layout`) as clips."""

from __future__ import annotations

import functools
import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from jaxtyping import Integer, UInt8

from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.datasets.frame_runs import FrameFiles, FrameRun
from spikejax.data.datasets.usable_frames import Scan
from spikejax.data.datasets.voxel_statistics import SpikeStatistics, ensure_statistics, read_statistics
from spikejax.data.spikes.stream_size import size_notes
from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.bucket_listing import DataPath
from spikejax.io.paths import AnyPath, as_path
from spikejax.io.pictures import PicturePath, read_picture
from spikejax.io.tiled_arrays import open_frames_array

_LOGGER = logging.getLogger(__name__)
# Decoded pictures kept in memory: all of a small data set, of a large one at least those that neighbouring windows
# share.
_CACHE_BYTES = 256 * 2**20
# Arrays that are kept open: opening one reads its description, which in a bucket is a request for every clip.
_OPEN_ARRAYS = 1024


class FolderDataset(ClipDataset[FrameRun]):
    """The windows of consecutive frames of one split, in a fixed order."""

    reads_buckets: ClassVar[bool] = True

    def __init__(self, root: AnyPath, split: str, spec: ClipSpec):
        """Scans the folder; says in the log what cannot be used (see `dropped`).

        Args:
            root: the data set.
            split: "train" or "val".
            spec: what is asked of the clips; without statistics those in ROOT/statistics.json are taken.

        Raises:
            InputError: nothing can be used, a file is damaged, or the statistics are missing or for other bins.
        """
        scan = Scan(
            root,
            split,
            frames=spec.span,
            spikes=spec.bins is not None,
            smallest_side=spec.smallest_side,
            blurry=spec.degradation.reads_input,
            scale=spec.degradation.scale,
        )
        self.dropped = tuple(scan.dropped)
        self.spike_sizes = size_notes(run.spike_size for run in scan.runs if run.spike_size is not None)
        if spec.bins is not None and spec.statistics is None:
            spec = replace(spec, statistics=read_statistics(root, bins=spec.bins))
        super().__init__(scan.runs, spec)
        self._pictures = _PictureCache(_CACHE_BYTES)
        self._open_array = functools.lru_cache(maxsize=_OPEN_ARRAYS)(open_frames_array)
        self._report(as_path(root) / split)

    @classmethod
    def training_statistics(cls, root: AnyPath, *, bins: int) -> SpikeStatistics:
        """The statistics in ROOT/statistics.json; measured and written if they are not there for so many bins."""
        return ensure_statistics(root, bins=bins)

    def _report(self, folder: AnyPath) -> None:
        if self.dropped:
            first = self.dropped[0]
            _LOGGER.warning(
                "%d frames or sequences of %s cannot be used; the first: %s %s: %s",
                len(self.dropped),
                folder,
                first.sequence,
                first.frame,
                first.reason,
            )
        if self.spec.bins is not None:
            spikes = next(iter(self._runs.values())).frames[0].spikes
            assert spikes is not None
            if spikes.steps < self.spec.bins:
                _LOGGER.warning(
                    "%d spike frames per window are fewer than %d bins: some bins are always empty (%s)",
                    spikes.steps,
                    self.spec.bins,
                    spikes.path,
                )

    def read_frames(self, run: FrameRun, start: int, stop: int, box: Box) -> dict[str, np.ndarray]:
        """See `ClipDataset.read_frames`."""
        frames = run.frames[start:stop]
        size, scale = (run.height, run.width), self.degradation.scale
        clip = {"sharp": self._read_pictures([frame.sharp for frame in frames], run.arrays.sharp, frames, size, box)}
        if self.degradation.reads_input:
            paths, smaller = [frame.blur for frame in frames], (run.height // scale, run.width // scale)
            clip["input"] = self._read_pictures(paths, run.arrays.blur, frames, smaller, box // scale)
        if self.spec.bins is not None:
            clip["voxels"] = self._read_counts(frames, run, self.spec.bins, box // run.ratio)
        return clip

    def _read_pictures(
        self,
        paths: list[PicturePath],
        array: DataPath | None,
        frames: Sequence[FrameFiles],
        size: tuple[int, int],
        box: Box,
    ) -> UInt8[np.ndarray, "t h w 3"]:
        if array is not None:
            return self._open_array(array).read(frames[0].number, frames[-1].number + 1, box)
        pictures = []
        for path in paths:
            picture = self._pictures.read(path)
            if picture.shape[:2] != size:
                raise InputError(f"expected a picture of {size[0]}x{size[1]}, found {picture.shape[:2]}: {path}")
            pictures.append(picture[box.slices])
        return np.stack(pictures)

    def _read_counts(
        self, frames: Sequence[FrameFiles], run: FrameRun, bins: int, box: Box
    ) -> Integer[np.ndarray, "t h w k"]:
        if run.arrays.voxels is not None:
            array = self._open_array(run.arrays.voxels)
            if array.shape[-1] == bins:
                return array.read(frames[0].number, frames[-1].number + 1, box)
        spikes = [frame.spikes for frame in frames if frame.spikes is not None]
        return np.stack([source.counts(bins, box) for source in spikes])


class _PictureCache:
    """Decoded pictures, the least recently used forgotten first; safe to use from several threads."""

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._bytes = 0
        self._pictures: OrderedDict[PicturePath, UInt8[np.ndarray, "h w 3"]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: PicturePath) -> UInt8[np.ndarray, "h w 3"]:
        """The picture in a file, not to be written to."""
        with self._lock:
            if path in self._pictures:
                self._pictures.move_to_end(path)
                return self._pictures[path]
        picture = read_picture(path)  # outside the lock, so that threads decode side by side
        picture.flags.writeable = False
        with self._lock:
            if path not in self._pictures:
                self._pictures[path] = picture
                self._bytes += picture.nbytes
            while self._bytes > self._most_bytes:
                self._bytes -= self._pictures.popitem(last=False)[1].nbytes
        return picture
