"""Which frames of a data set can be used: what is not aligned is dropped, and said, never silently used.

A frame without its sharp picture or its spikes is dropped, a sequence whose pictures disagree or are too small
likewise. A file that is damaged or contradicts what the data set says of it is an error, as one damaged file seldom
comes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import TypeVar

from spikejax.data.datasets.frame_spikes import FrameSpikes, find_frame_spikes, find_spike_size
from spikejax.data.datasets.layout import (
    BLUR,
    BLUR_ARRAY,
    SHARP,
    SHARP_ARRAY,
    SPIKE,
    UNFINISHED,
    VOXEL_ARRAY,
    AlignedFrame,
    DroppedFrame,
    read_alignment,
    sequence_names,
)
from spikejax.data.spikes.stream_size import StreamSize
from spikejax.errors import InputError
from spikejax.io.bucket_listing import DataPath, listed
from spikejax.io.frame_source import open_frames
from spikejax.io.paths import AnyPath, as_path

Numbered = TypeVar("Numbered")


@dataclass(frozen=True)
class FrameFiles:
    """The files of one usable frame.

    Attributes:
        number: among the sequence's frames, from 0.
        stem: its name.
        blur: the blurry picture; not read if the input is made of the sharp ones.
        sharp: the sharp picture.
        spikes: None when the data set is read without them.
    """

    number: int
    stem: str
    blur: DataPath
    sharp: DataPath
    spikes: FrameSpikes | None


@dataclass(frozen=True)
class Arrays:
    """The frames of a sequence as arrays in tiles (see `tiled_arrays`).

    Attributes:
        blur: the folder of the blurry pictures' array; None where there is none.
        sharp: likewise of the sharp pictures.
        voxels: likewise of the counts.
    """

    blur: DataPath | None
    sharp: DataPath | None
    voxels: DataPath | None


@dataclass(frozen=True)
class FrameRun:
    """Usable consecutive frames of a sequence.

    Attributes:
        name: the sequence, followed by "@" and the first frame where dropped frames split it into several runs.
        frames: at least as many as were asked for.
        height: of the sharp pictures.
        width: likewise.
        spike_size: of the spikes; None when read without them.
        arrays: the same frames, faster to read.
    """

    name: str
    frames: tuple[FrameFiles, ...]
    height: int
    width: int
    spike_size: StreamSize | None
    arrays: Arrays

    @property
    def ratio(self) -> int:
        """Picture size / spike size."""
        return 1 if self.spike_size is None else self.height // self.spike_size.height

    @property
    def stems(self) -> tuple[str, ...]:
        """The frames' names."""
        return tuple(frame.stem for frame in self.frames)


