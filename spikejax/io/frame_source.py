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
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from spikejax.errors import InputError
from spikejax.io.animated_pictures import AnimatedFrames, is_animated
from spikejax.io.bucket_listing import DataPath, ListedPath, listed
from spikejax.io.frame_stream import Damage, DecodedFrame
from spikejax.io.frame_stream import FrameSource as FrameSource
from spikejax.io.pictures import PICTURE_SUFFIXES, read_picture
from spikejax.io.still_pictures import Still, in_profile, read_still
from spikejax.io.video_reading import VideoReading
from spikejax.io.video_source import VideoFrames
from spikejax.progress import count_text


def open_frames(
    path: str | os.PathLike[str],
    *,
    own_depth: bool = False,
    reading: VideoReading | None = None,
    keep_floats: bool = False,
) -> FrameSource:
    """The frames of a folder of pictures or a glob (in natural order of their names), or of a video file.

    Args:
        path: a folder, a pattern such as `shots/left_*.png`, or a video.
        own_depth: whether pictures of more than 8 bits a channel, and all videos, become uint16; otherwise such
            pictures are refused, and videos rounded.
        reading: how a video is read; None for the default. Of pictures, whether sizes may change.
        keep_floats: whether pictures of floats stay linear floats.

    Raises:
        InputError: there is no such path, no picture in the folder, or nothing that decodes as a video; a video is
            interlaced, and `reading` does not say what to do; or `reading` says of pictures what videos alone have.
    """
    path = listed(path)
    resize_changes = reading is not None and reading.resize_changes
    of_pictures: dict[str, Any] = {"own_depth": own_depth, "resize_changes": resize_changes, "keep_floats": keep_floats}
    if reading not in (None, VideoReading(resize_changes=resize_changes)):
        if isinstance(path, ListedPath) or not path.is_file():
            raise InputError(f"expected a video with --stream, --deinterlace or --as-progressive, found {path}")
    if path.is_dir():
        files = [
            file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
        ]
        if not files:
            raise InputError(f"expected pictures ({', '.join(sorted(PICTURE_SUFFIXES))}), found none in folder {path}")
        return _Pictures(path, files, **of_pictures)
    if isinstance(path, ListedPath):
        raise InputError(f"expected a folder of pictures, or a video on this machine's disks, found {path}")
    if path.is_file():
        if is_animated(path):
            if reading is not None:
                raise InputError(
                    f"expected a video with --stream, --deinterlace, ..., found an animated picture: {path}"
                )
            return AnimatedFrames(path, own_depth=own_depth)
        return VideoFrames(path, own_depth=own_depth, reading=reading or VideoReading())
    if glob.has_magic(os.fspath(path)):
        files = [Path(file) for file in glob.glob(os.fspath(path)) if Path(file).is_file()]
        if not files:
            raise InputError(f"expected pictures, no file fits the pattern {path}")
        return _Pictures(path, files, **of_pictures)
    raise InputError(f"expected a folder of pictures or a video file, found nothing at {path}")


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """The key that sorts `frame2` before `frame10`."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def _stem(file: DataPath) -> str:
    return file.stem


class _Pictures(FrameSource):
    def __init__(
        self,
        path: DataPath,
        files: Sequence[DataPath],
        *,
        own_depth: bool,
        resize_changes: bool,
        keep_floats: bool,
    ) -> None:
        self.path = path
        self.damage, self.splices = Damage(), []
        self._files = sorted(files, key=lambda file: natural_key(file.name))
        self.names = tuple(file.name for file in self._files)
        for file, following in itertools.pairwise(sorted(self._files, key=_stem)):
            if _stem(file) == _stem(following):
                raise InputError(f"expected one picture per frame, found both {file.name} and {following.name}: {path}")
        self.expected_length = len(files)
        self._own_depth, self._resize_changes, self._keep_floats = own_depth, resize_changes, keep_floats
        # Size, depth and colours of all are decided by the first, and each is checked when it is read: the headers of a
        # hundred thousand pictures on a slow disk take minutes.
        first = self._read(self._files[0])
        self.height, self.width = first.frame.shape[:2]
        self.bits = 8 * first.frame.itemsize
        self.profile = first.profile
        self._notes: Counter[str] = Counter()

    @property
    def remarks(self) -> tuple[str, ...]:
        """See `FrameSource.remarks`."""
        return tuple(f"of {count_text(count, 'picture')}, {note}" for note, count in self._notes.items())

    def _read(self, file: DataPath) -> Still:
        return read_still(file, keep_floats=self._keep_floats) if self._own_depth else Still(read_picture(file))

    def decode(self, start: int = 0) -> Iterator[DecodedFrame]:
        """See `FrameSource.decode`; a picture that does not decode, or is of another size, is an `InputError`."""
        self._notes.clear()
        for file in self._files[start:]:
            still = self._alike(file, self._read(file))
            if still.note:
                self._notes[still.note] += 1
            yield DecodedFrame(still.frame, None, still.alpha)

    def _alike(self, file: DataPath, still: Still) -> Still:
        """A picture with the size and colours of the first one; raises `InputError` where it is of another size."""
        first, size = self._files[0].name, still.frame.shape[:2]
        if 8 * still.frame.itemsize != self.bits:
            raise InputError(f"expected frames of one depth, {first} and {file.name} differ in it")
        if size != (self.height, self.width):
            if not self._resize_changes:
                raise InputError(
                    f"expected frames of one size (or --resize-changes), {first} is {self.width}x{self.height} but "
                    f"{file.name} is {size[1]}x{size[0]} (width x height) in {self.path}"
                )
            still = _resized(still, self.height, self.width)
        if still.profile != self.profile:
            converted = in_profile(still, self.profile)
            what = "left as it is" if converted is None else "converted to the first's"
            still = (converted or still)._replace(note=f"their other ICC profile was {what}")
        return still


def _resized(still: Still, height: int, width: int) -> Still:
    """A picture brought to another size."""
    parts = [
        None if part is None else cv2.resize(part, (width, height), interpolation=cv2.INTER_LANCZOS4)
        for part in (still.frame, still.alpha)
    ]
    assert parts[0] is not None
    return still._replace(frame=parts[0], alpha=parts[1], note=f"another size was brought to {width}x{height}")
