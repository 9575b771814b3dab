"""Videos in: any that FFmpeg decodes, as a player shows it, frame by frame.

Cover pictures are no video; a picture that the file turns or mirrors comes out upright; colours are told what players
assume where the file says nothing. See `spikejax.io.colours` for RGB, `spikejax.io.timeline` for times.
"""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataKind

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
from spikejax.io.pixel_formats import frame_of, pixel_format, planes_of
from spikejax.io.timeline import Splice, without_jumps
from spikejax.io.video_codecs import DEFAULT_RATE
from spikejax.io.video_reading import VideoReading

# Seconds that the last frame may be shown, of which a file need not say how long it is.
_LAST_FRAME = Fraction(1, 2)
# Positions of damage that are kept; a video may consist of little else.
_MOST_POSITIONS = 20
# Frames at the start by which an interlaced video is known.
_HEAD = 10
_RESERVED_MATRIX = 3
# Texts that are not UTF-8 stop PyAV before 19, unless it is told what to do; since then they come and go as they are.
_ANY_TEXTS: dict[str, Any] = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}


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

    def __init__(self, path: Path, *, own_depth: bool, reading: VideoReading) -> None:
        """Decodes the first frames, which tell more than the header.

        Raises:
            InputError: nothing decodes, or frames are interlaced and `reading` refuses them.
        """
        self.path = self._file = path
        self.damage, self.splices = Damage(), []
        self._own_depth, self._reading = own_depth, reading
        self._interlaced = self._resized = 0
        with self._open() as (container, stream):
            rate = known_ratio(stream.average_rate) or known_ratio(stream.guessed_rate)
            self.rate = rate and rate * reading.fields
            length = _announced_length(container, stream)
            self.expected_length = None if length is None else length * reading.fields
            # FFmpeg counts time from here when it copies: the sound's first packet may be earlier than the picture's.
            self.start_time = Fraction(container.start_time or 0, av.time_base)
            base = known_ratio(stream.time_base)
            self.time_base = base and base / reading.fields
            self._tags = _container_tags(container, stream)
            head = list(itertools.islice(self._decoded(container, stream), _HEAD))
            if not head:
                raise InputError(f"expected a video, no frame decodes in {path}")
            aspect = known_ratio(stream.sample_aspect_ratio)
        if reading.interlaced == "refuse" and any(frame.interlaced_frame for frame in head):
            raise InputError(
                "expected a progressive video, or --deinterlace (kept or doubled: the rate) or --as-progressive, found "
                f"interlaced frames: {path}"
            )
        self.colours = colours_of(head[0], self._tags)
        self.bits = self.colours.format.bits if own_depth else 8
        upright = Orientation.of(head[0])
        self._size = (head[0].height, head[0].width)
        self.height, self.width = self._size[::-1] if upright.swapped else self._size
        self.pixel_aspect = 1 / aspect if aspect and upright.swapped else aspect
        self.damage = Damage()

    @property
    def remarks(self) -> tuple[str, ...]:
        """See `FrameSource.remarks`."""
        remarks = []
        if self.splices:
            where = ", ".join(f"{float(splice.clock + splice.shift):.2f}" for splice in self.splices[:_MOST_POSITIONS])
            remarks.append(f"{len(self.splices)} jumps in time were closed (at {where} s)")
        if self._interlaced and self._reading.interlaced == "refuse":
            remarks.append(f"{self._interlaced} frames are interlaced and were restored as they are (--deinterlace)")
        if self._resized:
            remarks.append(f"{self._resized} frames of another size were brought to {self.width}x{self.height}")
        return tuple(remarks)

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        """Yields the open container and its film; what goes wrong inside is an InputError."""
        try:
            with open_container(self._file) as container:
                stream = film_of(container, self._file, self._reading.stream)
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
        self.splices.clear()
        self._interlaced = self._resized = 0
        with self._open() as (container, stream):
            for index, (decoded, time) in enumerate(self._placed(container, stream, self.splices)):
                if (decoded.height, decoded.width) != self._size and not self._reading.resize_changes:
                    self.damage.ends = (
                        f"frames from number {index} on are {decoded.width}x{decoded.height} and not "
                        f"{self._size[1]}x{self._size[0]}, and were left out (--resize-changes brings them to it)"
                    )
                    return
                self._interlaced += decoded.interlaced_frame
                if index >= start:
                    frame, alpha = self._upright(decoded)
                    yield DecodedFrame(frame, time, alpha)

    def times(self) -> Iterator[Fraction | None]:
        """See `FrameSource.times`; decodes all, but makes no RGB of it."""
        with self._open() as (container, stream):
            for _, time in self._placed(container, stream, []):
                yield time

    def _placed(self, container: Any, stream: Any, splices: list[Splice]) -> Iterator[tuple[Any, Fraction | None]]:
        """Yields the progressive frames, and when they are shown."""
        frames: Iterator[Any] = self._decoded(container, stream)
        if self._reading.interlaced in ("kept", "doubled"):
            frames = deinterlaced(frames, stream, fields=self._reading.fields)
        timed = ((frame, self._time(frame)) for frame in frames)
        return without_jumps(timed, step=1 / (self.rate or DEFAULT_RATE), splices=splices)

    def _time(self, decoded: Any) -> Fraction | None:
        # A decoder that was opened here and not by the file knows no unit of time.
        unit = decoded.time_base or self.time_base
        return None if decoded.pts is None or unit is None else decoded.pts * unit - self.start_time

    def _upright(self, decoded: av.VideoFrame) -> Any:
        colours = colours_of(decoded, self._tags)
        planes = planes_of(decoded)
        orientation = Orientation.of(decoded)
        frame, alpha = to_rgb(planes, colours), alpha_of(planes, colours.format)
        if frame.shape[:2] != self._size:
            self._resized += 1
            size = self._size[::-1]
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_LANCZOS4)
            alpha = None if alpha is None else cv2.resize(alpha, size, interpolation=cv2.INTER_LANCZOS4)
        if not self._own_depth:
            frame, alpha = to_uint8(frame), None if alpha is None else to_uint8(alpha)
        return orientation.apply(frame), None if alpha is None else orientation.apply(alpha)

    def _decoded(self, container: Any, stream: Any) -> Iterator[av.VideoFrame]:
        packets, decoder, last = 0, _decoder_of(stream), None
        end = Fraction(0)
        try:
            for packet in container.demux(stream):
                empty = packet.size == 0
                if packet.pts is not None:
                    end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                # Capture programs write an empty packet for a picture that is as the one before. Without a time, it
                # is the mark of the end.
                packets += not empty or packet.dts is not None
                if empty and packet.dts is not None:
                    if last is not None:
                        yield _repeated(last, packet)
                    continue
                try:
                    frames = decoder.decode(None if empty else packet)
                except av.error.FFmpegError:
                    self._count_damage(packet)
                    continue
                for last in frames:
                    self.damage.concealed += last.is_corrupt
                    yield last
        except av.error.FFmpegError:  # the container itself is damaged from here on
            self.damage.packets += 1
        self.damage.missing = max(0, _announced_packets(container, stream) - packets)
        stated = _stated_duration(stream)
        if stated is not None and end + _LAST_FRAME < stated:
            self.damage.ends = f"the film ends at {float(end):.2f} s of the {float(stated):.2f} s that the file states"

    def _count_damage(self, packet: Any) -> None:
        self.damage.packets += 1
        if packet.pts is not None and len(self.damage.positions) < _MOST_POSITIONS:
            self.damage.positions.append(float(packet.pts * packet.time_base - self.start_time))


