"""Which frames of a data set can be used: what is not aligned is dropped, and said, never silently used.

A frame without its sharp picture or its spikes is dropped, a sequence whose pictures disagree or are too small
likewise. A file that is damaged or contradicts what the data set says of it is an error, as one damaged file seldom
comes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TypeVar

from spikejax.data.datasets.frame_runs import Arrays, FrameFiles, FrameRun, indexed_run
from spikejax.data.datasets.frame_spikes import find_frame_spikes, find_spike_size
from spikejax.data.datasets.layout import (
    BLUR,
    BLUR_ARRAY,
    SHARP,
    SHARP_ARRAY,
    SPIKE,
    SPLITS,
    UNFINISHED,
    VOXEL_ARRAY,
    AlignedFrame,
    DroppedFrame,
    read_alignment,
    sequence_names,
)
from spikejax.data.datasets.picture_index import PictureIndex, read_index
from spikejax.data.spikes.stream_size import StreamSize
from spikejax.errors import InputError
from spikejax.io.bucket_listing import listed
from spikejax.io.frame_source import open_frames
from spikejax.io.paths import AnyPath, as_path, is_remote
from spikejax.progress import count_text

Numbered = TypeVar("Numbered")


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

        A split that has an index is taken from there, and no file is looked at.

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
        self._root = root
        self._folder = listed(as_path(root) / split)
        self._frames = frames
        self._spikes = spikes
        self._smallest_side = smallest_side
        self._scale = scale
        self._first_part = BLUR if blurry else SHARP
        index = read_index(self._folder)
        if index is not None:
            self._add_indexed(index)
        else:
            self._add_folders()
        if not self.runs:
            first = self.dropped[0]
            raise InputError(
                f"expected runs of at least {frames} usable frames, found none in {self._folder}: "
                f"{len(self.dropped)} dropped, the first ({first.sequence}, {first.frame}) because: {first.reason}"
            )

    def _add_indexed(self, index: PictureIndex) -> None:
        """Adds the sequences of an index; raises `InputError` if it lacks what is asked of all frames."""
        blurry = self._first_part == BLUR
        if self._spikes:
            raise InputError(f"expected a data set with spikes, found one of pictures alone: {self._folder}")
        if is_remote(self._folder) and index.arrays is None:
            hint = "prepare it with --picture-tiles"
            raise InputError(f"expected pictures in tiles in a bucket, found those of a disk ({hint}): {self._folder}")
        if index.arrays is None and not Path(index.published).is_dir():
            hint = "if it was moved, prepare it from there again"
            raise InputError(f"expected the published pictures, found none ({hint}): {index.published}")
        if blurry and index.sequences and index.sequences[0].blur is None:
            hint = "data.degradation says how it can be made of them"
            raise InputError(f"expected an input of the network, found sharp pictures alone ({hint}): {self._folder}")
        if blurry and index.scale != self._scale:
            raise InputError(
                f"expected sharp pictures {_times(self._scale)} as the network's input, found them "
                f"{_times(index.scale)}: {self._folder}"
            )
        for sequence in index.sequences:
            side, count = min(sequence.height, sequence.width), len(sequence.sharp.names)
            if side < self._smallest_side:
                size = f"{sequence.height}x{sequence.width}"
                self._drop(sequence.name, "*", f"short side {side} of {size} below the crop {self._smallest_side}")
            elif count < self._frames:
                self._drop(sequence.name, "*", f"{count_text(count, 'frame')}, fewer than {self._frames}")
            else:
                self.runs.append(indexed_run(sequence, index, self._folder))

    def _add_folders(self) -> None:
        """Adds the sequences that lie in the split's folder."""
        names = sequence_names(self._folder, part=self._first_part)
        if not names:
            others = [split for split in SPLITS if (as_path(self._root) / split).is_dir()]
            hint = f" (there is {' and '.join(others)})" if others else ""
            raise InputError(f"expected sequences as {self._folder}/SEQUENCE/{self._first_part}, found none{hint}")
        aligned: dict[str, list[AlignedFrame]] = {}
        for row in read_alignment(self._folder):
            aligned.setdefault(row.sequence, []).append(row)
        for name in names:
            self._add_sequence(name, {row.frame: (row.t0, row.t1) for row in aligned.get(name, [])})

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


def _times(scale: int) -> str:
    return "as large" if scale == 1 else f"{scale} times as large"


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
