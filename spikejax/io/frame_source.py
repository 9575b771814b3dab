"""Frames in: a folder of pictures, a glob of them or a video file, one frame at a time, all alike to the caller.

A folder of pictures may be in a bucket; a pattern and a video, which a decoder seeks in, are on a disk.

Reading streams, so memory does not grow with the length of a video. A frame is uint8 RGB [h,w,3]; asked for its own
depth, a source with more than 8 bits a channel gives uint16, and so does any video, whose RGB is rounded in 8.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from spikejax.errors import InputError
from spikejax.io.bucket_listing import DataPath, ListedPath, listed
from spikejax.io.frame_stream import Damage, DecodedFrame
from spikejax.io.frame_stream import FrameSource as FrameSource
from spikejax.io.pictures import PICTURE_SUFFIXES, is_deep, picture_size, read_frame, read_picture
from spikejax.io.video_reading import VideoReading
from spikejax.io.video_source import VideoFrames


def open_frames(
    path: str | os.PathLike[str], *, own_depth: bool = False, reading: VideoReading | None = None
) -> FrameSource:
    """The frames of a folder of pictures or a glob (in natural order of their names), or of a video file.

    Args:
        path: a folder, a pattern such as `shots/left_*.png`, or a video.
        own_depth: whether pictures of more than 8 bits a channel, and all videos, become uint16; otherwise such
            pictures are refused, and videos rounded.
        reading: how a video is read; None for the default.

    Raises:
        InputError: there is no such path, no picture in the folder, pictures of different sizes (two are named), or
            nothing that decodes as a video; a video is interlaced, and `reading` does not say what to do; or `reading`
            is given for pictures.
    """
    path = listed(path)
    if reading is not None and (isinstance(path, ListedPath) or not path.is_file()):
        raise InputError(
            f"expected a video with --stream, --deinterlace, --as-progressive or --resize-changes, found {path}"
        )
    if path.is_dir():
        files = [
            file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
        ]
        if not files:
            raise InputError(f"expected pictures ({', '.join(sorted(PICTURE_SUFFIXES))}), found none in folder {path}")
        return _Pictures(path, files, own_depth=own_depth)
    if isinstance(path, ListedPath):
        raise InputError(f"expected a folder of pictures, or a video on this machine's disks, found {path}")
    if path.is_file():
        return VideoFrames(path, own_depth=own_depth, reading=reading or VideoReading())
    if glob.has_magic(os.fspath(path)):
        files = [Path(file) for file in glob.glob(os.fspath(path)) if Path(file).is_file()]
        if not files:
            raise InputError(f"expected pictures, no file fits the pattern {path}")
        return _Pictures(path, files, own_depth=own_depth)
    raise InputError(f"expected a folder of pictures or a video file, found nothing at {path}")


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """The key that sorts `frame2` before `frame10`."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def _stem(file: DataPath) -> str:
    return file.stem


class _Pictures(FrameSource):
    def __init__(self, path: DataPath, files: Sequence[DataPath], *, own_depth: bool) -> None:
        self.path = path
        self.damage, self.splices = Damage(), []
        self._files = sorted(files, key=lambda file: natural_key(file.name))
        self.names = tuple(file.name for file in self._files)
        for file, following in itertools.pairwise(sorted(self._files, key=_stem)):
            if _stem(file) == _stem(following):
                raise InputError(f"expected one picture per frame, found both {file.name} and {following.name}: {path}")
        self.expected_length = len(files)
        self.height, self.width = self._common_size()
        # One depth for all frames: decided by the first, so that no frame waits for all headers.
        self.bits = 16 if own_depth and is_deep(self._files[0]) else 8
        self._own_depth = own_depth

    def _common_size(self) -> tuple[int, int]:
        """(height, width) of all pictures, by their headers alone: before any work is done on the first."""
        first = self._files[0]
        height, width = picture_size(first)
        # In a bucket every header is a request: there each picture shows its size when it is read.
        for file in self._files[1:] if isinstance(first, Path) else ():
            size = picture_size(file)
            self._check_size(file, size, (height, width))
        return height, width

    def _check_size(self, file: DataPath, size: tuple[int, ...], common: tuple[int, int]) -> None:
        if size != common:
            raise InputError(
                f"expected frames of one size, {self._files[0].name} is {common[1]}x{common[0]} but "
                f"{file.name} is {size[1]}x{size[0]} (width x height) in {self.path}"
            )

    def decode(self, start: int = 0) -> Iterator[DecodedFrame]:
        """See `FrameSource.decode`; a picture that does not decode is an `InputError`."""
        for file in self._files[start:]:
            frame = read_frame(file) if self._own_depth else read_picture(file)
            self._check_size(file, frame.shape[:2], (self.height, self.width))
            if (frame.dtype == np.uint16) != (self.bits > 8):
                raise InputError(f"expected frames of one depth, {self._files[0].name} and {file.name} differ in it")
            yield DecodedFrame(frame, None, None)
