"""Frames without a container: the numbers of one picture after those of another, as FFmpeg's `rawvideo` has them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from spikejax.errors import InputError
from spikejax.io.colours import VideoColours, alpha_plane, from_rgb
from spikejax.io.pictures import WrittenFrame
from spikejax.io.pixel_formats import frame_of, pixel_format

_CODEC = "rawvideo"
_PALETTE = "pal8"  # its palette is no part of a raw frame


@dataclass(frozen=True)
class RawLayout:
    """How frames lie one behind the other.

    Attributes:
        format: FFmpeg's name of the pixel format.
        height, width: of a frame.
    """

    format: str
    height: int
    width: int

    def check(self) -> None:
        """Raises InputError for a pixel format that FFmpeg has not, or that no frames of numbers have."""
        try:
            pixel_format(self.format)
            usable = self.format != _PALETTE and self.size > 0
        except (ValueError, av.error.FFmpegError):
            usable = False
        if not usable:
            raise InputError(f"expected a pixel format of FFmpeg's, such as yuv420p or rgb24, found {self.format!r}")

    @functools.cached_property
    def size(self) -> int:
        """Bytes of a frame."""
        return len(self.bytes_of(av.VideoFrame(self.width, self.height, self.format)))

    def bytes_of(self, frame: Any) -> bytes:
        """A frame as bytes."""
        self._writer.time_base = Fraction(1)
        (packet,) = self._writer.encode(frame)
        return bytes(packet)

    def frame_of(self, content: bytes) -> Any:
        """A frame of `size` bytes."""
        (frame,) = self._reader.decode(av.Packet(content))
        return frame

    @functools.cached_property
    def _reader(self) -> Any:
        return self._context("r")

    @functools.cached_property
    def _writer(self) -> Any:
        return self._context("w")

    def _context(self, mode: Any) -> Any:
        context: Any = av.CodecContext.create(_CODEC, mode)
        context.width, context.height, context.pix_fmt = self.width, self.height, self.format
        return context


def picture_of(frame: WrittenFrame, colours: VideoColours) -> Any:
    """RGB, or RGB and what is transparent in it, as a picture of a video of those colours."""
    planes = from_rgb(frame[..., :3], colours)
    if colours.format.alpha:
        opaque = np.full(frame.shape[:2], np.iinfo(frame.dtype).max, frame.dtype)
        planes.append(alpha_plane(frame[..., 3] if frame.shape[2] == 4 else opaque, colours.format))
    return frame_of(planes, colours.format.name)
