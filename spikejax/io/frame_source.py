"""Frames in: a folder of pictures, a glob of them or a video file, one frame at a time, all alike to the caller.

A folder of pictures may be in a bucket; a pattern and a video, which a decoder seeks in, are on a disk.

Reading streams, so memory does not grow with the length of a video. A frame is uint8 RGB [h,w,3]; asked for its own
depth, a source with more than 8 bits a channel gives uint16.
"""

from __future__ import annotations

import abc
import functools
import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from spikejax.errors import InputError
from spikejax.io.bucket_listing import DataPath, ListedPath, listed
from spikejax.io.pictures import PICTURE_SUFFIXES, Frame, is_deep, picture_size, read_frame, read_picture

# Positions of damage that are kept; a video may consist of little else.
_MOST_POSITIONS = 20


@dataclass
class Damage:
    """What of a video did not decode when it was last read.

    Attributes:
        packets: how many did not decode at all.
        missing: how many the container announces but does not hold, as in a file that was cut.
        concealed: frames that the decoder gave although parts of them are lost.
        positions: where packets did not decode, in seconds; the first ones.
    """

    packets: int = 0
    missing: int = 0
    concealed: int = 0
    positions: list[float] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.packets or self.missing or self.concealed)

    def __str__(self) -> str:
        parts = []
        if self.packets:
            where = f" (at {', '.join(f'{at:.2f}' for at in self.positions)} s)" if self.positions else ""
            parts.append(f"{self.packets} packets do not decode{where}")
        if self.missing:
            parts.append(f"{self.missing} announced packets are not there")
        if self.concealed:
            parts.append(f"{self.concealed} frames decode in part")
        return ", ".join(parts)


class FrameSource(abc.ABC):
    """Frames of one size, read one at a time; iterating again starts again at the first frame.

    Attributes:
        path: the folder or the file.
        height, width: of every frame, in pixels.
        rate: frames a second, None if unknown (a folder).
        names: the frames' file names, None for a video.
        expected_length: the number of frames; of a video it is what the container says, None if it says nothing.
        bits: of a channel as stored, 8 or more.
        time_base: seconds of which the frames' times are multiples, None if they have none.
        pixel_aspect: width of a pixel over its height, None if unknown.
        damage: what did not decode when the source was last read.
    """

    path: DataPath
    height: int
    width: int
    rate: Fraction | None = None
    names: tuple[str, ...] | None = None
    expected_length: int | None = None
    bits: int = 8
    time_base: Fraction | None = None
    pixel_aspect: Fraction | None = None
    damage: Damage

    @abc.abstractmethod
    def read(self, start: int = 0) -> Iterator[tuple[Frame, Fraction | None]]:
        """Yields the frames from number `start` on, each with its time in seconds (None if it has none)."""

    def __iter__(self) -> Iterator[Frame]:
        return (frame for frame, _ in self.read())

    @functools.cached_property
    def count(self) -> int:
        """The exact number of frames; of a video by decoding it, since containers may say otherwise."""
        return len(self.names) if self.names is not None else sum(1 for _ in self)


def open_frames(path: str | os.PathLike[str], *, own_depth: bool = False) -> FrameSource:
    """The frames of a folder of pictures or a glob (in natural order of their names), or of a video file.

    Args:
        path: a folder, a pattern such as `shots/left_*.png`, or a video.
        own_depth: whether frames of more than 8 bits a channel become uint16; otherwise such pictures are refused,
            and such videos rounded.

    Raises:
        InputError: there is no such path, no picture in the folder, pictures of different sizes (two are named), or
            nothing that decodes as a video.
    """
    path = listed(path)
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
        return _Video(path, own_depth=own_depth)
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
        self.damage = Damage()
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

    def read(self, start: int = 0) -> Iterator[tuple[Frame, Fraction | None]]:
        """See `FrameSource.read`; a picture that does not decode is an `InputError`."""
        for file in self._files[start:]:
            frame = read_frame(file) if self._own_depth else read_picture(file)
            self._check_size(file, frame.shape[:2], (self.height, self.width))
            if (frame.dtype == np.uint16) != (self.bits > 8):
                raise InputError(f"expected frames of one depth, {self._files[0].name} and {file.name} differ in it")
            yield frame, None


