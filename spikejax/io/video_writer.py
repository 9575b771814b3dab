"""Frames to a video file, with the times and the sound of the video they came from.

Frames are uint8 or uint16 RGB [h,w,3]. Colours are written as BT.709 of limited range, which is what players expect.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.pictures import Frame

# Containers that we write.
VIDEO_SUFFIXES = frozenset({".mkv", ".mov", ".mp4"})
DEFAULT_RATE = Fraction(25)
# Sound that these containers hold and players play; Matroska holds any.
_PLAYED_SOUND = {
    ".mp4": frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"}),
    ".mov": frozenset({"aac", "ac3", "alac", "eac3", "mp3", "pcm_s16le", "pcm_s24le"}),
}


@dataclass(frozen=True)
class Codec:
    """A way to write a video.

    Attributes:
        encoder: its name in FFmpeg.
        name: of the stream it writes, in FFmpeg.
        formats: the usual pixel format for 8 and for more bits; those halve the resolution of colour.
        odd_formats: the same for frames of an odd height or width, which cannot be halved; empty if there are none.
        quality: the constant rate factor (0 is best) if nobody asks for another, None for a codec without one.
        options: what else the encoder is told.
    """

    encoder: str
    name: str
    formats: tuple[str, str]
    odd_formats: tuple[str, ...] = ()
    quality: int | None = None
    options: tuple[tuple[str, str], ...] = ()


# The factors are those at which a loss is not visible: what restoring gained is not to be lost again in the file.
CODECS = {
    "h264": Codec("libx264", "h264", ("yuv420p", "yuv420p10le"), ("yuv444p", "yuv444p10le"), 12),
    "h265": Codec(
        "libx265", "hevc", ("yuv420p", "yuv420p10le"), ("yuv444p", "yuv444p10le"), 14,
        (("x265-params", "log-level=error"), ("tag", "hvc1")),
    ),
    "av1": Codec("libsvtav1", "av1", ("yuv420p", "yuv420p10le"), (), 18),
    "vp9": Codec("libvpx-vp9", "vp9", ("yuv420p", "yuv420p"), ("yuv444p", "yuv444p"), 16, (("b", "0"),)),
    "ffv1": Codec("ffv1", "ffv1", ("bgr0", "gbrp16le"), ("bgr0", "gbrp16le")),
    "prores": Codec("prores_ks", "prores", ("yuv422p10le", "yuv422p10le"), (), None, (("profile", "3"),)),
}  # fmt: skip


@dataclass(frozen=True)
class VideoSettings:
    """How a video is written.

    Attributes:
        codec: a key of `CODECS`.
        quality: constant rate factor, 0 is best; None for the codec's own.
        pixel_format: FFmpeg's name of it; None for the codec's usual one at the frames' depth.
    """

    codec: str = "h264"
    quality: int | None = None
    pixel_format: str | None = None

    def check(self, path: Path) -> None:
        """Raises InputError unless such a video can be written to a file of that name."""
        codec = CODECS.get(self.codec)
        if codec is None:
            raise InputError(f"expected a codec ({', '.join(CODECS)}), got {self.codec!r}")
        if self.quality is not None and (codec.quality is None or not 0 <= self.quality <= 63):
            wanted = "no quality, it has none" if codec.quality is None else "a quality from 0 (best) to 63"
            raise InputError(f"expected {wanted} for {self.codec}, got {self.quality}")
        formats = [known.name for known in av.Codec(codec.encoder, "w").video_formats or ()]
        if self.pixel_format is not None and self.pixel_format not in formats:
            raise InputError(
                f"expected a pixel format of {self.codec} ({', '.join(formats)}), got {self.pixel_format!r}"
            )
        if self.codec == "ffv1" and path.suffix == ".mp4" or self.codec == "prores" and path.suffix != ".mov":
            raise InputError(f"expected .mkv for ffv1 and .mov for prores, got {path.name} for {self.codec}")

    def format_for(self, height: int, width: int, *, bits: int) -> str:
        """The pixel format for frames of that size and depth; raises `InputError` if there is none."""
        codec = CODECS[self.codec]
        odd = height % 2 or width % 2
        if self.pixel_format is not None:
            if odd and ("420" in self.pixel_format or "422" in self.pixel_format and width % 2):
                raise InputError(
                    f"expected an even height and width for pixel format {self.pixel_format}, found {height}x{width}"
                )
            return self.pixel_format
        if odd and not codec.odd_formats:
            raise InputError(f"expected an even height and width for codec {self.codec}, found {height}x{width}")
        return (codec.odd_formats if odd else codec.formats)[bits > 8]


class VideoWriter:
    """Writes frames to a new video file; `close` makes it whole."""

    def __init__(
        self,
        path: Path,
        *,
        settings: VideoSettings = VideoSettings(),  # noqa: B008, it cannot change
        rate: Fraction | None = None,
        time_base: Fraction | None = None,
        pixel_aspect: Fraction | None = None,
        sound_of: Path | None = None,
    ) -> None:
        """Starts nothing yet: the first frame decides the size and depth.

        Args:
            path: the file; its suffix says the container.
            settings: codec, quality and pixel format.
            rate: frames a second, where frames come without a time; None = 25.
            time_base: seconds of which the frames' times are multiples; None = a frame at the rate.
            pixel_aspect: width of a pixel over its height.
            sound_of: a video or sound file whose sound is added, as it is where the container holds its kind.
        """
        self._path = path
        self._settings = settings
        self._rate = rate or DEFAULT_RATE
        self._time_base = time_base or 1 / self._rate
        self._pixel_aspect = pixel_aspect
        self._sound_of = sound_of
        self._container: Any = None
        self._stream: Any = None
        self._sound: _Sound | None = None
        self._last: int | None = None
        self._deep = False

    def write(self, frame: Frame, time: Fraction | None = None) -> None:
        """Appends a frame that is shown from `time` (seconds) on; None = one frame of the rate after the last."""
        if self._container is None:
            self._start(frame)
        tick = self._tick(time)
        if self._sound is not None:
            self._sound.advance(tick * self._time_base)
        if self._deep and frame.dtype == np.uint8:
            # FFmpeg's own way from 8-bit RGB to 10 bits gives a darker picture.
            frame = frame.astype(np.uint16) * np.uint16(257)
        picture = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(frame), format="rgb24" if frame.dtype == np.uint8 else "rgb48le"
        )
        if not self._stream.pix_fmt.startswith(("rgb", "bgr", "gbr")):
            picture = picture.reformat(format=self._stream.pix_fmt, dst_colorspace=Colorspace.ITU709)
        else:
            picture = picture.reformat(format=self._stream.pix_fmt)
        picture.pts, picture.time_base = tick, self._time_base
        self._container.mux(self._stream.encode(picture))

    def _tick(self, time: Fraction | None) -> int:
        step = max(1, math.floor(1 / self._rate / self._time_base + Fraction(1, 2)))
        following = 0 if self._last is None else self._last + step
        # Rounded half up, so that an offset of half a tick does not make the distances uneven.
        tick = following if time is None else math.floor(time / self._time_base + Fraction(1, 2))
        # Files with times that stand still or go back exist; no container takes them.
        self._last = tick if self._last is None else max(tick, self._last + 1)
        return self._last

    def _start(self, frame: Frame) -> None:
        codec = CODECS[self._settings.codec]
        height, width = frame.shape[:2]
        bits = 8 if frame.dtype == np.uint8 else 16
        pixel_format = self._settings.format_for(height, width, bits=bits)
        quality = codec.quality if self._settings.quality is None else self._settings.quality
        options = dict(codec.options) | ({} if quality is None else {"crf": str(quality)})
        tag = options.pop("tag", None)
        # Without it, Matroska puts a random number into every file.
        self._container = av.open(os.fspath(self._path), "w", options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream(codec.encoder, rate=self._rate, options=options)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = pixel_format
        self._deep = max(component.bits for component in av.VideoFormat(pixel_format).components) > 8
        self._stream.time_base = self._time_base
        context = self._stream.codec_context
        context.time_base = self._time_base
        if tag is not None and self._path.suffix != ".mkv":
            context.codec_tag = tag  # without it, Apple's players show nothing
        if self._pixel_aspect:
            context.sample_aspect_ratio = self._pixel_aspect
        if not pixel_format.startswith(("rgb", "bgr", "gbr")):
            context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        if self._sound_of is not None:
            self._sound = _Sound(self._sound_of, self._container, self._path.suffix)

    def close(self) -> None:
        """Writes what is still held back, and the file's end; without a frame there is no file."""
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.advance(None)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes the files, whatever is in them."""
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            container, self._container = self._container, None
            container.close()


class _Sound:
    """Brings the sound of a file into a video that is being written, as far as the video has come."""

    def __init__(self, path: Path, target: Any, suffix: str) -> None:
        self._target = target
        self._source = av.open(os.fspath(path))
        self._start = Fraction(self._source.start_time or 0, av.time_base)
        self._tracks = {}
        for stream in self._source.streams.audio:
            name = stream.codec_context.codec.canonical_name
            kept = name in _PLAYED_SOUND.get(suffix, target.supported_codecs)
            track = _CopiedTrack(stream, target) if kept else _EncodedTrack(stream, target)
            self._tracks[stream.index] = track
        self._packets = self._demux()
        self._waiting: tuple[Fraction, Any] | None = None

    def _demux(self) -> Iterator[tuple[Fraction, Any]]:
        if not self._tracks:
            return
        for packet in self._source.demux(*self._source.streams.audio):
            time = Fraction(packet.dts or 0) * packet.time_base - self._start if packet.dts is not None else Fraction(0)
            for ready in self._tracks[packet.stream.index].take(packet, self._start):
                yield time, ready

    def advance(self, until: Fraction | None) -> None:
        """Adds all that sounds before `until` (seconds), None for all there is.

        Raises:
            OSError: the disk is full.
        """
        while True:
            try:
                self._waiting = self._waiting or next(self._packets, None)
            except av.error.InvalidDataError:
                self._waiting = None  # damaged sound ends there
            if self._waiting is None or (until is not None and self._waiting[0] >= until):
                return
            self._target.mux(self._waiting[1])
            self._waiting = None

    def close(self) -> None:
        self._source.close()


class _CopiedTrack:
    """Sound that the container takes as it is."""

    def __init__(self, stream: Any, target: Any) -> None:
        self._stream = target.add_stream_from_template(stream)

    def take(self, packet: Any, start: Fraction) -> Iterator[Any]:
        if packet.dts is None:  # the mark of the end
            return
        shift = round(start / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts -= shift
        packet.stream = self._stream
        yield packet


class _EncodedTrack:
    """Sound that becomes AAC because the container does not take it as it is."""

    def __init__(self, stream: Any, target: Any) -> None:
        rate = stream.codec_context.sample_rate
        # Raw sound often does not say where its channels belong; what has one or two is not in doubt.
        layout = {1: "mono", 2: "stereo"}.get(stream.codec_context.channels, stream.codec_context.layout.name)
        self._stream = target.add_stream("aac", rate=rate, layout=layout)
        self._resample = av.AudioResampler(format="fltp", layout=layout, rate=rate)

    def take(self, packet: Any, start: Fraction) -> Iterator[Any]:
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            return
        for frame in decoded:
            if frame.pts is not None:
                frame.pts -= round(start / frame.time_base)
            for resampled in self._resample.resample(frame):
                yield from self._stream.encode(resampled)
        if packet.dts is None:
            yield from self._stream.encode(None)


def is_video_name(path: str | os.PathLike[str]) -> bool:
    """Whether an output of this name is a video and not a folder of pictures.

    Raises:
        InputError: the suffix is of another kind of file.
    """
    suffix = Path(path).suffix.lower()
    if suffix and suffix not in VIDEO_SUFFIXES:
        raise InputError(f"expected a folder (no suffix) or a video ({', '.join(sorted(VIDEO_SUFFIXES))}): {path}")
    return bool(suffix)


def write_video(
    path: str | os.PathLike[str], frames: Iterable[Frame], *, rate: Fraction | None = None, overwrite: bool = False
) -> None:
    """Writes frames to an H.264 video, whole or not at all.

    Args:
        path: the file; its suffix says the container.
        frames: of one size.
        rate: frames a second, None = 25.
        overwrite: whether a file that is there already gives way.

    Raises:
        InputError: there is a file already, or no frame.
    """
    if Path(path).exists() and not overwrite:
        raise InputError(f"expected a new file, found one that exists already: {path}")
    with atomic_write(path) as temporary:
        writer = VideoWriter(temporary, rate=rate)
        try:
            for frame in frames:
                writer.write(frame)
        finally:
            writer.close()
        if not temporary.exists():
            raise InputError(f"expected at least one frame for the video {path}")
