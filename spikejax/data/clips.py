"""Clips of a data set, whatever it is kept in: blurry frames, sharp frames and voxels of consecutive frames.

Every window of consecutive usable frames is a sample. As stored a clip is 8-bit pictures and whole counts; as the
network takes it pictures are float32 in [0, 1] and voxels are standardised. The former is a quarter of the size, so
that cropping, turning and batching come before `finish`.
"""

from __future__ import annotations

import abc
import bisect
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from spikejax.data.dat import Box
from spikejax.data.statistics import SpikeStatistics
from spikejax.data.voxels import standardise
from spikejax.errors import InputError


@runtime_checkable
class ClipRun(Protocol):
    """Usable consecutive frames of a sequence."""

    @property
    def name(self) -> str:
        """Unique within the split."""

    @property
    def height(self) -> int:
        """Of the pictures, in pixels."""

    @property
    def width(self) -> int:
        """Likewise."""

    @property
    def ratio(self) -> int:
        """Picture size / spike size."""

    @property
    def stems(self) -> Sequence[str]:
        """The frames' names."""


RunT = TypeVar("RunT", bound=ClipRun)


class ClipDataset(abc.ABC, Generic[RunT]):
    """The windows of consecutive frames of one split, in a fixed order.

    Attributes:
        statistics: what standardises the voxels; None if the data set is read without spikes.
    """

    def __init__(self, runs: Sequence[RunT], *, frames: int, bins: int | None, statistics: SpikeStatistics | None):
        """Counts the windows.

        Args:
            runs: of at least `frames` frames each.
            frames: consecutive frames of a sample.
            bins: time bins of the voxels; None reads no spikes at all.
            statistics: of the voxels, for as many bins.
        """
        self.statistics = statistics
        self._frames = frames
        self._bins = bins
        self._runs = {run.name: run for run in runs}
        self._names = [run.name for run in runs]
        # Number of windows up to and including each run: finds a window's run without a list of all windows.
        self._ends = list(itertools.accumulate(len(run.stems) - frames + 1 for run in runs))

    @abc.abstractmethod
    def _read_frames(self, run: RunT, start: int, stop: int, box: Box) -> dict[str, np.ndarray]:
        """Frames [start, stop) of a run within a box, as stored."""

    def __len__(self) -> int:
        """Number of windows."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The window's clip at full size, see `read`."""
        return self.read(index)

    @property
    def runs(self) -> tuple[RunT, ...]:
        """The usable sequences, or parts of sequences."""
        return tuple(self._runs.values())

    def read_run(self, run: RunT, start: int, stop: int) -> dict[str, np.ndarray]:
        """Frames [start, stop) of one of `runs` at full size, as stored."""
        return self._read_frames(run, start, stop, _whole(run))

    def first_windows(self) -> list[int]:
        """The first window of every sequence: windows of a sequence share their size."""
        return [0, *self._ends[:-1]]

    def size(self, index: int) -> tuple[int, int, int]:
        """Height and width of the window's pictures, and how many times larger than the spikes they are."""
        run, _ = self._locate(index)
        return run.height, run.width, run.ratio

    def window_name(self, index: int) -> str:
        """The window's sequence and its first and last frame, as "SEQUENCE/FIRST-LAST"."""
        run, start = self._locate(index)
        return f"{run.name}/{run.stems[start]}-{run.stems[start + self._frames - 1]}"

    def read(self, index: int, box: Box | None = None) -> dict[str, Any]:
        """A window's clip as the network takes it.

        Args:
            index: of the window.
            box: read only this part of the pictures, and of the spikes what corresponds; on the grid of the spikes.

        Returns:
            "blur" and "sharp" [t, h, w, 3] float32 in [0, 1]; "voxels" [t, h', w', k] float32, standardised, unless the
            data set is read without spikes; "name", of the sequence and the first frame.
        """
        run, start = self._locate(index)
        return {**self.finish(self.read_stored(index, box)), "name": f"{run.name}/{run.stems[start]}"}

    def read_stored(self, index: int, box: Box | None = None) -> dict[str, np.ndarray]:
        """The same clip as stored: "blur" and "sharp" uint8, "voxels" whole counts; without a name."""
        run, start = self._locate(index)
        return self._read_frames(run, start, start + self._frames, box or _whole(run))

    def finish(self, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A stored clip, or a batch of them, as the network takes it; see `read`."""
        finished = {key: stored[key].astype(np.float32) / np.float32(255) for key in ("blur", "sharp")}
        if "voxels" in stored:
            assert self.statistics is not None
            mean, std = self.statistics.mean, self.statistics.std
            finished["voxels"] = standardise(stored["voxels"], mean=mean, std=std)
        return finished

    def sequences(self) -> list[tuple[str, int]]:
        """Name and number of frames of every usable sequence."""
        return [(run.name, len(run.stems)) for run in self._runs.values()]

    def read_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """Frames `start` to `stop` of a sequence, by default all, at full size, as `read` returns them."""
        run = self._runs[name]
        first, last, _ = slice(start, stop).indices(len(run.stems))
        return {**self.finish(self._read_frames(run, first, last, _whole(run))), "name": name}

    def _locate(self, index: int) -> tuple[RunT, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"expected a window below {len(self)}, found {index}")
        number = bisect.bisect_right(self._ends, index)
        start = index - (self._ends[number - 1] if number else 0)
        return self._runs[self._names[number]], start


def check_clip_size(frames: int, bins: int | None) -> None:
    """Raises `InputError` unless there is at least a frame and a bin."""
    if frames < 1 or (bins is not None and bins < 1):
        raise InputError(f"expected at least 1 frame and 1 bin, found {frames} and {bins}")


def _whole(run: ClipRun) -> Box:
    return Box(0, 0, run.height, run.width)
