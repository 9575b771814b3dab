"""Clips of a data set, whatever it is kept in: blurry frames, sharp frames and voxels of consecutive frames.

Every window of consecutive usable frames is a sample. Sizes are those of the sharp pictures; "input", which the
network takes, may be smaller or made of them (see `degradation`). As stored a clip is 8-bit pictures and whole counts;
as the network takes it pictures are float32 in [0, 1] and voxels are standardised. The former is a quarter of the size,
so that cropping, turning and batching come before `finish`.
"""

from __future__ import annotations

import abc
import bisect
import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from spikejax.data.datasets.degradation import Degradation
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.spikes.voxels import standardise
from spikejax.errors import InputError
from spikejax.io.box import Box


@runtime_checkable
class ClipRun(Protocol):
    """Usable consecutive frames of a sequence."""

    @property
    def name(self) -> str:
        """Unique within the split."""

    @property
    def height(self) -> int:
        """Of the sharp pictures, in pixels."""

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
        degradation: how the input is made, or that it is read.
    """

    def __init__(
        self,
        runs: Sequence[RunT],
        *,
        frames: int,
        bins: int | None,
        statistics: SpikeStatistics | None,
        degradation: Degradation,
    ):
        """Counts the windows.

        Args:
            runs: of at least `degradation.span(frames)` frames each.
            frames: of the input of a sample.
            bins: time bins of the voxels; None reads no spikes at all.
            statistics: of the voxels, for as many bins.
            degradation: how the input is made, or that it is read.
        """
        self.statistics = statistics
        self.degradation = degradation
        self._frames = degradation.span(frames)
        self._bins = bins
        self._runs = {run.name: run for run in runs}
        self._names = [run.name for run in runs]
        # Number of windows up to and including each run: finds a window's run without a list of all windows.
        self._ends = list(itertools.accumulate(len(run.stems) - self._frames + 1 for run in runs))

    @abc.abstractmethod
    def _read_frames(self, run: RunT, start: int, stop: int, box: Box) -> dict[str, np.ndarray]:
        """Frames [start, stop) of a run within a box, as stored; "input" only if the degradation reads it."""

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
        return self._read_frames(run, start, stop, self._whole(run))

    def first_windows(self) -> list[int]:
        """The first window of every sequence: windows of a sequence share their size."""
        return [0, *self._ends[:-1]]

    def size(self, index: int) -> tuple[int, int, int]:
        """Height and width of the window's sharp pictures, and how many times larger than the spikes they are."""
        run, _ = self._locate(index)
        whole = self._whole(run)
        return whole.height, whole.width, run.ratio

    def grid(self, index: int) -> int:
        """Pixels of the sharp pictures that boxes within the window begin and end at multiples of."""
        return math.lcm(self._locate(index)[0].ratio, self.degradation.scale)

    def window_name(self, index: int) -> str:
        """The window's sequence and its first and last frame, as "SEQUENCE/FIRST-LAST"."""
        run, start = self._locate(index)
        return f"{run.name}/{run.stems[start]}-{run.stems[start + self._frames - 1]}"

    def read(self, index: int, box: Box | None = None) -> dict[str, Any]:
        """A window's clip as the network takes it.

        Args:
            index: of the window.
            box: read only this part of the sharp pictures, and of all else what corresponds; on the `grid`.

        Returns:
            "input" and "sharp" [t, h, w, 3] float32 in [0, 1] (for a degradation of the shapes that it names); "voxels"
            [t, h', w', k] float32, standardised, unless the data set is read without spikes; "name", of the sequence
            and the first frame.
        """
        run, start = self._locate(index)
        return {**self.finish(self.read_stored(index, box)), "name": f"{run.name}/{run.stems[start]}"}

    def read_stored(
        self, index: int, box: Box | None = None, rng: np.random.Generator | None = None
    ) -> dict[str, np.ndarray]:
        """The same clip as stored: "input" and "sharp" of 0 to 255, "voxels" whole counts; without a name.

        Args:
            index: of the window.
            box: see `read`.
            rng: what noise is drawn from; None = a frame's noise is always the same.
        """
        run, start = self._locate(index)
        return self._read_clip(run, start, start + self._frames, box or self._whole(run), rng)

    def finish(self, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A stored clip, or a batch of them, as the network takes it; see `read`."""
        finished = {key: stored[key].astype(np.float32) / np.float32(255) for key in ("input", "sharp")}
        if "voxels" in stored:
            assert self.statistics is not None
            mean, std = self.statistics.mean, self.statistics.std
            finished["voxels"] = standardise(np, stored["voxels"], mean=mean, std=std)
        return finished

    def sequences(self) -> list[tuple[str, int]]:
        """Name and number of frames to restore of every usable sequence: all, or those between every second one."""
        return [(run.name, self._count(run)) for run in self._runs.values()]

    def restored_frames(self, frames: int) -> int:
        """How many frames of a sequence a clip of `frames` shows a network restored: as many, or the one left out."""
        return 1 if self._interpolates else frames

    def read_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """What restores the frames `start` to `stop` of a sequence, by default all, at full size, as `read` returns it.

        For interpolation these are numbered as `sequences` counts them, and there may be one.
        """
        run = self._runs[name]
        first, last, _ = slice(start, stop).indices(self._count(run))
        if self._interpolates:
            assert last == first + 1, f"a clip to interpolate in has one frame, not {first} to {last}"
            first, last = 2 * first, 2 * first + self._frames
        return {**self.finish(self._read_clip(run, first, last, self._whole(run), None)), "name": name}

    @property
    def _interpolates(self) -> bool:
        return self.degradation.kind == "interpolation"

    def _count(self, run: RunT) -> int:
        frames = len(run.stems)
        # Clips of every second frame that begin at every second one, so that no frame left out is another's input.
        return (frames - self._frames) // 2 + 1 if self._interpolates else frames

    def _read_clip(
        self, run: RunT, start: int, stop: int, box: Box, rng: np.random.Generator | None
    ) -> dict[str, np.ndarray]:
        """Frames [start, stop) of a run within a box, as stored, with an input if that has to be made."""
        if self.degradation.reads_input:
            return self._read_frames(run, start, stop, box)
        whole = self._whole(run)
        around = self.degradation.surroundings(box, whole.height, whole.width)
        stored = self._read_frames(run, start, stop, around)
        inner = Box(box.top - around.top, box.left - around.left, box.height, box.width)
        if "voxels" in stored:
            stored["voxels"] = stored["voxels"][(slice(None), *(inner // run.ratio).slices)]
        seed = zlib.crc32(run.name.encode())
        generators = [rng or np.random.default_rng([seed, frame]) for frame in range(start, stop)]
        return self.degradation.apply(stored, inner=inner, generators=generators)

    def _whole(self, run: RunT) -> Box:
        """All of the pictures, but for rows and columns that no smaller picture can be made of."""
        scale = self.degradation.scale
        return Box(0, 0, run.height - run.height % scale, run.width - run.width % scale)

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