def deinterlaced(frames: Iterator[Any], stream: Any, *, fields: int, parity: str = "auto") -> Iterator[Any]:
    """Yields progressive frames of interlaced ones, one or two of each, by FFmpeg's bwdif.

    Args:
        frames: FFmpeg's.
        stream: that they are of, which knows the unit of time of frames that do not.
        fields: frames that are made of one.
        parity: which field comes first, by bwdif's name; "auto" = as frames say.
    """
    graph: Any = None
    source: Any = None
    sink: Any = None
    for frame in itertools.chain(frames, [None]):
        if graph is None:
            if frame is None:
                return
            graph = av.filter.Graph()
            base = frame.time_base or stream.time_base
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format.name, time_base=Fraction(base)
            )
            mode = "send_field" if fields == 2 else "send_frame"
            bwdif, sink = graph.add("bwdif", f"mode={mode}:parity={parity}:deint=all"), graph.add("buffersink")
            source.link_to(bwdif)
            bwdif.link_to(sink)
            graph.configure()
        source.push(frame)
        with suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                yield sink.pull()


def _repeated(frame: av.VideoFrame, packet: Any) -> av.VideoFrame:
    """The same picture at a packet's time."""
    again = frame_of(planes_of(frame), frame.format.name)
    again.colorspace, again.color_range = frame.colorspace, frame.color_range
    again.pts, again.time_base = packet.pts if packet.pts is not None else packet.dts, packet.time_base
    return again


