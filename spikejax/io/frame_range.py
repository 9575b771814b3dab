"""A part of a source of frames: from a frame or time on, and before another."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

from spikejax.errors import InputError
from spikejax.io.frame_stream import Damage, DecodedFrame, FrameSource
from spikejax.io.positions import Position
from spikejax.io.video_codecs import DEFAULT_RATE


def part_of(
    source: FrameSource, start: Position | None, end: Position | None, *, rate: Fraction | None = None
) -> FrameSource:
    """The frames of a source from `start` on and before `end`; the source itself where neither is given.

    Args:
        source: the frames.
        start: None = the first.
        end: None = behind the last.
        rate: frames a second of pictures, which have no times; None = 25.

    Raises:
        InputError: there is no frame in the part.
    """
    if start is None and end is None:
        return source
    rate = source.rate or rate or DEFAULT_RATE
    first: int | None
    if source.one_pass:  # skipped while it is read, where nobody can look ahead
        first, last = 0 if start is None else start.number(rate), None if end is None else end.number(rate)
        offset = first / rate
    else:
        first, last, offset = _find(source, start, end, rate)
    if first is None or (last is not None and first >= last):
        wanted = f"--from {start or 0}" + ("" if end is None else f" --to {end}")
        raise InputError(f"expected frames of the input with {wanted}, found none: {source.path}")
    return FrameRange(source, first, last, offset)


def _find(
    source: FrameSource, start: Position | None, end: Position | None, rate: Fraction
) -> tuple[int | None, int | None, Fraction]:
    """The numbers of the first frame of the part and of the first behind it, and the time of the former.

    The first is None where the frames end before; what lies behind the part is None where they end in it.
    """
    first = offset = None
    for number, time in enumerate(source.times()):
        shown = Fraction(number) / rate if time is None else time
        if first is None and (start is None or start.is_reached(number, shown)):
            first, offset = number, shown
        if end is not None and end.is_reached(number, shown):
            return first, number, offset or Fraction(0)
    return first, None, offset or Fraction(0)


class FrameRange(FrameSource):
    """Frames of another source, numbered from 0 and shown from time 0 on.

    See `whole`, `first` and `offset` of `FrameSource` for where they come from.
    """

    def __init__(self, source: FrameSource, first: int, last: int | None, offset: Fraction) -> None:
        """Reads nothing yet.

        Args:
            source: the other source.
            first: the number of the first frame.
            last: the number of the first frame that is left out again; None = none is.
            offset: the time of the first frame.
        """
        self._whole, self._first, self._last, self._offset = source, first, last, offset
        self.path, self.height, self.width, self.bits = source.path, source.height, source.width, source.bits
        self.rate, self.time_base, self.pixel_aspect = source.rate, source.time_base, source.pixel_aspect
        self.colours, self.profile = source.colours, source.profile
        self.one_pass, self.has_streams = source.one_pass, source.has_streams
        self.names = None if source.names is None else source.names[first:last]
        length = source.expected_length if last is None else last
        self.expected_length = None if length is None else max(length - first, 0)

    @property
    def whole(self) -> FrameSource:
        """See `FrameSource.whole`."""
        return self._whole

    @property
    def first(self) -> int:
        """See `FrameSource.first`."""
        return self._first

    @property
    def offset(self) -> Fraction:
        """See `FrameSource.offset`."""
        return self._offset

    @property
    def damage(self) -> Damage:  # type: ignore[override]  # of what was read last, which the source knows
        """What did not decode when the source was last read."""
        return self._whole.damage

    def stop_waiting(self) -> None:
        """See `FrameSource.stop_waiting`."""
        self._whole.stop_waiting()

    @functools.cached_property
    def count(self) -> int:
        """The exact number of frames."""
        return (self._whole.count if self._last is None else self._last) - self._first

    def decode(self, start: int = 0) -> Iterator[DecodedFrame]:
        """See `FrameSource.decode`."""
        count = None if self._last is None else max(self._last - self._first - start, 0)
        for decoded in islice(self._whole.decode(self._first + start), count):
            yield decoded._replace(time=None if decoded.time is None else decoded.time - self._offset)

    def times(self) -> Iterator[Fraction | None]:
        """See `FrameSource.times`."""
        for time in islice(self._whole.times(), self._first, self._last):
            yield None if time is None else time - self._offset
