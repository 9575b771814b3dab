"""Frames in and out: a folder of pictures or a video file, one frame at a time.

A frame is uint8 RGB [h,w,3]. Reading and writing stream, so memory does not grow with the length of a video. Both kinds
look alike to the caller; a writer's output appears under its name only when it is whole.
"""

from __future__ import annotations

import abc
import functools
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from spikejax.data.files import atomic_directory, atomic_write
from spikejax.errors import InputError

PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# Containers that carry H.264 and that we write.
VIDEO_SUFFIXES = frozenset({".mkv", ".mov", ".mp4"})

# Modes in which 8 bits a channel hold all there is; 16-bit and float pictures would be clipped by a conversion.
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_DEFAULT_RATE = Fraction(25)
# Visually lossless: what restoring gained is not to be lost again in the file.
_H264_QUALITY = "12"

Frame = UInt8[np.ndarray, "h w 3"]


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """The key that sorts `frame2` before `frame10`."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts)


def _stem(name: str) -> str:
    return Path(name).stem


def read_picture(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file as uint8 RGB; grey and palette pictures are converted, transparency is dropped.

    Raises:
        InputError: the file is no picture, is damaged, or holds more than 8 bits a channel.
    """
    with _open_picture(Path(path)) as picture:
        if picture.mode not in _EIGHT_BIT_MODES:
            raise InputError(f"expected a picture with 8 bits a channel, found mode {picture.mode!r}: {path}")
        return np.array(picture.convert("RGB"))


def write_picture(path: str | os.PathLike[str], picture: UInt8[np.ndarray, "h w 3"]) -> None:
    """Writes a picture in the format that the name says, without a temporary name."""
    # Level 1 writes a 720p PNG several times as fast as the default, for a file about a tenth larger.
    Image.fromarray(picture).save(path, compress_level=1)


@contextmanager
def _open_picture(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, UnidentifiedImageError, SyntaxError) as error:  # SyntaxError: Pillow's answer to some broken PNGs
        raise InputError(f"expected a picture, cannot decode {path}: {error}") from error


class FrameSource(abc.ABC):
    """Frames of one size, read one at a time; iterating again starts again at the first frame.

    Attributes:
        path: the folder or the file.
        height, width: of every frame, in pixels.
        rate: frames a second, None if unknown (a folder).
        names: the frames' file names, None for a video.
        expected_length: the number of frames; of a video it is what the container says, None if it says nothing.
    """

    path: Path
    height: int
    width: int
    rate: Fraction | None = None
    names: tuple[str, ...] | None = None
    expected_length: int | None = None

    @abc.abstractmethod
    def __iter__(self) -> Iterator[Frame]: ...

    @functools.cached_property
    def count(self) -> int:
        """The exact number of frames; of a video by decoding it, since containers may say otherwise."""
        return len(self.names) if self.names is not None else sum(1 for _ in self)


def open_frames(path: str | os.PathLike[str]) -> FrameSource:
    """The frames of a folder of pictures (in natural order of their names) or of a video file.

    Raises:
        InputError: there is no such path, no picture in the folder, pictures of different sizes (two are named), or
            nothing that decodes as a video.
    """
    path = Path(path)
    if path.is_dir():
        return _PictureFolder(path)
    if path.is_file():
        return _Video(path)
    raise InputError(f"expected a folder of pictures or a video file, found nothing at {path}")


class _PictureFolder(FrameSource):
    def __init__(self, path: Path) -> None:
        files = [
            file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
        ]
        if not files:
            raise InputError(f"expected pictures ({', '.join(sorted(PICTURE_SUFFIXES))}), found none in folder {path}")
        self.path = path
        self.names = tuple(sorted((file.name for file in files), key=natural_key))
        for name, following in itertools.pairwise(sorted(self.names, key=_stem)):
            if _stem(name) == _stem(following):
                raise InputError(f"expected one picture per frame, found both {name} and {following} in folder {path}")
        self.expected_length = len(self.names)
        self.width, self.height = self._common_size()

    def _common_size(self) -> tuple[int, int]:
        """(width, height) of all pictures, by their headers alone: before any work is done on the first."""
        assert self.names is not None
        first: tuple[int, int] | None = None
        for name in self.names:
            with _open_picture(self.path / name) as picture:
                width, height = picture.size
            first = first or (width, height)
            if (width, height) != first:
                raise InputError(
                    f"expected frames of one size, {self.names[0]} is {first[0]}x{first[1]} but "
                    f"{name} is {width}x{height} (width x height) in folder {self.path}"
                )
        assert first is not None
        return first

    def __iter__(self) -> Iterator[Frame]:
        assert self.names is not None
        for name in self.names:
            yield read_picture(self.path / name)