# ---- Files and their streams ----


def open_container(path: Path) -> Any:
    """A media file, open to be read, whatever bytes its name and its texts are of."""
    # Without the protocol, FFmpeg takes what stands before a colon in a name for one.
    return av.open(f"file:{os.fspath(path)}", **_ANY_TEXTS)


def film_of(container: Any, path: Path, number: int | None = None) -> Any:
    """The stream of a file that is its film: the one that is played by default, and no picture of a cover.

    Args:
        container: the open file.
        path: of it, for messages.
        number: of the stream among the file's video streams, from 0, if another one is wanted.

    Raises:
        InputError: there is none, or FFmpeg cannot decode it.
    """
    streams = list(container.streams.video)
    if number is not None and number >= len(streams):
        raise InputError(f"expected --stream from 0 to {len(streams) - 1}, found {number}: {path}")
    films = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not films:
        raise InputError(f"expected a video, found no video stream in {path}")
    stream = _played_by_default(container, films) if number is None else streams[number]
    if stream.codec_context is None or stream.codec_context.format is None:
        raise InputError(f"expected a video that FFmpeg decodes, found a stream of unknown format in {path}")
    return stream


def _played_by_default(container: Any, films: list[Any]) -> Any:
    """The film that is marked so; where none is, FFmpeg's choice, which prefers films to single pictures."""
    marked = next((film for film in films if _is_default(film)), None)
    if marked is not None:
        return marked
    best = container.streams.best("video")
    return next((film for film in films if best is not None and film.index == best.index), films[0])


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
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _is_default(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.default)


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
    """What comes with a frame: a mapping from kinds in PyAV 19, which before iterates over its values."""
    return (frame.side_data[item] if isinstance(item, SideDataKind) else item for item in frame.side_data)


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


def known_ratio(ratio: Any) -> Fraction | None:
    """A ratio of a file, None if it does not say it: by None, and from PyAV 19 on by a 0/1 of its own type."""
    if ratio is None or not ratio.numerator or not ratio.denominator:
        return None
    return Fraction(ratio.numerator, ratio.denominator)


def _announced_packets(container: Any, stream: Any) -> int:
    """How many packets of a stream a file announces; 0 if it does not."""
    # Headers count what an MP4's list of edits leaves out, and the repeated pictures of AVI; their indices do not.
    entries = stream.index_entries
    if not len(entries):
        return stream.frames
    whole = "mp4" in container.format.name or "avi" in container.format.name and _reaches(entries, stream.frames)
    return len(entries) if whole else stream.frames


def _reaches(entries: Any, frames: int) -> bool:
    """Whether an AVI's index, which may have been cut off, goes to its last frame."""
    return entries[len(entries) - 1].timestamp + 1 >= frames


def _announced_length(container: Any, stream: Any) -> int | None:
    rate = known_ratio(stream.average_rate)
    packets = _announced_packets(container, stream)
    if packets:
        return packets
    seconds = (
        _stated_duration(stream)
        or (stream.duration or 0) * (stream.time_base or 0)
        or Fraction(container.duration or 0, av.time_base)
    )
    return round(seconds * rate) if seconds and rate else None


def _stated_duration(stream: Any) -> Fraction | None:
    """Seconds that a stream of Matroska lasts, as its words say; its file lasts as long as the sound."""
    for name, value in stream.metadata.items():
        said = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", value.strip())
        if said and re.fullmatch(r"DURATION(-\w+)?", name.upper()):
            hours, minutes, seconds = map(Fraction, said.groups())
            return 3600 * hours + 60 * minutes + seconds
    return None
