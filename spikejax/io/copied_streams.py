"""What a video has beside its pictures: sound, subtitles, chapters and words about it, brought into the one restored.

A stream is copied where the container takes it, else encoded (sound alone), else left out; which of these, is found out
by trying, before any work is done (`planned_streams`), and said.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from spikejax.io import text_subtitles
from spikejax.io.time_codes import moved_time_code
from spikejax.io.timeline import FollowedClock, Splice
from spikejax.io.video_source import film_of, known_ratio, open_container
from spikejax.io.written_colours import MUXERS

# Packets at the start of a file among which each stream of sound has its first.
_LOOKED_AT = 500
_COPIED_KINDS = ("audio", "subtitle")
# What sound becomes that a container does not take as it is, in this order; the last keeps odd channels of any number.
_ENCODERS = ("aac", "flac", "alac", "ac3", "pcm_s16le", "libopus")
_OPUS_RATE = 48000  # which it knows, and a few lower ones
# Where channels lie is often not said of raw sound.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_TIME_CODE = "timecode"
# Tags that speak of the file that they were in, and not of the film.
_TAGS_OF_FILES = frozenset(
    {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "handler_name", "vendor_id", "bps"}
)


@dataclass(frozen=True)
class PlannedStream:
    """What becomes of a stream beside the film.

    Attributes:
        index: of the stream in its file.
        kind: "audio", "subtitle", "data", ...
        name: of its codec, "unknown" if FFmpeg knows none.
        encoder: what it is encoded by; None if it is copied or left out.
        layout: of the channels that are encoded.
        kept: whether it comes along.
    """

    index: int
    kind: str
    name: str
    encoder: str | None = None
    layout: str | None = None
    kept: bool = True

    def __str__(self) -> str:
        what = f"{'sound' if self.kind == 'audio' else self.kind} (stream {self.index}, {self.name})"
        return f"{what} is left out" if not self.kept else f"{what} is encoded as {self.encoder}"


def planned_streams(path: Path, suffix: str, number: int | None = None) -> list[PlannedStream]:
    """What becomes of each stream beside the film of a file, in a container of that suffix.

    Args:
        path: of the file.
        suffix: of the new one.
        number: of the film among the file's video streams, None for the one that players choose.
    """
    with open_container(path) as container:
        film = film_of(container, path, number).index if container.streams.video else None
        beside = [stream for stream in container.streams if stream.index != film]
        samples = _samples(container) if any(stream.type == "audio" for stream in beside) else {}
        return [_plan(stream, suffix, samples.get(stream.index)) for stream in beside]


def _samples(container: Any) -> dict[int, Any]:
    """The first packet of each stream, as far as the start of a file has them."""
    samples: dict[int, Any] = {}
    with suppress(av.error.FFmpegError):
        for packet in itertools.islice(container.demux(), _LOOKED_AT):
            if packet.size:
                samples.setdefault(packet.stream.index, packet)
    return samples


def stream_notes(path: Path, suffix: str, number: int | None = None) -> list[str]:
    """What of a file's streams is not copied as it is, in words; see `planned_streams`."""
    return [str(plan) for plan in planned_streams(path, suffix, number) if not plan.kept or plan.encoder]


def _plan(stream: Any, suffix: str, sample: Any) -> PlannedStream:
    context = stream.codec_context
    name = "unknown" if context is None or context.codec is None else context.codec.canonical_name
    kind = stream.type or "unknown"
    if kind in _COPIED_KINDS and _takes(suffix, lambda target: _copy_of(stream, target), sample):
        return PlannedStream(stream.index, kind, name)
    if kind == "subtitle" and name in text_subtitles.READ:
        for codec in text_subtitles.WRITTEN:
            if _takes(suffix, lambda target, c=codec: text_subtitles.add_text(target, c)):
                return PlannedStream(stream.index, kind, name, codec)
    if kind != "audio" or context is None:
        return PlannedStream(stream.index, kind, name, kept=False)
    layouts = [context.layout.name, _LAYOUTS.get(len(context.layout.channels), "stereo")]
    for encoder in _ENCODERS:
        for layout in layouts:
            if _takes(suffix, lambda target, e=encoder, n=layout: _encoded(target, e, context.sample_rate, n)):
                return PlannedStream(stream.index, kind, name, encoder, layout)
    return PlannedStream(stream.index, kind, name, kept=False)


