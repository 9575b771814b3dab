"""Frames that come through a pipe, of a length that nobody knows: each is read once, and none is kept.

They are y4m, which says what they are, or raw, of which a command line says it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from spikejax.errors import InputError
from spikejax.io import y4m
from spikejax.io.colours import RGB_MATRIX, VideoColours, alpha_of, players_matrix, to_rgb
from spikejax.io.frame_stream import Damage, DecodedFrame, FrameSource
from spikejax.io.paths import AnyPath
from spikejax.io.pixel_formats import pixel_format, planes_of
from spikejax.io.raw_frames import RawLayout
from spikejax.io.standard_streams import PipeReader
from spikejax.io.video_codecs import DEFAULT_RATE
from spikejax.io.video_reading import VideoReading
from spikejax.io.video_source import deinterlaced

_HOW = "ffmpeg -i FILE -f yuv4mpegpipe -strict -1 - writes it; raw frames need --raw-size"


class PipedFrames(FrameSource):
    """The frames of a pipe; see `FrameSource`. They can be read once."""

    one_pass, has_streams = True, False

    def __init__(
        self, path: AnyPath, *, reading: VideoReading, raw: RawLayout | None = None, rate: Fraction | None = None
    ) -> None:
        """Reads what the stream says of itself.

        Args:
            path: `-` for standard input, or a named pipe.
            reading: how interlaced frames are read.
            raw: of frames that say nothing of themselves; None for y4m.
            rate: frames a second, of raw ones; None = 25.

        Raises:
            InputError: it is no y4m, or interlaced and `reading` refuses that; or an option can have no effect.
        """
        self.path = Path(path)
        if reading.stream is not None or reading.resize_changes:
            raise InputError(f"expected a file with --stream or --resize-changes, found a pipe: {path}")
        if raw is not None:
            raw.check()
        self._reading, self._reader = reading, PipeReader(path)
        header = self._header() if raw is None else y4m.Y4mHeader(raw.format, raw.height, raw.width, rate)
        if raw is None and rate is not None:
            raise InputError(f"expected raw frames (--raw-size) with --fps, found y4m, which says its rate: {path}")
        if header.fields is not None and reading.interlaced == "refuse":
            raise InputError(
                "expected progressive frames, or --deinterlace (kept or doubled: the rate) or --as-progressive, found "
                f"interlaced ones: {path}"
            )
        self._named, self._fields = raw is None, header.fields or "auto"
        self._layout = RawLayout(header.format, header.height, header.width)
        self.damage, self.splices = Damage(), []
        self.height, self.width = header.height, header.width
        self._file_rate = header.rate or DEFAULT_RATE
        self._rate = self.rate = self._file_rate * reading.fields
        self.time_base, self.pixel_aspect = 1 / self._rate, header.pixel_aspect
        held = pixel_format(header.format)
        self._colours = self.colours = VideoColours(
            held,
            RGB_MATRIX if held.model == "rgb" else players_matrix(self.height, self.width),
            full=held.full or (held.model != "yuv" if header.full is None else header.full),
            chroma=header.chroma if held.shared != (1, 1) else "left",
        )
        self.bits = held.bits
        self._is_read = False

    def _header(self) -> y4m.Y4mHeader:
        start = self._reader.peek(len(y4m.SIGNATURE))
        if start != y4m.SIGNATURE:
            raise InputError(f"expected y4m ({_HOW}), found {repr(start) if start else 'nothing'}: {self.path}")
        return y4m.read_header(self._reader.line(y4m.LONGEST_LINE))

    def decode(self, start: int = 0) -> Iterator[DecodedFrame]:
        """See `FrameSource.decode`; once."""
        assert not self._is_read, "a pipe is read once"
        self._is_read = True
        pictures = self._pictures()
        if self._reading.interlaced in ("kept", "doubled"):
            pictures = deinterlaced(pictures, None, fields=self._reading.fields, parity=self._fields)
        try:
            for number, picture in enumerate(itertools.islice(pictures, start, None), start):
                planes = planes_of(picture)
                alpha = alpha_of(planes, self._colours.format)
                yield DecodedFrame(to_rgb(planes, self._colours), number / self._rate, alpha)
        finally:
            self._reader.close()

    def stop_waiting(self) -> None:
        """See `FrameSource.stop_waiting`."""
        self._reader.stop()

    def _pictures(self) -> Iterator[Any]:
        """Yields FFmpeg's frames; where the pipe ends within one, that is damage."""
        for number in itertools.count():
            if self._named:
                line = self._reader.line(y4m.LONGEST_LINE)
                if not line:
                    return
                if not line.startswith(y4m.FRAME) or not line.endswith(b"\n"):
                    self.damage.ends = f"frame {number} has no header, it and what follows was left out"
                    return
            content = self._reader.read(self._layout.size)
            if len(content) < self._layout.size:
                if content or self._named:
                    self.damage.ends = f"the stream ends within frame {number}, which was left out"
                return
            picture = self._layout.frame_of(content)
            picture.pts, picture.time_base = number, 1 / self._file_rate
            yield picture
