"""Whether the size of frames changes somewhere, without decoding all of them: what a few places of the input say.

Broadcasts, calls over the network and files put together change their size. To know where, all would have to be
decoded; a change that lasts is known by a frame here and there. Both those who restore and those who plan it ask here.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av

from spikejax.io.frame_stream import FrameSource
from spikejax.io.video_reading import VideoReading
from spikejax.io.video_source import film_of, open_container

# Places that are asked, evenly over the input, the first included.
_PLACES = 17
# Halvings of the stretch between two places, by which a change is found in a film of two hours to within 2 s.
_HALVINGS = 8
# Those that are left are not asked after so many seconds, on a slow disk.
_LONGEST_SECONDS = 10.0
# Streams that can be read from any byte on, by FFmpeg's name; their clocks may jump, so that no time leads to a place.
_READ_FROM_ANYWHERE = {"mpegts", "mpeg"}
# More than two seconds of a broadcast, in which there is a frame that says its size.
_CHUNK_BYTES = 2**23

_Size = tuple[int, int]
# The width and height of the frames at a place, from 0 (the start) to 1, and the place of the frame that says it; None
# where they cannot be had.
_SizeAt = Callable[[float], tuple[_Size, float] | None]


def check_pictures(frames: FrameSource, reading: VideoReading) -> None:
    """Reads pictures at a few places, so that one at which restoring would end is known before the work.

    Args:
        frames: what is to be restored; of anything but a whole folder of pictures nothing is read.
        reading: of it.

    Raises:
        InputError: as reading all of them would.
    """
    if frames.names is None or frames.whole is not frames or reading.resize_changes:
        return
    asked_until = time.monotonic() + _LONGEST_SECONDS
    last = len(frames.names) - 1
    for number in sorted({number * last // (_PLACES - 1) for number in range(1, _PLACES)}):
        next(frames.read(number))
        if time.monotonic() > asked_until:
            return


def size_change_note(frames: FrameSource, reading: VideoReading) -> str:
    """That frames of a video file will be left out from somewhere on, in words; "" where nothing is known of it.

    Args:
        frames: what is to be restored; of a part, or of what is no video file, nothing is known.
        reading: of it.
    """
    is_file = frames.names is None and frames.has_streams and not frames.one_pass
    if not is_file or frames.whole is not frames or reading.resize_changes:
        return ""
    change = size_change(Path(frames.path), reading.stream)
    return f"{change}, and will be left out (--resize-changes brings them to one size)" if change else ""


def size_change(path: Path, number: int | None = None) -> str:
    """The place of a video from which on frames have another size than the first ones, in words; "" if none is known.

    Args:
        path: of the video.
        number: of its film among its video streams, None for the one that players choose.
    """
    with suppress(av.error.FFmpegError, OSError), _places_of(path, number) as (size_at, in_words):
        if change := _first_change(size_at):
            fraction, size, first = change
            return f"frames from {in_words(fraction)} on are {size[0]}x{size[1]} and not {first[0]}x{first[1]}"
    return ""


def _first_change(size_at: _SizeAt) -> tuple[float, _Size, _Size] | None:
    """The first place that is known to have another size, that size, and the one before; None if there is none."""
    asked_until = time.monotonic() + _LONGEST_SECONDS
    first: _Size | None = None
    before = 0.0
    for number in range(_PLACES):
        fraction = number / _PLACES
        size, where = size_at(fraction) or (first, fraction)
        first = first or size
        if size is not None and size != first:
            assert first is not None
            return *_narrowed(size_at, first, (before, fraction), (where, size), asked_until), first
        before = fraction
        if time.monotonic() > asked_until:
            break
    return None


def _narrowed(
    size_at: _SizeAt, first: _Size, bracket: tuple[float, float], known: tuple[float, _Size], asked_until: float
) -> tuple[float, _Size]:
    """The place closest to the change, and the size there, that some halvings of a stretch find.

    Args:
        size_at: see `_SizeAt`.
        first: the size before the change.
        bracket: a place of that size, and a later one of another.
        known: the place of the frame that said the other size, and that size.
        asked_until: when to be content with what is known, of `time.monotonic`.
    """
    before, after = bracket
    for _ in range(_HALVINGS):
        middle = (before + after) / 2
        size, where = size_at(middle) or (first, middle)
        if time.monotonic() > asked_until:
            break
        if size == first:
            before = middle
        else:
            after, known = middle, (where, size)
    return known


@contextmanager
def _places_of(path: Path, number: int | None) -> Iterator[tuple[_SizeAt, Callable[[float], str]]]:
    """Yields what asks a place of a file for the size of its frames, and what puts such a place into words."""
    with open_container(path) as container:
        film = film_of(container, path, number)
        kind, seconds = container.format.name, (container.duration or 0) / av.time_base
        if kind in _READ_FROM_ANYWHERE:
            with path.open("rb") as file:
                yield _asking_by_bytes(file, kind, film.id), lambda fraction: f"{100 * fraction:.0f}% of the file"
        elif seconds:
            yield _asking_by_time(container, film), lambda fraction: f"{fraction * seconds:.1f} s"
        else:
            yield lambda fraction: None, str


def _asking_by_bytes(file: Any, kind: str, stream_id: int) -> _SizeAt:
    length = os.fstat(file.fileno()).st_size

    def size_at(fraction: float) -> tuple[_Size, float] | None:
        start = int(fraction * length)
        file.seek(start)
        chunk = io.BytesIO(file.read(_CHUNK_BYTES))
        with suppress(av.error.FFmpegError), av.open(chunk, "r", format=kind) as part:
            for stream in part.streams.video:
                if stream.id == stream_id and stream.codec_context is not None and stream.codec_context.width:
                    size = (stream.codec_context.width, stream.codec_context.height)
                    packet = next((packet for packet in part.demux(stream) if packet.is_keyframe), None)
                    return size, (start + (getattr(packet, "pos", None) or 0)) / length
        return None

    return size_at


def _asking_by_time(container: Any, film: Any) -> _SizeAt:
    film.codec_context.skip_frame = "NONKEY"
    begin = container.start_time or 0

    def size_at(fraction: float) -> tuple[_Size, float] | None:
        with suppress(av.error.FFmpegError):
            container.seek(begin + int(fraction * container.duration))
            if (frame := next(container.decode(film), None)) is not None:
                known = frame.time is not None
                where = (frame.time * av.time_base - begin) / container.duration if known else fraction
                return (frame.width, frame.height), where
        return None

    return size_at