def _takes(suffix: str, add: Any, sample: Any = None) -> bool:
    """Whether a container takes a stream: whether a file with it alone, of one packet if there is a sample, is written.

    Some refuse a stream at once, and MP4 refuses some orders of channels at the end.
    """
    try:
        with av.open(io.BytesIO(), "w", format=MUXERS[suffix]) as target:
            stream = add(target)
            target.start_encoding()
            if sample is not None:
                packet = av.Packet(bytes(sample))
                packet.pts = packet.dts = 0
                packet.duration, packet.time_base = sample.duration or 1, sample.time_base
                packet.is_keyframe, packet.stream = True, stream
                target.mux(packet)
    except (av.error.FFmpegError, ValueError, AttributeError, OSError):
        return False
    return True


def _copy_of(stream: Any, target: Any) -> Any:
    copy = target.add_stream_from_template(stream)
    for name in ("language", "title"):
        if name in stream.metadata:
            copy.metadata[name] = stream.metadata[name]
    if stream.type == "audio" and stream.codec_context is not None:
        channels = len(stream.codec_context.layout.channels)
        if channels in (1, 2) and stream.codec_context.layout.name not in ("mono", "stereo", "downmix"):
            copy.codec_context.layout = _LAYOUTS[channels]  # MP4 wants to know where channels lie
    copy.disposition = stream.disposition.value  # a number: PyAV 17 does not take what it gives
    return copy


def _encoded(target: Any, encoder: str, rate: int, layout: str) -> Any:
    stream = target.add_stream(encoder, rate=_OPUS_RATE if encoder == "libopus" else rate, layout=layout)
    stream.codec_context.open()
    return stream


class CopiedStreams:
    """Brings the streams of a file into a video that is being written, as far as the video has come."""

    def __init__(self, path: Path, begin: Fraction, target: Any, suffix: str, splices: list[Splice]) -> None:
        """Adds the streams to the target, of whose film the stream is there already.

        Args:
            path: of the file.
            begin: the time in it, in seconds, that is time 0 of the target.
            target: the open container.
            suffix: of the target.
            splices: of the film's times.
        """
        self._target = target
        self._source = open_container(path)
        self._start = Fraction(self._source.start_time or 0, av.time_base)
        self._begin = begin
        self._tracks: dict[int, _CopiedTrack | _EncodedTrack | text_subtitles.TextTrack] = {}
        for plan in planned_streams(path, suffix):
            stream = self._source.streams[plan.index]
            if plan.kept and plan.kind == "subtitle" and plan.encoder is not None:
                self._tracks[plan.index] = text_subtitles.TextTrack(stream, target, plan.encoder)
            elif plan.kept:
                track = _CopiedTrack if plan.encoder is None else _EncodedTrack
                self._tracks[plan.index] = track(stream, target, plan)
        self._clocks = {index: FollowedClock(splices) for index in self._tracks}
        self._packets = self._demux()
        self._held: Any = None
        self._waiting: tuple[Fraction, Any] | None = None
        self._at_end = False

    def _demux(self) -> Iterator[Any]:
        if self._tracks:
            yield from self._source.demux(*(self._source.streams[index] for index in self._tracks))

    def _timed(self) -> tuple[Fraction, Any] | None:
        """The next packet and when it begins; None if there is none, or none whose time is known yet."""
        while True:
            packet = self._held or next(self._packets, None)
            self._held = None
            if packet is None:
                return None
            if packet.dts is None:  # the mark of the end
                return Fraction(0), packet
            clock = packet.dts * packet.time_base - self._start
            duration = (packet.duration or 0) * packet.time_base
            time = self._clocks[packet.stream.index].time(clock, duration, at_end=self._at_end)
            if time is None:
                self._held = packet
                return None
            if time < self._begin and self._begin:
                continue  # what sounds before the part
            return time - self._begin, packet

    def advance(self, until: Fraction | None) -> None:
        """Adds all that begins before `until` (seconds), None for all there is.

        Raises:
            OSError: the disk is full.
        """
        self._at_end = until is None
        while True:
            try:
                self._waiting = self._waiting or self._timed()
            except av.error.FFmpegError:
                self._waiting = None  # what is damaged ends there
            if self._waiting is None or (until is not None and self._waiting[0] >= until):
                return
            _, packet = self._waiting
            self._waiting = None
            track, shift = self._tracks[packet.stream.index], self._clocks[packet.stream.index].shift
            shift -= self._start + self._begin
            for ready in track.packets(packet, shift):
                self._target.mux(ready)

    def close(self) -> None:
        """Closes the file that streams come from."""
        self._source.close()


