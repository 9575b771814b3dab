"""Frames to a video file, with the times and the sound of the video they came from.

Frames are uint8 or uint16 RGB [h,w,3], or [h,w,4] with what is transparent in them. Those of a video are written with
its colours (see `spikejax.io.colours`), those of pictures as BT.709 of limited range, which is what players expect.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.colours import VideoColours
from spikejax.io.copied_streams import CopiedStreams, ShownPart, copy_words
from spikejax.io.matroska_shape import SUFFIXES, say_pixel_shape
from spikejax.io.pictures import WrittenFrame
from spikejax.io.pixel_formats import pixel_format
from spikejax.io.raw_frames import picture_of
from spikejax.io.timeline import Splice
from spikejax.io.video_codecs import DEFAULT_RATE, VideoSettings
from spikejax.io.written_colours import encoder_options, written_colours


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
        colours: VideoColours | None = None,
        sound_of: Path | None = None,
        sound_from: Fraction = Fraction(0),  # noqa: B008, it cannot change
        whole_sound: bool = True,
        film: int | None = None,
        splices: list[Splice] | None = None,
    ) -> None:
        """Starts nothing yet: the first frame decides the size and depth.

        Args:
            path: the file; its suffix says the container.
            settings: codec, quality and pixel format.
            rate: frames a second, where frames come without a time; None = 25.
            time_base: seconds of which the frames' times are multiples; None = a frame at the rate.
            pixel_aspect: width of a pixel over its height.
            colours: of the video that the frames were made from; None for frames of pictures.
            sound_of: a video or sound file whose sound, subtitles, chapters and tags are added, as they are where the
                container holds their kind.
            sound_from: the time in that file, in seconds, that is shown at time 0.
            whole_sound: whether it sounds to its end; otherwise to that of the frames.
            film: the number of the video there among its video streams, None for the one that players choose.
            splices: where that file's clock jumps; grows while frames are written.
        """
        self._path = path
        self._settings = settings
        self._rate = rate or DEFAULT_RATE
        self._time_base = time_base or 1 / self._rate
        self._pixel_aspect = pixel_aspect
        self._like = colours
        self._colours = VideoColours(pixel_format("yuv420p"))
        self._sound_of, self._sound_from, self._whole_sound = sound_of, sound_from, whole_sound
        self._film = film
        self._splices = [] if splices is None else splices
        self._container: Any = None
        self._stream: Any = None
        self._sound: CopiedStreams | None = None
        self._last: int | None = None

    def write(self, frame: WrittenFrame, time: Fraction | None = None) -> None:
        """Appends a frame that is shown from `time` (seconds) on; None = one frame of the rate after the last."""
        if self._container is None:
            self._start(frame)
        tick = self._tick(time)
        if self._sound is not None:
            self._sound.advance(tick * self._time_base)
        picture = self._picture(frame)
        picture.pts, picture.time_base = tick, self._time_base
        self._take(self._stream.encode(picture))

    def _take(self, packets: Sequence[Any]) -> None:
        """Takes what the encoder gives."""
        self._container.mux(packets)

    def _flush(self) -> None:
        """Takes what the encoder still holds back."""
        self._take(self._stream.encode(None))

    def _tick(self, time: Fraction | None) -> int:
        step = max(1, math.floor(1 / self._rate / self._time_base + Fraction(1, 2)))
        following = 0 if self._last is None else self._last + step
        # Rounded half up, so that an offset of half a tick does not make the distances uneven.
        tick = following if time is None else math.floor(time / self._time_base + Fraction(1, 2))
        # Files with times that stand still or go back exist; no container takes them.
        self._last = tick if self._last is None else max(tick, self._last + 1)
        return self._last

    def _picture(self, frame: WrittenFrame) -> av.VideoFrame:
        colours = self._colours
        picture: av.VideoFrame = picture_of(frame, colours)
        # An encoder is told by its first frame as well as by its context.
        picture.colorspace, picture.color_range = colours.matrix, 2 if colours.full else 1
        return picture

    def _start(self, frame: WrittenFrame) -> None:
        codec = self._settings.chosen_codec
        height, width = frame.shape[:2]
        self._colours = written_colours(
            self._settings, self._path.suffix.lower(), height, width, bits=8 * frame.itemsize, like=self._like
        )
        options = encoder_options(codec, self._settings.quality, self._colours, width)
        tag = options.pop("tag", None)
        # Without it, Matroska puts a random number into every file.
        self._container = av.open(f"file:{os.fspath(self._path)}", "w", options={"fflags": "+bitexact"})
        self._stream = self._container.add_stream(codec.encoder, rate=self._rate, options=options)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = self._colours.format.name
        self._stream.time_base = self._time_base
        context = self._stream.codec_context
        context.time_base = self._time_base
        if tag is not None and self._path.suffix.lower() != ".mkv":
            context.codec_tag = tag  # without it, Apple's players show nothing
        if self._pixel_aspect:
            context.sample_aspect_ratio = self._pixel_aspect
        context.colorspace, context.color_range = self._colours.matrix, 2 if self._colours.full else 1
        context.color_primaries, context.color_trc = self._colours.primaries, self._colours.transfer
        if self._sound_of is not None:
            suffix = self._path.suffix.lower()
            length = None if self._whole_sound or self._last is None else self._end()
            part = ShownPart(self._film, self._sound_from, length, self._rate)
            copy_words(self._sound_of, self._container, self._stream, part)
            self._sound = CopiedStreams(self._sound_of, self._sound_from, self._container, suffix, self._splices)

    def _end(self) -> Fraction:
        """Until when the last frame is shown, in seconds."""
        return (self._last or 0) * self._time_base + 1 / self._rate

    def close(self) -> None:
        """Writes what is still held back, and the file's end; without a frame there is no file."""
        if self._container is None:
            return
        try:
            self._flush()
            if self._sound is not None:
                self._sound.advance(None if self._whole_sound else self._end())
        finally:
            self.abandon()
        self._say_shape()

    def _say_shape(self) -> None:
        """Makes a finished file say the shape of its pixels where neither its codec nor its container does."""
        if self._pixel_aspect in (None, 1) or self._path.suffix.lower() not in SUFFIXES:
            return
        with av.open(f"file:{os.fspath(self._path)}") as written:
            said = written.streams.video[0].sample_aspect_ratio
        if said != self._pixel_aspect:
            say_pixel_shape(self._path, self._pixel_aspect)

    def abandon(self) -> None:
        """Closes the files, whatever is in them."""
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            container, self._container = self._container, None
            container.close()


def write_video(
    path: str | os.PathLike[str],
    frames: Iterable[WrittenFrame],
    *,
    rate: Fraction | None = None,
    overwrite: bool = False,
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