class Scan:
    """The usable runs of one split and what had to be dropped."""

    def __init__(
        self,
        root: AnyPath,
        split: str,
        *,
        frames: int,
        spikes: bool,
        smallest_side: int,
        blurry: bool = True,
        scale: int = 1,
    ):
        """Looks at every file's size, at no content but pictures' headers (in a bucket of the first of each folder).

        Args:
            root: the data set.
            split: "train" or "val".
            frames: consecutive frames that a run needs.
            spikes: whether frames need spikes.
            smallest_side: the sharp pictures' short side must not be below this.
            blurry: whether frames need blurry pictures.
            scale: size of the sharp pictures / size of the blurry ones.

        Raises:
            InputError: there is no such split, nothing in it can be used, or a file is damaged or contradicts the rest.
        """
        if (as_path(root) / UNFINISHED).exists():
            raise InputError(
                f"expected a whole data set, found one whose preparation was interrupted (start it again): {root}"
            )
        self.runs: list[FrameRun] = []
        self.dropped: list[DroppedFrame] = []
        self._folder = listed(as_path(root) / split)
        self._frames = frames
        self._spikes = spikes
        self._smallest_side = smallest_side
        self._scale = scale
        self._first_part = BLUR if blurry else SHARP
        names = sequence_names(self._folder, part=self._first_part)
        if not names:
            raise InputError(f"expected sequences as {self._folder}/SEQUENCE/{self._first_part}, found none")
        aligned: dict[str, list[AlignedFrame]] = {}
        for row in read_alignment(self._folder):
            aligned.setdefault(row.sequence, []).append(row)
        for name in names:
            self._add_sequence(name, {row.frame: (row.t0, row.t1) for row in aligned.get(name, [])})
        if not self.runs:
            first = self.dropped[0]
            raise InputError(
                f"expected runs of at least {frames} usable frames, found none in {self._folder}: "
                f"{len(self.dropped)} dropped, the first ({first.sequence}, {first.frame}) because: {first.reason}"
            )

    def _drop(self, sequence: str, frame: str, reason: str) -> None:
        self.dropped.append(DroppedFrame(sequence, frame, reason))

    def _add_sequence(self, name: str, windows: Mapping[int, tuple[int, int]]) -> None:
        folder = self._folder / name
        if not (folder / SHARP).is_dir():
            return self._drop(name, "*", f"expected a folder of sharp pictures, found none: {folder / SHARP}")
        first, sharp = open_frames(folder / self._first_part), open_frames(folder / SHARP)
        size = (sharp.height, sharp.width)
        scale = self._scale if self._first_part == BLUR else 1
        if (first.height * scale, first.width * scale) != size:
            times = f", expected {scale} times as large" if scale > 1 else ""
            reason = f"blurry pictures of {first.height}x{first.width}, sharp ones of {size[0]}x{size[1]}{times}"
            return self._drop(name, "*", reason)
        if min(size) < self._smallest_side:
            return self._drop(
                name, "*", f"short side {min(size)} of {size[0]}x{size[1]} below the crop {self._smallest_side}"
            )
        if self._spikes and not (folder / SPIKE).is_dir():
            return self._drop(name, "*", f"expected a folder of spikes, found none: {folder / SPIKE}")
        spike_size = find_spike_size(folder, *size) if self._spikes else None
        assert first.names is not None and sharp.names is not None
        usable: dict[int, FrameFiles] = {}
        for number, file in enumerate(first.names):
            spikes = None
            if file not in sharp.names:
                reason = f"expected a sharp picture of the same name, found none: {folder / SHARP / file}"
            elif (
                spike_size is not None
                and (spikes := find_frame_spikes(folder, PurePath(file).stem, spike_size, windows.get(number))) is None
            ):
                reason = f"expected spikes of the frame, found none: {folder / SPIKE / PurePath(file).stem}.dat"
            else:
                stem = PurePath(file).stem
                usable[number] = FrameFiles(number, stem, folder / BLUR / file, folder / SHARP / file, spikes)
                continue
            self._drop(name, PurePath(file).stem, reason)
        self._add_runs(name, usable, len(first.names), size, spike_size)

    def _add_runs(
        self,
        name: str,
        usable: Mapping[int, FrameFiles],
        total: int,
        size: tuple[int, int],
        spike_size: StreamSize | None,
    ) -> None:
        folder = self._folder / name
        paths = (folder / array for array in (BLUR_ARRAY, SHARP_ARRAY, VOXEL_ARRAY))
        arrays = Arrays(*(path if path.is_dir() else None for path in paths))
        for frames in consecutive_runs(usable):
            first = frames[0].stem
            if len(frames) < self._frames:
                self._drop(name, first, f"{len(frames)} consecutive usable frames from here, fewer than {self._frames}")
                continue
            whole = len(frames) == total
            self.runs.append(FrameRun(name if whole else f"{name}@{first}", frames, *size, spike_size, arrays))


def consecutive_runs(numbered: Mapping[int, Numbered]) -> Iterator[tuple[Numbered, ...]]:
    """The items in runs whose numbers follow each other without a gap, in their order."""
    run: list[Numbered] = []
    last = None
    for number in sorted(numbered):
        if run and number - 1 != last:
            yield tuple(run)
            run = []
        run.append(numbered[number])
        last = number
    if run:
        yield tuple(run)