class _Video(FrameSource):
    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as (container, stream):
            self.rate = stream.average_rate or stream.guessed_rate
            self.expected_length = _announced_length(container, stream)
        # The first frame and not the header tells the size: it shows that something decodes, and it is turned.
        first = next(iter(self), None)
        if first is None:
            raise InputError(f"expected a video, no frame decodes in {path}")
        self.height, self.width = first.shape[:2]

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        """Yields the open container and its first video stream; what goes wrong inside is an InputError."""
        try:
            with av.open(os.fspath(self.path)) as container:
                if not container.streams.video:
                    raise InputError(f"expected a video, found no video stream in {self.path}")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                yield container, stream
        except av.error.FFmpegError as error:
            raise InputError(f"expected a video, cannot decode {self.path}: {error.strerror}") from error

    def __iter__(self) -> Iterator[Frame]:
        size: tuple[int, ...] | None = None
        with self._open() as (container, stream):
            for index, decoded in enumerate(container.decode(stream)):
                # A phone held upright stores its picture lying, with a quarter turn in the file.
                frame = np.rot90(_to_rgb(decoded), decoded.rotation // 90)
                size = size or frame.shape
                if frame.shape != size:
                    raise InputError(f"expected frames of one size, frame {index} changes it in {self.path}")
                yield np.ascontiguousarray(frame)


def _to_rgb(decoded: av.VideoFrame) -> Frame:
    if decoded.format.name == "yuv420p":
        # FFmpeg's short cut from yuv420p to RGB is one level too dark on average; by way of yuv444p it is exact.
        decoded = decoded.reformat(format="yuv444p")
    return decoded.to_ndarray(format="rgb24")


def _announced_length(container: Any, stream: Any) -> int | None:
    if stream.frames:
        return stream.frames
    if stream.duration and stream.average_rate:
        return round(stream.duration * stream.time_base * stream.average_rate)
    if container.duration and stream.average_rate:
        return round(Fraction(container.duration, av.time_base) * stream.average_rate)
    return None


class FrameWriter(abc.ABC):
    """Takes the frames of one output, see `open_writer`."""

    @abc.abstractmethod
    def write(self, frame: UInt8[np.ndarray, "h w 3"], *, name: str | None = None) -> None:
        """Appends a frame; `name` is its file name in a folder (as PNG whatever its suffix), by default its number."""

    @abc.abstractmethod
    def attach(self, name: str, text: str) -> None:
        """Writes a text file that belongs to the frames: NAME in their folder, or VIDEO-STEM.NAME beside the video."""


def is_video_name(path: str | os.PathLike[str]) -> bool:
    """Whether an output of this name is a video and not a folder of pictures.

    Raises:
        InputError: the suffix is of another kind of file.
    """
    suffix = Path(path).suffix.lower()
    if suffix and suffix not in VIDEO_SUFFIXES:
        raise InputError(f"expected a folder (no suffix) or a video ({', '.join(sorted(VIDEO_SUFFIXES))}): {path}")
    return bool(suffix)


@contextmanager
def open_writer(
    path: str | os.PathLike[str], *, rate: Fraction | None = None, overwrite: bool = False
) -> Iterator[FrameWriter]:
    """Yields a writer to a folder of PNG files or to an H.264 video, as the suffix says.

    The output appears when the block ends without an exception; otherwise nothing is left.

    Args:
        path: a folder (no suffix), or a video (.mkv, .mov, .mp4).
        rate: frames a second of a video, None = 25; a folder has no rate.
        overwrite: whether what is there already gives way.

    Raises:
        InputError: there is something already and `overwrite` is off, or the suffix is of another kind of file.
    """
    path = Path(path)
    if not is_video_name(path):
        with atomic_directory(path, replace=overwrite) as folder:
            yield _FolderWriter(folder)
        return
    if path.exists() and not overwrite:
        raise InputError(f"expected a new file, found one that exists already: {path}")
    with atomic_write(path) as temporary:
        writer = _VideoWriter(path, temporary, rate or _DEFAULT_RATE)
        try:
            yield writer
        finally:
            writer.close()
        if not temporary.exists():
            raise InputError(f"expected at least one frame for the video {path}")


class _FolderWriter(FrameWriter):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def write(self, frame: UInt8[np.ndarray, "h w 3"], *, name: str | None = None) -> None:
        name = Path(name).stem if name is not None else f"{self._count:06d}"
        write_picture(self._folder / f"{name}.png", frame)
        self._count += 1

    def attach(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text)


class _VideoWriter(FrameWriter):
    def __init__(self, path: Path, temporary: Path, rate: Fraction) -> None:
        self._path = path
        self._temporary = temporary
        self._rate = rate
        self._container: Any = None
        self._stream: Any = None

    def write(self, frame: UInt8[np.ndarray, "h w 3"], *, name: str | None = None) -> None:
        if self._container is None:
            self._start(*frame.shape[:2])
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format=self._stream.pix_fmt, dst_colorspace=Colorspace.ITU709)
        self._container.mux(self._stream.encode(picture))

    def _start(self, height: int, width: int) -> None:
        self._container = av.open(os.fspath(self._temporary), "w")
        self._stream = self._container.add_stream("libx264", rate=self._rate, options={"crf": _H264_QUALITY})
        self._stream.height, self._stream.width = height, width
        context = self._stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        # Players expect half the colour resolution, which halves the sides: an odd size has to keep it whole.
        self._stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"

    def attach(self, name: str, text: str) -> None:
        with atomic_write(self._path.with_name(f"{self._path.stem}.{name}")) as temporary:
            temporary.write_text(text)

    def close(self) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