class _Video(FrameSource):
    def __init__(self, path: Path, *, own_depth: bool) -> None:
        self.path = path
        self.damage = Damage()
        with self._open() as (container, stream):
            self.rate = _known(stream.average_rate) or _known(stream.guessed_rate)
            self.expected_length = _announced_length(container, stream)
            # FFmpeg counts time from here when it copies: the sound's first packet may be earlier than the picture's.
            self.start_time = Fraction(container.start_time or 0, av.time_base)
            self.time_base = _known(stream.time_base)
            self.pixel_aspect = _known(stream.codec_context.sample_aspect_ratio)
            bits = max((component.bits for component in stream.codec_context.format.components), default=8)
        self.bits = bits if own_depth else 8
        # The first frame and not the header tells the size: it shows that something decodes, and it is turned.
        first = next(iter(self), None)
        if first is None:
            raise InputError(f"expected a video, no frame decodes in {path}")
        self.height, self.width = first.shape[:2]

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        """Yields the open container and its first video stream; what goes wrong inside is an InputError."""
        try:
            with av.open(f"file:{os.fspath(self.path)}") as container:
                if not container.streams.video:
                    raise InputError(f"expected a video, found no video stream in {self.path}")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                if stream.codec_context.format is None:
                    raise InputError(f"expected a video, found a stream of unknown format in {self.path}")
                yield container, stream
        except av.error.FFmpegError as error:
            raise InputError(f"expected a video, cannot decode {self.path}: {error.strerror}") from error

    def read(self, start: int = 0) -> Iterator[tuple[Frame, Fraction | None]]:
        """See `FrameSource.read`; what does not decode is left out and counted in `damage`."""
        self.damage = Damage()
        size: tuple[int, ...] | None = None
        with self._open() as (container, stream):
            for index, decoded in enumerate(self._decode(container, stream)):
                if index < start:
                    continue
                # A phone held upright stores its picture lying, with a quarter turn in the file.
                frame = np.rot90(_to_rgb(decoded, deep=self.bits > 8), decoded.rotation // 90)
                size = size or frame.shape
                if frame.shape != size:
                    raise InputError(f"expected frames of one size, frame {index} changes it in {self.path}")
                time = None if decoded.pts is None else decoded.pts * decoded.time_base - self.start_time
                yield np.ascontiguousarray(frame), time

    def _decode(self, container: Any, stream: Any) -> Iterator[Any]:
        packets = 0
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    self._count_damage(packet)
                    continue
                for frame in frames:
                    self.damage.concealed += frame.is_corrupt
                    yield frame
        except av.error.FFmpegError:  # the container itself is damaged from here on
            self.damage.packets += 1
        if stream.frames:
            self.damage.missing = max(0, stream.frames - packets)

    def _count_damage(self, packet: Any) -> None:
        self.damage.packets += 1
        if packet.pts is not None and len(self.damage.positions) < _MOST_POSITIONS:
            self.damage.positions.append(float(packet.pts * packet.time_base - self.start_time))


def _to_rgb(decoded: av.VideoFrame, *, deep: bool) -> Frame:
    if deep:
        return decoded.to_ndarray(format="rgb48le")
    if decoded.format.name == "yuv420p":
        # FFmpeg's short cut from yuv420p to RGB is one level too dark on average; by way of yuv444p it is exact.
        decoded = decoded.reformat(format="yuv444p")
    return decoded.to_ndarray(format="rgb24")


def _known(ratio: Any) -> Fraction | None:
    """A ratio of a file, None if it does not say it: by None, and from PyAV 19 on by a 0/1 of its own type."""
    if ratio is None or not ratio.numerator or not ratio.denominator:
        return None
    return Fraction(ratio.numerator, ratio.denominator)


def _announced_length(container: Any, stream: Any) -> int | None:
    rate = _known(stream.average_rate)
    if stream.frames:
        return stream.frames
    if stream.duration and rate:
        return round(stream.duration * stream.time_base * rate)
    if container.duration and rate:
        return round(Fraction(container.duration, av.time_base) * rate)
    return None
