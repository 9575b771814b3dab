"""Clips of a data set, whatever it is kept in: blurry frames, sharp frames and voxels of consecutive frames.

Every window of consecutive usable frames is a sample. Sizes are those of the sharp pictures; "input", which the
network takes, may be smaller or made of them (see `degradation`). As stored a clip is 8-bit pictures and whole counts;
as the network takes it pictures are float32 in [0, 1] and voxels are standardised. The former is a quarter of the size,
so that cropping, turning and batching come before `normalise`.

To add a kind of data set, derive a class from `ClipDataset` (its docstring says what it needs) and name it in
`spikejax.data.sources.DATASETS`, or in the configuration as `data.source = "FILE.py:NAME"`.
"""

from __future__ import annotations

import abc
import bisect
import itertools
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Integer

from spikejax.data.datasets.degradation import AS_READ, Degradation
from spikejax.data.datasets.layout import TRAINING_SPLIT, DroppedFrame
from spikejax.data.datasets.voxel_statistics import SpikeStatistics, add_histograms, statistics_of
from spikejax.data.spikes.threshold import raise_threshold
from spikejax.data.spikes.voxels import standardise
from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.paths import AnyPath


@dataclass(frozen=True)
class ClipSpec:
    """What is asked of a data set's clips.

    Attributes:
        frames: of the input of a clip.
        bins: time bins of the voxels; None reads no spikes at all.
        crop: side of the training crop of the input; sequences whose short side is below it are left out. None = all
            are used.
        degradation: how the input is made of the sharp pictures, which are all that is needed then; or that it is read.
        statistics: what standardises the voxels, such as a checkpoint's; None for the data set's own.
        normalise: how counts are standardised, "statistics", "clip" or "none", see `standardise`.
        threshold_factor: of the sequences that are read whole (`read_sequence`), the spikes as if the camera's
            threshold were so many times as high; training draws factors of its own.
    """

    frames: int
    bins: int | None = None
    crop: int | None = None
    degradation: Degradation = AS_READ
    statistics: SpikeStatistics | None = None
    normalise: str = "statistics"
    threshold_factor: float = 1.0

    def __post_init__(self) -> None:
        """Raises `InputError` unless there is at least a frame and a bin, and no threshold is lowered."""
        if self.frames < 1 or (self.bins is not None and self.bins < 1):
            raise InputError(f"expected at least 1 frame and 1 bin, found {self.frames} and {self.bins}")
        if not 1 <= self.threshold_factor < math.inf:
            raise InputError(
                "expected a threshold factor of at least 1 (spikes that were never there cannot be added), "
                f"found {self.threshold_factor}"
            )

    @property
    def span(self) -> int:
        """Consecutive frames that a clip is made of."""
        return self.degradation.span(self.frames)

    @property
    def smallest_side(self) -> int:
        """Pixels that the sharp pictures' short side must have."""
        return (self.crop or 1) * self.degradation.scale


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

    A kind of data set is a subclass. It is opened as `Kind(root, split, spec)`: it finds the runs that the spec can be
    met with, calls `super().__init__(runs, spec)`, and reads frames of them in `read_frames`. All else (cropping, made
    inputs, standardising, the order of windows) is here. `training_statistics` and `make` may be replaced.

    Attributes:
        needs_root: whether somebody has to name the folder of the data set.
        reads_buckets: whether the folder may be in a bucket (see `spikejax.io.bucket_listing`), or else is on a disk.
        spec: what was asked of the clips.
        statistics: what standardises the voxels; None if the data set is read without spikes.
        degradation: how the input is made, or that it is read.
        dropped: what cannot be used, with the reasons.
        spike_sizes: how large the spikes are and who says so, a line for each size; empty where that is no question.
    """

    needs_root: ClassVar[bool] = True
    reads_buckets: ClassVar[bool] = False
    dropped: tuple[DroppedFrame, ...] = ()
    spike_sizes: tuple[str, ...] = ()

    def __init__(self, runs: Sequence[RunT], spec: ClipSpec):
        """Counts the windows.

        Args:
            runs: of at least `spec.span` frames each.
            spec: what is asked of the clips; with the statistics unless no voxels will be standardised.
        """
        self.spec = spec
        self.statistics = spec.statistics
        self.degradation = spec.degradation
        self._frames = spec.span
        self._runs = {run.name: run for run in runs}
        self._names = [run.name for run in runs]
        # Number of windows up to and including each run: finds a window's run without a list of all windows.
        self._ends = list(itertools.accumulate(len(run.stems) - self._frames + 1 for run in runs))

    @abc.abstractmethod
    def read_frames(self, run: RunT, start: int, stop: int, box: Box) -> dict[str, np.ndarray]:
        """Frames [start, stop) of a run within a box of the sharp pictures, as stored.

        Returns:
            "sharp" uint8 [t, h, w, 3]; "input", likewise, if `degradation.reads_input`; "voxels" [t, h', w', k], counts
            in uint8 or uint16, if `spec.bins` is given.
        """

    @classmethod
    def make(cls, root: AnyPath, *, bins: int, seed: int, settings: Mapping[str, Any]) -> None:
        """Makes the data set at `root`, where that is possible and it is not there; by default does nothing.

        Args:
            root: its folder.
            bins: time bins of the voxels.
            seed: of the run.
            settings: `data.scenes` of the configuration.
        """

    @classmethod
    def training_statistics(cls, root: AnyPath, *, bins: int) -> SpikeStatistics:
        """The statistics of the training split's voxels; by default measured, frame by frame."""
        kind: Any = cls  # its own constructor, see above
        dataset: ClipDataset = kind(root, TRAINING_SPLIT, ClipSpec(1, bins))
        histogram = np.zeros(0, np.int64)
        for index in range(len(dataset)):
            histogram = add_histograms(histogram, np.bincount(dataset.read_stored(index)["voxels"].ravel()))
        return statistics_of(histogram, bins=bins, windows=len(dataset), source=str(root))

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
        return self.read_frames(run, start, stop, self._whole(run))

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
        return {**self.normalise(self.read_stored(index, box)), "name": f"{run.name}/{run.stems[start]}"}

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

    def normalise(self, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A stored clip, or a batch of them, as the network takes it; see `read`."""
        normalised = {key: stored[key].astype(np.float32) / np.float32(255) for key in ("input", "sharp")}
        if "voxels" in stored:
            assert self.statistics is not None or self.spec.normalise == "none"
            mean, std = (0.0, 1.0) if self.statistics is None else (self.statistics.mean, self.statistics.std)
            normalised["voxels"] = standardise(np, stored["voxels"], mean=mean, std=std, by=self.spec.normalise)
        return normalised

    def sequences(self) -> list[tuple[str, int]]:
        """Name and number of frames to restore of every usable sequence: all, or those between every second one."""
        return [(run.name, self._count(run)) for run in self._runs.values()]

    def read_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """What restores the frames `start` to `stop` of a sequence, by default all, at full size, as `read` returns it.

        See `read_stored_sequence`.
        """
        return {**self.normalise(self.read_stored_sequence(name, start, stop)), "name": name}

    def read_stored_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, np.ndarray]:
        """The same as stored: "input" and "sharp" of 0 to 255, "voxels" whole counts; without a name.

        For interpolation the frames are numbered as `sequences` counts them, and there may be one.
        """
        run = self._runs[name]
        first, last, _ = slice(start, stop).indices(self._count(run))
        if self._interpolates:
            assert last == first + 1, f"a clip to interpolate in has one frame, not {first} to {last}"
            first, last = 2 * first, 2 * first + self._frames
        stored = self._read_clip(run, first, last, self._whole(run), None)
        if self.spec.threshold_factor > 1 and "voxels" in stored:
            stored["voxels"] = self._raise_threshold(run, first, stored["voxels"])
        return stored

    def _raise_threshold(
        self, run: RunT, start: int, counts: Integer[np.ndarray, "t h w k"]
    ) -> Integer[np.ndarray, "t h w k"]:
        """The counts of a run's frames from `start` on at the spec's threshold.

        Each frame begins with charges of its own, which follow from its name and number: so its spikes are the same
        in whatever clip it is read, and a long sequence need not be read from its beginning.
        """
        seed = zlib.crc32(run.name.encode())
        raised = [
            raise_threshold(counts[i : i + 1], self.spec.threshold_factor, rng=np.random.default_rng([seed, start + i]))
            for i in range(len(counts))
        ]
        return np.concatenate(raised)

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
            return self.read_frames(run, start, stop, box)
        whole = self._whole(run)
        around = self.degradation.surroundings(box, whole.height, whole.width)
        stored = self.read_frames(run, start, stop, around)
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
