"""Whether the size of a video's frames changes somewhere, without decoding it: what a few places of its file say.

Broadcasts, calls over the network and files put together change their size. To know where, all would have to be
decoded; a change that lasts is known by a frame here and there.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av

from spikejax.io.video_source import film_of, open_container

# Places that are asked, the first and the last included.
_PLACES = 17
# Those that are left are not asked after so many seconds, on a slow disk.
_LONGEST_SECONDS = 10.0
# Streams that can be read from any byte on, by FFmpeg's name; their clocks may jump, so that no time leads to a place.
_READ_FROM_ANYWHERE = {"mpegts", "mpeg"}
# More than two seconds of a broadcast, in which there is a frame that says its size.
_CHUNK_BYTES = 2**23

_Size = tuple[int, int]


def size_change(path: Path, number: int | None = None) -> str:
    """A place at which frames have another size than the first ones, in words; "" where none is known of.

    Args:
        path: of the video.
        number: of its film among its video streams, None for the one that players choose.
    """
    first: _Size | None = None
    asked_until = time.monotonic() + _LONGEST_SECONDS
    with suppress(av.error.FFmpegError, OSError):
        for where, size in _sizes(path, number):
            first = first or size
            if size != first:
                return f"frames {where} are {size[0]}x{size[1]} and not {first[0]}x{first[1]}"
            if time.monotonic() > asked_until:
                break
    return ""


def _sizes(path: Path, number: int | None) -> Iterator[tuple[str, _Size]]:
    """Yields places of a file, in words, with the width and height of frames there."""
    with open_container(path) as container:
        film = film_of(container, path, number)
        if container.format.name in _READ_FROM_ANYWHERE:
            yield from _sizes_by_bytes(path, container.format.name, film.id)
        elif container.duration:
            yield from _sizes_by_time(container, film)


def _sizes_by_bytes(path: Path, kind: str, stream_id: int) -> Iterator[tuple[str, _Size]]:
    size = os.path.getsize(path)
    with path.open("rb") as file:
        for place in range(_PLACES):
            file.seek(place * size // _PLACES)
            with suppress(av.error.FFmpegError), av.open(io.BytesIO(file.read(_CHUNK_BYTES)), format=kind) as part:
                for stream in part.streams.video:
                    if stream.id == stream_id and stream.codec_context is not None and stream.codec_context.width:
                        yield (
                            f"after {100 * place // _PLACES}% of the file",
                            (stream.codec_context.width, stream.codec_context.height),
                        )


def _sizes_by_time(container: Any, film: Any) -> Iterator[tuple[str, _Size]]:
    film.codec_context.skip_frame = "NONKEY"
    for place in range(_PLACES):
        with suppress(av.error.FFmpegError):
            container.seek((container.start_time or 0) + place * container.duration // _PLACES)
            frame = next(container.decode(film), None)
            if frame is not None:
                seconds = place * container.duration / _PLACES / av.time_base
                yield f"at {seconds:.1f} s", (frame.width, frame.height)
