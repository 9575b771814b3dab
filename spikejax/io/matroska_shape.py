"""The shape of pixels in a Matroska (or WebM) file, which FFmpeg's writer of it cannot be told through PyAV.

Films of codecs that say nothing of it themselves (FFV1, VP9, AV1) would be shown with square pixels. The file says it
by the width and height that a picture is shown at, beside those that it is stored at (RFC 9559, 5.1.4.1.28). FFmpeg
leaves an empty element (Void) before the tracks, so that a few bytes more of these move nothing that comes behind.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

SUFFIXES = frozenset({".mkv", ".webm"})
_SEGMENT, _SEEK_HEAD, _SEEK, _SEEK_POSITION, _VOID, _TRACKS = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AC, 0xEC, 0x1654AE6B
_TRACK, _TRACK_TYPE, _VIDEO, _WIDTH, _HEIGHT = 0xAE, 0x83, 0xE0, 0xB0, 0xBA
_SHOWN = (0x54B0, 0x54BA)  # width and height
_SHOWN_UNIT = 0x54B2  # 4 = nobody knows, which FFmpeg writes where it knows no shape; without it, pixels
_CHECKSUM = b"\xbf\x84"  # the head of an element of four bytes: the CRC-32 of what follows in the one around it
# More than any file has before its first cluster, but for one with pictures attached.
_HEAD_BYTES = 2**24


@dataclass(frozen=True)
class _Element:
    """Where an element lies: it begins at `start`, what it holds at `body`, and the next one at `end`."""

    id: int
    start: int
    body: int
    end: int


def say_pixel_shape(path: Path, aspect: Fraction) -> bool:
    """Makes a finished file say how wide its film's pixels are; whether it has room for that.

    Args:
        path: of the file.
        aspect: width of a pixel over its height.
    """
    with path.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        changed = _with_shape(head, aspect)
        if changed is None:
            return False
        file.seek(0)
        file.write(changed)
    return True


def _with_shape(head: bytes, aspect: Fraction) -> bytes | None:
    """The start of a file with the shape in it, of the same length; None if it is not laid out as FFmpeg does it."""
    segment = next((element for element in _elements(head, 0, len(head)) if element.id == _SEGMENT), None)
    inside = [] if segment is None else _up_to_tracks(head, segment)
    void = next((element for element in inside if element.id == _VOID), None)
    if segment is None or void is None or not inside or inside[-1].id != _TRACKS:
        return None
    tracks = _tracks_with_shape(head, inside[-1], aspect)
    if tracks is None:
        return None
    growth = len(tracks) - (inside[-1].end - inside[-1].start)
    room = void.end - void.start - growth
    if room < 9:  # of an element with a length of 8 bytes
        return None
    moved = bytearray(head)
    moved[void.start : inside[-1].end] = (
        _element(_VOID, bytes(room - 9)) + head[void.end : inside[-1].start] + tracks
    )  # what lies between moves to the front
    for entry in _positions(head, inside):
        position = int.from_bytes(head[entry.body : entry.end], "big")
        if void.end <= segment.body + position <= inside[-1].start:
            moved[entry.body : entry.end] = (position - growth).to_bytes(entry.end - entry.body, "big")
    for seek_head in (element for element in inside if element.id == _SEEK_HEAD):
        moved[seek_head.body : seek_head.end] = _checked(bytes(moved[seek_head.body : seek_head.end]))
    return bytes(moved)


def _up_to_tracks(head: bytes, segment: _Element) -> list[_Element]:
    """The elements of a segment, the last of which are its tracks, if it has any."""
    inside = []
    for element in _elements(head, segment.body, len(head)):
        inside.append(element)
        if element.id == _TRACKS:
            break
    return inside


def _tracks_with_shape(head: bytes, tracks: _Element, aspect: Fraction) -> bytes | None:
    """The tracks, whose first film says the size at which it is shown."""
    parts, said = [], False
    for track in _elements(head, tracks.body, tracks.end):
        fields = list(_elements(head, track.body, track.end))
        kinds = {field.id: head[field.body : field.end] for field in fields}
        content = head[track.start : track.end]
        if not said and track.id == _TRACK and kinds.get(_TRACK_TYPE) == b"\1" and _VIDEO in kinds:
            video = next(field for field in fields if field.id == _VIDEO)
            shown = _video_with_shape(head, video, aspect)
            content = _element(_TRACK, head[track.body : video.start] + shown + head[video.end : track.end])
            said = True
        parts.append(content)
    return _element(_TRACKS, _checked(b"".join(parts))) if said else None


def _video_with_shape(head: bytes, video: _Element, aspect: Fraction) -> bytes:
    fields = list(_elements(head, video.body, video.end))
    width, height = (
        next(int.from_bytes(head[field.body : field.end], "big") for field in fields if field.id == name)
        for name in (_WIDTH, _HEIGHT)
    )
    # As FFmpeg does it: rows keep their number.
    sizes = zip(_SHOWN, (round(width * aspect), height), strict=True)
    others = b"".join(head[field.start : field.end] for field in fields if field.id not in (*_SHOWN, _SHOWN_UNIT))
    return _element(_VIDEO, others + b"".join(_element(name, size.to_bytes(4, "big")) for name, size in sizes))


def _positions(head: bytes, inside: list[_Element]) -> Iterator[_Element]:
    """Yields the entries of the list of places at the start of a segment."""
    for seek_head in (element for element in inside if element.id == _SEEK_HEAD):
        for seek in _elements(head, seek_head.body, seek_head.end):
            if seek.id == _SEEK:
                yield from (entry for entry in _elements(head, seek.body, seek.end) if entry.id == _SEEK_POSITION)


def _checked(body: bytes) -> bytes:
    """What an element holds, with the checksum that is true of it, if it has one."""
    if not body.startswith(_CHECKSUM):
        return body
    rest = body[len(_CHECKSUM) + 4 :]
    return _CHECKSUM + zlib.crc32(rest).to_bytes(4, "little") + rest


def _elements(head: bytes, start: int, end: int) -> Iterator[_Element]:
    """Yields the elements that begin between two places, as far as their heads are there."""
    while start < end:
        id_bytes = 9 - head[start].bit_length()
        length_start = start + id_bytes
        if length_start >= end or id_bytes > 4:
            return
        length_bytes = 9 - head[length_start].bit_length()
        body = length_start + length_bytes
        if body > end or length_bytes > 8:
            return
        length = int.from_bytes(head[length_start:body], "big") & ((1 << 7 * length_bytes) - 1)
        yield _Element(int.from_bytes(head[start:length_start], "big"), start, body, body + length)
        start = body + length


def _element(name: int, body: bytes) -> bytes:
    """An element with a length of 8 bytes."""
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + (1 << 56 | len(body)).to_bytes(8, "big") + body
