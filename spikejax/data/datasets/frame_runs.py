"""Usable consecutive frames, and where the files of each are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import overload

from spikejax.data.datasets.frame_spikes import FrameSpikes
from spikejax.data.datasets.layout import BLUR_ARRAY, SHARP_ARRAY
from spikejax.data.datasets.picture_index import IndexedSequence, PictureIndex
from spikejax.data.spikes.stream_size import StreamSize
from spikejax.io.bucket_listing import DataPath
from spikejax.io.pictures import PicturePath


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
    blur: PicturePath
    sharp: PicturePath
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
    frames: Sequence[FrameFiles]
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


@dataclass(frozen=True)
class IndexedFrames(Sequence[FrameFiles]):
    """The frames of an indexed sequence, each made when it is asked for: there may be half a million.

    Attributes:
        sequence: they are of.
        published: the folder of the published data set.
    """

    sequence: IndexedSequence
    published: Path

    def __len__(self) -> int:
        return len(self.sequence.sharp.names)

    @overload
    def __getitem__(self, index: int) -> FrameFiles: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[FrameFiles, ...]: ...
    def __getitem__(self, index: int | slice) -> FrameFiles | tuple[FrameFiles, ...]:
        numbers = range(len(self))[index]
        return self._frame(numbers) if isinstance(numbers, int) else tuple(map(self._frame, numbers))

    def _frame(self, number: int) -> FrameFiles:
        sharp = self.sequence.sharp.file(self.published, number)
        blur = sharp if self.sequence.blur is None else self.sequence.blur.file(self.published, number)
        return FrameFiles(number, sharp.stem, blur, sharp, None)


class IndexedRun(FrameRun):
    """A run of indexed frames, whose names are known without the frames."""

    @property
    def stems(self) -> tuple[str, ...]:
        """The frames' names."""
        assert isinstance(self.frames, IndexedFrames)
        return _stems(self.frames.sequence.sharp.names)


@functools.lru_cache(maxsize=1024)
def _stems(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names without their suffixes; those of tens of thousands of sequences are the same."""
    return tuple(PurePath(name).stem for name in names)


def indexed_run(sequence: IndexedSequence, index: PictureIndex, split_folder: DataPath) -> IndexedRun:
    """A sequence of the index of a split as a run; nothing is looked at on the disk."""
    arrays = Arrays(None, None, None)
    if index.arrays is not None:
        folder = split_folder.parent / index.arrays / sequence.name
        arrays = Arrays(None if sequence.blur is None else folder / BLUR_ARRAY, folder / SHARP_ARRAY, None)
    frames = IndexedFrames(sequence, Path(index.published))
    return IndexedRun(sequence.name, frames, sequence.height, sequence.width, None, arrays)
