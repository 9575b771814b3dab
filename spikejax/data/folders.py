"""A data set on disk (see `layout`) as clips: blurry frames, sharp frames and standardised voxels.

Pictures become float32 in [0, 1]. Every window of consecutive usable frames is a sample.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.dat import Box
from spikejax.data.scan import FrameFiles, Run, Scan
from spikejax.data.statistics import SpikeStatistics, read_statistics
from spikejax.data.video import read_picture
from spikejax.data.voxels import standardise
from spikejax.errors import InputError

_LOGGER = logging.getLogger(__name__)
# Decoded pictures kept in memory: all of a small data set, of a large one at least those that neighbouring windows
# share.
_CACHE_BYTES = 256 * 2**20

AnyPath = str | os.PathLike[str]


class FolderDataset:
    """The windows of consecutive frames of one split, in a fixed order."""

    def __init__(
        self,
        root: AnyPath,
        split: str,
        *,
        frames: int,
        bins: int | None,
        crop: int | None = None,
        statistics: SpikeStatistics | None = None,
    ):
        """Scans the folder; says in the log what cannot be used (see `dropped`).

        Args:
            root: the data set.
            split: "train" or "val".
            frames: consecutive frames of a sample.
            bins: time bins of the voxels; None reads no spikes at all.
            crop: side of the training crop; sequences whose short side is below it are dropped.
            statistics: what standardises the voxels, such as a checkpoint's; None for ROOT/statistics.json.

        Raises:
            InputError: nothing can be used, a file is damaged, or the statistics are missing or for other bins.
        """
        if frames < 1 or (bins is not None and bins < 1):
            raise InputError(f"expected at least 1 frame and 1 bin, found {frames} and {bins}")
        scan = Scan(root, split, frames=frames, spikes=bins is not None, smallest_side=crop or 1)
        self.dropped = tuple(scan.dropped)
        self.statistics = statistics
        if bins is not None and statistics is None:
            self.statistics = read_statistics(root, bins=bins)
        self._frames = frames
        self._bins = bins
        self._runs = {run.name: run for run in scan.runs}
        self._names = [run.name for run in scan.runs]
        # Number of windows up to and including each run: finds a window's run without a list of all windows.
        self._ends = list(itertools.accumulate(len(run.frames) - frames + 1 for run in scan.runs))
        self._pictures = _PictureCache(_CACHE_BYTES)
        self._report(Path(root) / split)

    def _report(self, folder: Path) -> None:
        if self.dropped:
            first = self.dropped[0]
            _LOGGER.warning(
                "%d frames or sequences of %s cannot be used; the first: %s %s: %s",
                *(len(self.dropped), folder, first.sequence, first.frame, first.reason),
            )
        if self._bins is not None:
            spikes = next(iter(self._runs.values())).frames[0].spikes
            assert spikes is not None
            if spikes.steps < self._bins:
                _LOGGER.warning(
                    "%d spike frames per window are fewer than %d bins: some bins are always empty (%s)",
                    *(spikes.steps, self._bins, spikes.path),
                )

    def __len__(self) -> int:
        """Number of windows."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The window's clip at full size, see `read`."""
        return self.read(index)

    def first_windows(self) -> list[int]:
        """The first window of every sequence: windows of a sequence share their size."""
        return [0, *self._ends[:-1]]

    def size(self, index: int) -> tuple[int, int, int]:
        """Height and width of the window's pictures, and how many times larger than the spikes they are."""
        run, _ = self._locate(index)
        return run.height, run.width, run.ratio

    def read(self, index: int, box: Box | None = None) -> dict[str, Any]:
        """A window's clip.

        Args:
            index: of the window.
            box: read only this part of the pictures, and of the spikes what corresponds; on the grid of the spikes.

        Returns:
            "blur" and "sharp" [t, h, w, 3] float32 in [0, 1]; "voxels" [t, h', w', k] float32, standardised, unless the
            data set is read without spikes; "name", of the sequence and the first frame.
        """
        run, start = self._locate(index)
        frames = run.frames[start : start + self._frames]
        return {**self._read_frames(run, frames, box), "name": f"{run.name}/{frames[0].stem}"}

    def sequences(self) -> list[tuple[str, int]]:
        """Name and number of frames of every usable sequence."""
        return [(run.name, len(run.frames)) for run in self._runs.values()]

    def read_sequence(self, name: str) -> dict[str, Any]:
        """All frames of a sequence at full size, as `read` returns them."""
        run = self._runs[name]
        return {**self._read_frames(run, run.frames, None), "name": name}

    def _locate(self, index: int) -> tuple[Run, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"expected a window below {len(self)}, found {index}")
        number = bisect.bisect_right(self._ends, index)
        start = index - (self._ends[number - 1] if number else 0)
        return self._runs[self._names[number]], start

    def _read_frames(self, run: Run, frames: tuple[FrameFiles, ...], box: Box | None) -> dict[str, Any]:
        part = box or Box(0, 0, run.height, run.width)
        clip = {
            "blur": self._read_pictures([frame.blur for frame in frames], run, part),
            "sharp": self._read_pictures([frame.sharp for frame in frames], run, part),
        }
        if self._bins is not None:
            assert self.statistics is not None
            spikes = [frame.spikes for frame in frames if frame.spikes is not None]
            counts = np.stack([source.counts(self._bins, part // run.ratio) for source in spikes])
            clip["voxels"] = standardise(counts, mean=self.statistics.mean, std=self.statistics.std)
        return clip

    def _read_pictures(self, paths: list[Path], run: Run, box: Box) -> Float32[np.ndarray, "t h w 3"]:
        pictures = []
        for path in paths:
            picture = self._pictures.read(path)
            if picture.shape[:2] != (run.height, run.width):
                raise InputError(f"expected a picture of {run.height}x{run.width}, found {picture.shape[:2]}: {path}")
            pictures.append(picture[box.slices])
        return np.stack(pictures).astype(np.float32) / np.float32(255)


class _PictureCache:
    """Decoded pictures, the least recently used forgotten first; safe to use from several threads."""

    def __init__(self, most_bytes: int):
        self._most_bytes = most_bytes
        self._bytes = 0
        self._pictures: OrderedDict[Path, UInt8[np.ndarray, "h w 3"]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path) -> UInt8[np.ndarray, "h w 3"]:
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
