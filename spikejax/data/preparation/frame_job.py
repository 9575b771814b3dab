"""One frame of a preparation: its spikes counted, its files written; what a worker process does."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from spikejax.data.datasets.layout import BLUR, BLUR_ARRAY, SHARP, SHARP_ARRAY, SPIKE, VOXEL_ARRAY
from spikejax.data.preparation.frame_selection import PlannedFrame, PlannedSequence
from spikejax.data.preparation.journal import FrameRecord, fingerprint
from spikejax.data.spikes.agreement import correlation, grey_light
from spikejax.data.spikes.any_stream import read_spikes
from spikejax.data.spikes.stream_files import (
    PackedSpikes,
    pack,
    read_packed,
    stored_width_of,
    write_packed,
)
from spikejax.data.spikes.voxels import Counts, voxelise_packed
from spikejax.errors import InputError, one_line
from spikejax.io.atomic import atomic_write
from spikejax.io.pictures import picture_header, read_picture, write_picture
from spikejax.io.tiled_arrays import compressed_size, create_frames, frame_file


@dataclass(frozen=True)
class FrameJob:
    """What is to be done for one frame.

    Attributes:
        sequence: it belongs to.
        number: of the frame in the sequence.
        folder: of the sequence, to write to.
        bins: time bins of the voxels.
        picture_arrays: whether pictures are written as arrays in tiles, too.
        link: whether files that stay as they are become hard links where that is possible.
    """

    sequence: PlannedSequence
    number: int
    folder: Path
    bins: int
    picture_arrays: bool
    link: bool

    @property
    def frame(self) -> PlannedFrame:
        """The frame's files and window."""
        return self.sequence.frames[self.number]

    def path(self, kind: str, suffix: str) -> Path:
        """The file of this frame in one of the sequence's folders."""
        return self.folder / kind / f"{self.number:06d}{suffix}"

    def is_written(self) -> bool:
        """Whether all files of the frame are there; they appear whole or not at all."""
        arrays = [VOXEL_ARRAY, BLUR_ARRAY, SHARP_ARRAY] if self.picture_arrays else [VOXEL_ARRAY]
        files = [frame_file(self.folder / array, self.number) for array in arrays]
        files += [self.path(BLUR, ".png"), self.path(SHARP, ".png"), self.path(SPIKE, ".dat")]
        return all(file.exists() for file in files)


@dataclass(frozen=True)
class FrameContent:
    """What is in a frame's files.

    Attributes:
        stream: the spikes of the exposure, as in the file.
        counts: the same counted in bins [h, w, k].
        blur: the blurry picture.
        sharp: the sharp one.
    """

    stream: PackedSpikes
    counts: Counts
    blur: UInt8[np.ndarray, "h2 w2 3"]
    sharp: UInt8[np.ndarray, "h2 w2 3"]

    @property
    def alignment(self) -> float:
        """Correlation of the spikes' rate with the light of the blurry picture: near 1 where both show the same."""
        rate = self.counts.sum(axis=-1, dtype=np.float32) / np.float32(len(self.stream.frames))
        return correlation(grey_light(self.blur, rate.shape), rate)


def prepare_frame(job: FrameJob) -> FrameRecord:
    """Writes a frame, unless its content is useless; the record says what was done, or why not.

    Raises:
        OSError: the disk is full, or something else that is no fault of the frame.
    """
    record = FrameRecord(
        split=job.sequence.split,
        sequence=job.sequence.name,
        source=job.sequence.source,
        name=job.frame.name,
        number=job.number,
        files=fingerprint(job.frame),
    )
    try:
        content = read_content(job)
    except InputError as error:
        return replace(record, problem=one_line(error))
    _write(job, content)
    return replace(
        record,
        spikes=int(content.counts.sum()),
        histogram=tuple(np.bincount(content.counts.ravel()).tolist()),
        same=np.array_equal(content.blur, content.sharp),
        alignment=content.alignment,
    )


def read_content(job: FrameJob) -> FrameContent:
    """Reads a frame's pictures and spikes.

    Raises:
        InputError: a file is damaged, or all of the spikes are 0 or 1.
    """
    frame = job.frame
    height, width = job.sequence.spike_size
    upside_down = job.sequence.upside_down
    if frame.stream.suffix == ".dat":
        stream = read_packed(frame.stream, height=height, width=width, window=frame.window, upside_down=upside_down)
    else:
        spikes = read_spikes(frame.stream, height=height, width=width, upside_down=upside_down)
        stream = pack(spikes[slice(*frame.window)])
    counts = voxelise_packed(stream, job.bins)
    total = int(counts.sum())
    if total in (0, frame.steps * height * width):
        every = f"{min(total, 1)} at every pixel of steps {frame.window[0]} to {frame.window[1] - 1}"
        raise InputError(f"expected spikes at some times and not at others, found {every}: {frame.stream}")
    return FrameContent(stream, counts, read_picture(frame.blur), read_picture(frame.sharp))


def expected_sizes(job: FrameJob) -> dict[str, int]:
    """Bytes that a frame will take on disk, by kind.

    Raises:
        InputError: as `read_content`.
    """
    content = read_content(job)
    frame = job.frame
    sizes = {"voxels": compressed_size(content.counts)}
    if job.picture_arrays:
        sizes["pictures in tiles"] = compressed_size(content.blur) + compressed_size(content.sharp)
    if not job.link:
        pictures = sum(path.stat().st_size for path in (frame.blur, frame.sharp))
        sizes["copies of pictures and streams"] = (
            pictures + frame.steps * content.stream.height * content.stream.width // 8
        )
    return sizes


def _write(job: FrameJob, content: FrameContent) -> None:
    frame = job.frame
    for kind, path, picture in ((BLUR, frame.blur, content.blur), (SHARP, frame.sharp, content.sharp)):
        target = job.path(kind, ".png")
        if path.suffix.lower() == ".png" and picture_header(path)[0] == "RGB":
            _link_or_copy(path, target, link=job.link)
        else:
            with atomic_write(target) as temporary:
                write_picture(temporary, picture)
    if _is_whole_file(job):
        _link_or_copy(frame.stream, job.path(SPIKE, ".dat"), link=job.link)
    else:
        write_packed(job.path(SPIKE, ".dat"), content.stream)
    frames = len(job.sequence.frames)
    largest = max(-(-planned.steps // job.bins) for planned in job.sequence.frames)
    voxels = create_frames(job.folder / VOXEL_ARRAY, (frames, *content.counts.shape), largest=largest)
    voxels.write(job.number, content.counts)
    if job.picture_arrays:
        for name, picture in ((BLUR_ARRAY, content.blur), (SHARP_ARRAY, content.sharp)):
            create_frames(job.folder / name, (frames, *picture.shape)).write(job.number, picture)


def _is_whole_file(job: FrameJob) -> bool:
    """Whether the stream's file holds this window alone, without padding columns, its rows as we write them."""
    path, (height, width) = job.frame.stream, job.sequence.spike_size
    if job.sequence.upside_down or path.suffix != ".dat" or stored_width_of(path, height=height, width=width) != width:
        return False
    return path.stat().st_size * 8 == job.frame.steps * height * width


def _link_or_copy(source: Path, target: Path, *, link: bool) -> None:
    with atomic_write(target) as temporary:
        if link:
            try:
                os.link(source, temporary)
                return
            except OSError:  # another file system, or one without hard links
                pass
        shutil.copyfile(source, temporary)
