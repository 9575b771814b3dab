"""A video that is encoded in segments: each is a file once it is closed, and joining them makes the video.

So a run that is stopped keeps what it has encoded, at the size that it will have, and needs the frames of the segment
alone that is open. Every segment has its own encoder, which begins with a frame that needs no other, whether the run
was stopped or not: the video is the same, to the byte.

A segment's file holds a line of JSON and, behind it, the packets as the encoder gave them. No container is between:
their times are kept exactly, and the container of the video sees what an encoder in it would have given.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from spikejax.io.json_files import read_json, write_json
from spikejax.io.pictures import WrittenFrame
from spikejax.io.video_writer import VideoWriter

# SVT-AV1 would say at length what it is, of every segment.
os.environ.setdefault("SVT_LOG", "1")

SUFFIX = ".segment"
# Frames that are lost with an encoder are encoded again from pictures that are kept, of 720p about 100 MB.
_LONGEST, _SHORTEST, _BYTES = 48, 16, 2**27
# Of a nearly full disk these may take half, down to this number of frames.
_FEWEST = 4
_LENGTH = "length.json"


@dataclass(frozen=True)
class Segment:
    """What a closed segment's file says of itself.

    Attributes:
        path: the file.
        frames: how many there are.
        shape: of a frame.
        dtype: of a frame.
        last: the tick of the last frame.
        packets: (bytes, tick, whether it needs no other, ticks that it lasts) of each, in the order of decoding.
        checksum: CRC-32 of all packets' bytes.
    """

    path: Path
    frames: int
    shape: tuple[int, ...]
    dtype: str
    last: int
    packets: tuple[tuple[int, int, bool, int], ...]
    checksum: int

    @property
    def size(self) -> int:
        """Bytes of all packets."""
        return sum(size for size, *_ in self.packets)

    def contents(self) -> Iterator[bytes]:
        """Yields the bytes of each packet."""
        with self.path.open("rb") as file:
            file.readline()
            for size, *_ in self.packets:
                yield file.read(size)


def read_segment(path: Path) -> Segment | None:
    """A closed segment; None if there is none, or it is damaged."""
    try:
        with path.open("rb") as file:
            fields = json.loads(file.readline())
            body = file.read()
        packets = tuple((int(size), int(tick), bool(key), int(lasts)) for size, tick, key, lasts in fields["packets"])
        fields |= {"packets": packets, "shape": tuple(fields["shape"])}
        segment = Segment(path, **fields)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return segment if len(body) == segment.size and zlib.crc32(body) == segment.checksum else None


class SegmentedVideo:
    """Encodes frames into segments, and makes a video of them.

    Attributes:
        frames: frames that are encoded so far, those of the open segment included.
        size: bytes of all closed segments.
    """

    def __init__(self, folder: Path, suffix: str, options: Mapping[str, Any], *, room: int | None = None) -> None:
        """Finds the segments that an earlier run has closed.

        Args:
            folder: for the segments; it exists.
            suffix: of the video, which says the container.
            options: of a `VideoWriter`, all but the sound.
            room: bytes that are free for the pictures of the open segment; segments are shorter where that is little,
                as they were when the first one was begun.
        """
        self._folder, self._suffix, self._options, self._room = folder, suffix, dict(options), room
        self._segments: list[Segment] = []
        self._open: _SegmentEncoder | None = None
        self._length = _LONGEST
        self._most = _LONGEST if room is None else None
        for number in range(len(list(folder.glob(f"*{SUFFIX}")))):
            segment = read_segment(self._file(number))
            if segment is None:
                break
            self._segments.append(segment)
        self.frames, self.size = self.closed, sum(segment.size for segment in self._segments)

    @property
    def closed(self) -> int:
        """Frames in closed segments."""
        return sum(segment.frames for segment in self._segments)

    @property
    def bytes_of_a_frame(self) -> float:
        """The mean over the frames that are encoded; what an encoder holds back yet is left out."""
        if self._open is None:
            return self.size / max(1, self.closed)
        return (self.size + self._open.size) / max(1, self.closed + self._open.encoded)

    @property
    def longest_segment(self) -> int:
        """Frames of a segment."""
        return self._length

    def forget_after(self, frames: int) -> None:
        """Lets go of segments that hold frames from number `frames` on; none is open."""
        while self.closed > frames:
            self.size -= self._segments.pop().size
        self.frames = self.closed

    def write(self, frame: WrittenFrame, time: Fraction | None) -> bool:
        """Encodes the next frame, which is shown from `time` on; whether its segment is closed with it.

        Raises:
            OSError: the disk is full; the frame's segment is open.
        """
        if self._open is None:
            last = self._segments[-1].last if self._segments else None
            self._open = _SegmentEncoder(self._folder / f"open{self._suffix}", last, self._options)
        self._open.write(frame, time)
        self.frames, self._length = self.frames + 1, min(segment_length(frame), self._most_frames(frame))
        if self._open.frames < self._length:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Closes the open segment, if there is one."""
        if self._open is not None:
            encoder, self._open = self._open, None
            segment = encoder.save(self._file(len(self._segments)))
            self._segments.append(segment)
            self.size += segment.size

    def join(self, path: Path, **sound: Any) -> None:
        """Writes the video; there is none without a frame.

        Args:
            path: the file.
            **sound: what a `VideoWriter` is told of it.

        Raises:
            OSError: the disk is full.
        """
        self.close()
        if not self._segments:
            return
        writer = _JoiningWriter(path, **sound, **self._options)
        try:
            writer.join(self._segments)
            writer.close()
        except BaseException:
            writer.abandon()
            path.unlink(missing_ok=True)
            raise

    def abandon(self) -> None:
        """Lets go of the open segment; those that are closed stay."""
        if self._open is not None:
            encoder, self._open = self._open, None
            encoder.abandon()

    def _most_frames(self, frame: WrittenFrame) -> int:
        """Frames that there is room for in a segment, decided once: where segments end decides the bytes."""
        if self._most is None:
            kept = read_json(self._folder / _LENGTH)
            if kept is None:
                assert self._room is not None
                kept = {"frames": max(_FEWEST, min(_LONGEST, self._room // 2 // frame.nbytes))}
                write_json(self._folder / _LENGTH, kept)
            self._most = int(kept["frames"])
        return self._most

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}{SUFFIX}"


def segment_length(frame: WrittenFrame) -> int:
    """How many frames like this one a segment has."""
    return min(_LONGEST, max(_SHORTEST, _BYTES // frame.nbytes))


class _SegmentEncoder(VideoWriter):
    """Keeps the packets of frames, in memory; its container gets none."""

    def __init__(self, path: Path, last: int | None, options: Mapping[str, Any]) -> None:
        super().__init__(path, **options)
        self._last = last
        self.frames = 0
        self._packets: list[tuple[bytes, int, bool, int]] = []
        self._kind: tuple[tuple[int, ...], str] = (), ""

    def write(self, frame: WrittenFrame, time: Fraction | None = None) -> None:
        """See `VideoWriter`."""
        super().write(frame, time)
        self.frames, self._kind = self.frames + 1, (frame.shape, str(frame.dtype))

    def _take(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            self._packets.append((bytes(packet), packet.pts, packet.is_keyframe, packet.duration or 0))

    def _say_shape(self) -> None:
        pass  # its container is none

    @property
    def encoded(self) -> int:
        """Frames whose packets are there."""
        return len(self._packets)

    @property
    def size(self) -> int:
        """Bytes of these."""
        return sum(len(content) for content, *_ in self._packets)

    def save(self, path: Path) -> Segment:
        """Writes the segment, whole or not at all."""
        self.close()
        body = b"".join(content for content, *_ in self._packets)
        (shape, dtype), last = self._kind, self._last
        assert last is not None
        packets = tuple((len(content), tick, key, lasts) for content, tick, key, lasts in self._packets)
        segment = Segment(path, self.frames, shape, dtype, last, packets, zlib.crc32(body))
        header = {name: value for name, value in asdict(segment).items() if name != "path"}
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                file.write(json.dumps(header).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())  # the pictures of these frames go next
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return segment

    def abandon(self) -> None:
        """See `VideoWriter`."""
        super().abandon()
        self._path.unlink(missing_ok=True)


class _JoiningWriter(VideoWriter):
    """Writes the packets of segments."""

    def join(self, segments: Sequence[Segment]) -> None:
        """Writes all of them, the sound as far as they go."""
        self._last = segments[-1].last  # known from the start on, and with it which chapters are shown
        self._start(np.zeros(segments[0].shape, segments[0].dtype))
        times = decoding_times([tick for segment in segments for _, tick, _, _ in segment.packets])
        for segment in segments:
            for (_, tick, key, lasts), content in zip(segment.packets, segment.contents(), strict=True):
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.duration, packet.is_keyframe = tick, next(times), lasts, key
                packet.time_base, packet.stream = self._time_base, self._stream
                if self._sound is not None:
                    self._sound.advance(packet.dts * self._time_base)
                self._take([packet])

    def _flush(self) -> None:
        pass  # the encoder has seen no frame


def decoding_times(ticks: Sequence[int]) -> Iterator[int]:
    """Yields when each packet is decoded: in order, and none after it is shown.

    Args:
        ticks: when each is shown, in the order of decoding; no two are the same.
    """
    shown = sorted(ticks)
    rank = {tick: number for number, tick in enumerate(shown)}
    delay = max((number - rank[tick] for number, tick in enumerate(ticks)), default=0)
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    yield from (shown[0] - (delay - number) * step for number in range(delay))
    yield from shown[: len(shown) - delay]
