"""Videos in: any that FFmpeg decodes, as a player shows it, frame by frame.

Cover pictures are no video; a picture that the file turns or mirrors comes out upright; colours are told what players
assume where the file says nothing. See `spikejax.io.colours` for RGB, `spikejax.io.timeline` for times.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from spikejax.errors import InputError
from spikejax.io.colours import (
    CHROMA_POSITIONS,
    RGB_MATRIX,
    UNKNOWN,
    StaticHdr,
    VideoColours,
    alpha_of,
    players_matrix,
    to_rgb,
)
from spikejax.io.frame_stream import Damage, DecodedFrame, FrameSource
from spikejax.io.pictures import Frame
from spikejax.io.pixel_depth import to_uint8
from spikejax.io.pixel_formats import pixel_format, planes_of

# Positions of damage that are kept; a video may consist of little else.
_MOST_POSITIONS = 20
_RESERVED_MATRIX = 3


@dataclass(frozen=True)
class ContainerTags:
    """What a container says of its stream's colours, where the frames do not.

    Attributes:
        matrix, primaries, transfer, colour_range: FFmpeg's numbers.
        chroma: where shared colours lie, None if unknown.
    """

    matrix: int = UNKNOWN
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    colour_range: int = 0
    chroma: str | None = None


class VideoFrames(FrameSource):
    """The frames of a video file; see `FrameSource`."""

    def __init__(self, path: Path, *, own_depth: bool) -> None:
        self.path = self._file = path
        self.damage = Damage()
        self._own_depth = own_depth
        with self._open() as (container, stream):
            self.rate = _known(stream.average_rate) or _known(stream.guessed_rate)
            self.expected_length = _announced_length(container, stream)
            # FFmpeg counts time from here when it copies: the sound's first packet may be earlier than the picture's.
            self.start_time = Fraction(container.start_time or 0, av.time_base)
            self.time_base = _known(stream.time_base)
            self._tags = _container_tags(container, stream)
            first = next(self._decoded(container, stream), None)
            if first is None:
                raise InputError(f"expected a video, no frame decodes in {path}")
            aspect = _known(stream.sample_aspect_ratio)
        # The first frame and not the header tells the size and the colours: it shows that something decodes.
        self.colours = colours_of(first, self._tags)
        self.bits = self.colours.format.bits if own_depth else 8
        upright = Orientation.of(first)
        self.height, self.width = (first.width, first.height) if upright.swapped else (first.height, first.width)
        self.pixel_aspect = 1 / aspect if aspect and upright.swapped else aspect
        self.damage = Damage()

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        """Yields the open container and its film; what goes wrong inside is an InputError."""
        try:
            with open_container(self._file) as container:
                stream = film_of(container, self._file)
                stream.thread_type = "AUTO"
                yield container, stream
        except av.error.FFmpegError as error:
            raise InputError(f"expected a video, cannot decode {self.path}: {error.strerror}") from error

    def decode(self, start: int = 0) -> Iterator[DecodedFrame]:
        """See `FrameSource.decode`; what does not decode is left out and counted in `damage`.

        Frames have 16 bits whatever the video has, so that nothing is lost on the way to RGB; 8 bits if the source was
        not opened for its own depth.
        """
        self.damage = Damage()
        with self._open() as (container, stream):
            for index, decoded in enumerate(self._decoded(container, stream)):
                if index < start:
                    continue
                frame, alpha = self._upright(decoded)
                if frame.shape[:2] != (self.height, self.width):
                    raise InputError(f"expected frames of one size, frame {index} changes it in {self.path}")
                time = self._time(decoded)
                yield DecodedFrame(frame, time, alpha)

    def times(self) -> Iterator[Fraction | None]:
        """See `FrameSource.times`; decodes all, but makes no RGB of it."""
        with self._open() as (container, stream):
            for decoded in self._decoded(container, stream):
                yield self._time(decoded)

    def _time(self, decoded: Any) -> Fraction | None:
        # A decoder that was opened here and not by the file knows no unit of time.
        unit = decoded.time_base or self.time_base
        return None if decoded.pts is None or unit is None else decoded.pts * unit - self.start_time

    def _upright(self, decoded: av.VideoFrame) -> tuple[Frame, Any]:
        colours = colours_of(decoded, self._tags)
        planes = planes_of(decoded)
        orientation = Orientation.of(decoded)
        frame, alpha = to_rgb(planes, colours), alpha_of(planes, colours.format)
        if not self._own_depth:
            frame, alpha = to_uint8(frame), None if alpha is None else to_uint8(alpha)
        return orientation.apply(frame), None if alpha is None else orientation.apply(alpha)

    def _decoded(self, container: Any, stream: Any) -> Iterator[av.VideoFrame]:
        packets, decoder = 0, _decoder_of(stream)
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0
                try:
                    frames = decoder.decode(packet if packet.size else None)
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


# ---- Files and their streams ----


def open_container(path: Path) -> Any:
    """A media file, open to be read, whatever bytes its name and its texts are of."""
    # Without the protocol, FFmpeg takes what stands before a colon in a name for one.
    return av.open(f"file:{os.fspath(path)}", metadata_errors="replace")


def film_of(container: Any, path: Path) -> Any:
    """The stream of a file that is its film: the one that is played by default, and no picture of a cover.

    Raises:
        InputError: there is none, or FFmpeg cannot decode it.
    """
    films = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not films:
        raise InputError(f"expected a video, found no video stream in {path}")
    stream = next((film for film in films if _is_default(film)), films[0])
    if stream.codec_context is None or stream.codec_context.format is None:
        raise InputError(f"expected a video that FFmpeg decodes, found a stream of unknown format in {path}")
    return stream


def _decoder_of(stream: Any) -> Any:
    """What decodes a stream: FFmpeg's own decoder mostly, which leaves out the transparency of VP8 and VP9."""
    by_lower_name = {name.lower(): value for name, value in stream.metadata.items()}
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if name is None or by_lower_name.get("alpha_mode") != "1":
        return stream
    decoder = av.CodecContext.create(name, "r")
    decoder.extradata = stream.codec_context.extradata
    return decoder


