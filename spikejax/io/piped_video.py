"""Frames into a pipe: as y4m, which says what they are, or raw.

Neither has times: a frame follows at the rate. Where the times of a source vary, frames are repeated or left out, so
that each is shown when it was, as FFmpeg does it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np

from spikejax.errors import InputError
from spikejax.io import y4m
from spikejax.io.colours import BT709, BT2020, RGB_MATRIX, VideoColours, players_matrix
from spikejax.io.output_formats import PIPE_FORMATS
from spikejax.io.pictures import WrittenFrame
from spikejax.io.pixel_formats import nearest_formats, pixel_format
from spikejax.io.raw_frames import RawLayout, picture_of
from spikejax.io.standard_streams import write_all

_MATRICES = {BT709: "BT.709", 5: "BT.601", 6: "BT.601", BT2020: "BT.2020"}


@dataclass(frozen=True)
class PipeSettings:
    """How frames are written into a pipe.

    Attributes:
        format: one of PIPE_FORMATS.
        pixel_format: FFmpeg's name of it; None for that of the input, or the nearest.
    """

    format: str = PIPE_FORMATS[0]
    pixel_format: str | None = None

    def check(self) -> None:
        """Raises InputError for a pixel format that cannot be written so."""
        if self.pixel_format is None:
            return
        if self.format == "y4m" and self.pixel_format not in y4m.FORMATS:
            raise InputError(f"expected a pixel format of y4m ({', '.join(y4m.FORMATS)}), found {self.pixel_format!r}")
        RawLayout(self.pixel_format, 2, 2).check()
        if not _can_be_made(self.pixel_format):
            raise InputError(f"expected a pixel format that can be made of RGB, found {self.pixel_format!r}")


def _can_be_made(name: str) -> bool:
    """Whether pictures of a pixel format can be made of RGB: not of palettes, and of what sensors see."""
    try:
        picture_of(np.zeros((2, 2, 3), np.uint8), VideoColours(pixel_format("yuv420p")).stored_as(name))
    except (ValueError, av.error.FFmpegError, OSError):
        return False
    return True


def piped_colours(
    settings: PipeSettings, height: int, width: int, *, bits: int, like: VideoColours | None, like_size: tuple[int, int]
) -> VideoColours:
    """What the numbers in a pipe mean.

    Args:
        settings: how they are written.
        height: of a frame.
        width: of a frame.
        bits: of a number of a frame of pictures.
        like: of the video that frames were made from; None for pictures.
        like_size: height and width there.
    """
    assumed = players_matrix(height, width)
    if like is None:
        usual = ("yuv420p", "yuv420p10le") if settings.format == "y4m" else ("rgb24", "rgb48le")
        name = settings.pixel_format or usual[bits > 8]
        colours = VideoColours(pixel_format("yuv420p"), assumed).stored_as(name)
        # Raw grey is taken to span its whole range; y4m says it.
        return replace(colours, full=True) if settings.format == "raw" and colours.format.model == "grey" else colours
    own = like.format.name if _can_be_made(like.format.name) else like.format.planar
    name = settings.pixel_format or nearest_formats(like.format, y4m.FORMATS if settings.format == "y4m" else [own])[0]
    colours = like.stored_as(name)
    # Neither says its matrix. What was assumed of the input has to be assumed of an output of another size as well.
    if colours.matrix != RGB_MATRIX and (like.format.model == "rgb" or like.matrix == players_matrix(*like_size)):
        colours = replace(colours, matrix=assumed)
    return colours


def unsaid(settings: PipeSettings, height: int, width: int, like: VideoColours, written: VideoColours) -> Iterator[str]:
    """Yields, in words, what a pipe does not hold or say of a video's colours."""
    theirs, ours = like.format, written.format
    if theirs.alpha and not ours.alpha:
        yield f"{settings.format} holds no transparency, which is left out (--format raw keeps it)"
    if ours.bits < theirs.bits:
        yield f"numbers of {theirs.bits} bits are rounded to {ours.bits} ({ours.name})"
    if any(mine > given for mine, given in zip(ours.shared, theirs.shared, strict=True)):
        yield f"colours are stored at a lower resolution ({theirs.name} becomes {ours.name})"
    matrix = None if written.matrix in (RGB_MATRIX, players_matrix(height, width)) else written.matrix
    said = [_MATRICES.get(matrix, f"of matrix {matrix}")] if matrix is not None else []
    said += [like.hdr_transfer] if like.hdr_transfer else []
    if said:
        yield f"{settings.format} does not say that its colours are {' and '.join(said)}: tell it to what reads them"


class PipedVideo:
    """Writes frames into a pipe at a constant rate.

    Attributes:
        repeated: frames that were written once more, since nothing else is shown then.
        left_out: frames that were not written, since the next is shown by then.
    """

    def __init__(
        self,
        sink: BinaryIO,
        settings: PipeSettings,
        colours: VideoColours,
        *,
        rate: Fraction,
        pixel_aspect: Fraction | None = None,
    ) -> None:
        """Writes nothing yet.

        Args:
            sink: of bytes.
            settings: how.
            colours: see `piped_colours`.
            rate: frames a second.
            pixel_aspect: width of a pixel over its height.
        """
        self._sink, self._settings, self._colours = sink, settings, colours
        self._rate, self._pixel_aspect = rate, pixel_aspect
        self._layout: RawLayout | None = None
        self._waiting: bytes | None = None
        self._written = 0
        self.repeated = self.left_out = 0

    def write(self, frame: WrittenFrame, time: Fraction | None) -> None:
        """Takes the next frame, which is shown from `time` on; None = one frame of the rate after the last.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        if self._layout is None:
            self._start(*frame.shape[:2])
        assert self._layout is not None
        ahead = self._written + (self._waiting is not None)
        place = ahead if time is None else math.floor(time * self._rate + Fraction(1, 2))
        if self._waiting is not None:
            # The frame before is shown until this one begins.
            times = max(place - self._written, 0)
            self.left_out += times == 0
            self.repeated += max(times - 1, 0)
            for _ in range(times):
                self._put(self._waiting)
        self._waiting = self._layout.bytes_of(picture_of(frame, self._colours))

    def close(self) -> None:
        """Writes the frame that is still held back."""
        if self._waiting is not None:
            self._put(self._waiting)
            self._waiting = None

    def _put(self, content: bytes) -> None:
        if self._settings.format == "y4m":
            write_all(self._sink, y4m.FRAME + b"\n")
        write_all(self._sink, content)
        self._written += 1

    def _start(self, height: int, width: int) -> None:
        colours = self._colours
        self._layout = RawLayout(colours.format.name, height, width)
        if self._settings.format == "y4m":
            header = y4m.Y4mHeader(
                colours.format.name, height, width, self._rate, self._pixel_aspect, colours.chroma, colours.full
            )
            write_all(self._sink, header.line())

    @property
    def description(self) -> str:
        """What reads raw frames has to be told, as FFmpeg's options; "" for y4m, or before the first frame."""
        if self._layout is None or self._settings.format == "y4m":
            return ""
        size = f"{self._layout.width}x{self._layout.height}"
        return f"-f rawvideo -pixel_format {self._layout.format} -video_size {size} -framerate {self._rate}"