class _CopiedTrack:
    """A stream that the container takes as it is."""

    def __init__(self, stream: Any, target: Any, plan: PlannedStream) -> None:
        self._stream = _copy_of(stream, target)
        self._last: int | None = None

    def packets(self, packet: Any, shift: Fraction) -> Iterator[Any]:
        if packet.dts is None or packet.size == 0:
            return
        ticks = round(shift / packet.time_base)
        # No container takes times that stand still or go back, as damaged files have them.
        # A millisecond is the unit of Matroska.
        step = max(1, math.ceil(Fraction(1, 1000) / packet.time_base))
        dts = packet.dts + ticks
        if self._last is not None and dts <= self._last:
            dts = self._last + step
        packet.pts = None if packet.pts is None else max(packet.pts + ticks, dts)
        packet.dts = self._last = dts
        packet.stream = self._stream
        yield packet


class _EncodedTrack:
    """Sound that is encoded because the container does not take it as it is."""

    def __init__(self, stream: Any, target: Any, plan: PlannedStream) -> None:
        assert plan.encoder is not None and plan.layout is not None
        self._stream = _encoded(target, plan.encoder, stream.codec_context.sample_rate, plan.layout)
        rate = self._stream.codec_context.sample_rate
        kind = self._stream.codec_context.format.name
        self._resample = av.AudioResampler(format=kind, layout=plan.layout, rate=rate)
        for name in ("language", "title"):
            if name in stream.metadata:
                self._stream.metadata[name] = stream.metadata[name]

    def packets(self, packet: Any, shift: Fraction) -> Iterator[Any]:
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            return
        for frame in decoded:
            if frame.pts is not None:
                frame.pts += round(shift / frame.time_base)
            for resampled in self._resample.resample(frame):
                yield from self._stream.encode(resampled)
        if packet.dts is None:
            yield from self._stream.encode(None)


@dataclass(frozen=True)
class ShownPart:
    """What is shown of a film.

    Attributes:
        number: of the film among its file's video streams, None for the one that players choose.
        begin: the time in the film, in seconds, that is shown at time 0.
        length: seconds that are shown; None = all that follow.
        rate: frames a second that are shown.
    """

    number: int | None
    begin: Fraction
    length: Fraction | None
    rate: Fraction


def copy_words(path: Path, target: Any, film: Any, part: ShownPart) -> None:
    """Copies chapters, and what a file says of itself and of its film (title, creation time, place, time code).

    Args:
        path: of the file.
        target: the open container.
        film: its video stream.
        part: that is shown, of which chapters are those that it has of, and the time code that of its first frame.
    """
    with open_container(path) as container:
        rate = None
        if container.streams.video:
            source = film_of(container, path, part.number)
            rate = known_ratio(source.average_rate) or known_ratio(source.guessed_rate)
            film.metadata.update(_of_the_film(source.metadata, part, rate))
        target.metadata.update(_of_the_film(container.metadata, part, rate))
        if listed := [shown for chapter in container.chapters() if (shown := _shown(chapter, part)) is not None]:
            target.set_chapters(listed)


def _shown(chapter: Any, part: ShownPart) -> Any:
    """A chapter as it lies in a part; None where nothing of it is shown."""
    if not part.begin and part.length is None:
        return chapter
    base = Fraction(chapter["time_base"])
    begin, end = (chapter[name] * base - part.begin for name in ("start", "end"))
    end = end if part.length is None else min(end, part.length)
    if end <= max(begin, 0):
        return None
    return chapter | {"start": round(max(begin, 0) / base), "end": round(end / base)}


def _of_the_film(words: dict[str, str], part: ShownPart, rate: Fraction | None) -> dict[str, str]:
    """The words that speak of the film, of so many frames a second, as they are true of its part."""
    kept = {name: value for name, value in words.items() if name.lower() not in _TAGS_OF_FILES}
    kept = {name: value for name, value in kept.items() if not name.lower().startswith(("_statistics", "number_of_"))}
    if rate is not None:
        for name in kept:
            if name.lower() == _TIME_CODE:
                kept[name] = moved_time_code(kept[name], seconds=part.begin, rate=rate, new_rate=part.rate)
    return kept