def _is_cover(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)  # PyAV has it from 16 on
    return disposition is not None and bool(disposition & type(disposition).attached_pic)


def _is_default(stream: Any) -> bool:
    disposition = getattr(stream, "disposition", None)
    return disposition is not None and bool(disposition & type(disposition).default)


def _container_tags(container: Any, stream: Any) -> ContainerTags:
    context = stream.codec_context
    return ContainerTags(
        int(context.colorspace), int(context.color_primaries), int(context.color_trc), int(context.color_range),
        _chroma_position(container, stream.index),
    )  # fmt: skip


def _chroma_position(container: Any, index: int) -> str | None:
    """Where a stream's shared colours lie: PyAV gives it nowhere, but FFmpeg's description of a file, at length."""
    av.logging.set_level(av.logging.VERBOSE)
    av.logging.set_libav_level(av.logging.VERBOSE)
    try:
        lines = container.dumps_format().splitlines()
    finally:
        av.logging.set_libav_level(av.logging.INFO)
        av.logging.set_level(None)
    stated = next((line for line in lines if re.search(rf"Stream #\d+:{index}\D", line)), "")
    return next((name for name in CHROMA_POSITIONS if re.search(rf"[(, ]{name}\)", stated)), None)


# ---- Frames ----


def colours_of(frame: av.VideoFrame, tags: ContainerTags = ContainerTags()) -> VideoColours:  # noqa: B008
    """What a frame's numbers mean: as it says, else as its container says, else as players assume."""
    held = pixel_format(frame.format.name)
    matrix = _said(int(frame.colorspace), tags.matrix)
    if held.model == "rgb":
        matrix = RGB_MATRIX
    elif matrix in (UNKNOWN, _RESERVED_MATRIX) or matrix == RGB_MATRIX and held.shared != (1, 1):
        matrix = players_matrix(frame.height, frame.width)
    colour_range = int(frame.color_range) or tags.colour_range
    full = held.full or held.model == "rgb" or colour_range == 2 or held.model == "grey" and colour_range == 0
    return VideoColours(
        held,
        matrix,
        _said(int(getattr(frame, "color_primaries", UNKNOWN)), tags.primaries),
        _said(int(getattr(frame, "color_trc", UNKNOWN)), tags.transfer),
        full,
        "left" if held.shared == (1, 1) else tags.chroma or ("center" if full else "left"),
        _static_hdr(frame),
    )


def _said(by_frame: int, by_container: int) -> int:
    return by_container if by_frame == UNKNOWN else by_frame


def _side_data(frame: Any) -> Iterator[Any]:
    """What comes with a frame; PyAV types it as a mapping, and iterates over its values."""
    return iter(frame.side_data)


def _static_hdr(frame: av.VideoFrame) -> StaticHdr | None:
    """What a frame says of its display, as FFmpeg's structures hold it."""
    display = light = None
    for data in _side_data(frame):
        if data.type.name == "MASTERING_DISPLAY_METADATA":
            # Three primaries, white, least and most luminance, each a fraction; then whether they are known.
            *fractions, has_primaries, has_luminance = struct.unpack("=20i2i", bytes(data)[:88])
            values = [Fraction(*pair) for pair in zip(fractions[::2], fractions[1::2], strict=True) if pair[1]]
            if has_primaries and has_luminance and len(values) == 10:
                *chromaticities, least, most = values
                display = (
                    *(round(value * 50000) for value in chromaticities),
                    round(most * 10000),
                    round(least * 10000),
                )
        elif data.type.name == "CONTENT_LIGHT_LEVEL":
            light = struct.unpack("=2I", bytes(data)[:8])
    return StaticHdr(display, light) if display or light else None


@dataclass(frozen=True)
class Orientation:
    """How a stored picture becomes upright.

    Attributes:
        swapped: whether rows become columns, first.
        mirrored: whether columns are reversed, then.
        flipped: whether rows are.
    """

    swapped: bool = False
    mirrored: bool = False
    flipped: bool = False

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Orientation:
        """What a frame's display matrix says, to the next quarter turn."""
        for data in _side_data(frame):
            if data.type.name == "DISPLAYMATRIX":
                # x' = a x + c y, y' = b x + d y, in units of 1/65536; the others shift and scale.
                a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
                if abs(a) + abs(d) >= abs(b) + abs(c):
                    return cls(False, a < 0, d < 0)
                return cls(True, c < 0, b < 0)
        return cls()

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The picture as it is shown."""
        if self.swapped:
            picture = picture.swapaxes(0, 1)
        rows, columns = slice(None, None, -1 if self.flipped else 1), slice(None, None, -1 if self.mirrored else 1)
        return np.ascontiguousarray(picture[rows, columns])


def _to_rgb(decoded: av.VideoFrame, *, deep: bool) -> Frame:
    """RGB of a frame that no container says anything of."""
    rgb = to_rgb(planes_of(decoded), colours_of(decoded))
    return rgb if deep else to_uint8(rgb)


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
