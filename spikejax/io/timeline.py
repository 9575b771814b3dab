"""Times of frames, without the jumps of files that were put together: a splice is no pause and no way back.

Transport streams joined by `cat`, tapes and DVDs begin a new clock in their middle. What follows a jump backwards, or
of more than ten seconds ahead, goes on one frame after the last; sound and subtitles move with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

_T = TypeVar("_T")
LONGEST_PAUSE = Fraction(10)
# Packets of sound overlap by less.
_BACK = Fraction(1, 10)


@dataclass(frozen=True)
class Splice:
    """A place where a file's clock jumps.

    Attributes:
        clock: seconds that the file's clock shows after the jump.
        shift: what has to be added to them from there on.
    """

    clock: Fraction
    shift: Fraction


def without_jumps(
    items: Iterable[tuple[_T, Fraction | None]], *, step: Fraction, splices: list[Splice]
) -> Iterator[tuple[_T, Fraction | None]]:
    """Yields items with times that do not jump; those without a time keep none.

    Args:
        items: with the times that the file's clock shows, in seconds.
        step: from one frame to the next, of the rate.
        splices: gets an entry for each jump, before the item behind it is yielded.
    """
    shift, last_clock, last_time = Fraction(0), None, None
    pause = max(LONGEST_PAUSE, 3 * step)  # a film of slides may have a frame in ten seconds
    for item, clock, following in _with_following(items):
        if clock is None:
            # One frame later than the last, so that a jump behind it is seen as one.
            last_clock = None if last_clock is None else last_clock + step
            last_time = None if last_time is None else last_time + step
            yield item, None
            continue
        if last_clock is not None and last_time is not None:
            back = clock < last_clock and (following is None or following <= last_clock)
            if back or clock - last_clock > pause:
                shift = last_time + step - clock
                splices.append(Splice(clock, shift))
        time = clock + shift
        yield item, time
        # A single frame out of order leaves the clock where it was.
        last_clock = clock if last_clock is None or splices and splices[-1].clock == clock else max(last_clock, clock)
        last_time = time if last_time is None else max(last_time, time)


def _with_following(
    items: Iterable[tuple[_T, Fraction | None]],
) -> Iterator[tuple[_T, Fraction | None, Fraction | None]]:
    """Yields items with their own time and that of the next item."""
    waiting: tuple[_T, Fraction | None] | None = None
    for item, clock in items:
        if waiting is not None:
            yield (*waiting, clock)
        waiting = (item, clock)
    if waiting is not None:
        yield (*waiting, None)


class FollowedClock:
    """The clock of sound or subtitles, which jumps where that of the frames does, but at its own time.

    Attributes:
        shift: what has to be added to the clock.
    """

    def __init__(self, splices: list[Splice]) -> None:
        """Follows `splices`, which grows while frames are read."""
        self._splices = splices
        self._passed = 0
        self._last: Fraction | None = None
        self.shift = Fraction(0)

    def time(self, clock: Fraction, duration: Fraction, *, at_end: bool) -> Fraction | None:
        """The time of what begins when the clock shows that.

        Args:
            clock: what it shows.
            duration: of the packet, for the end of the one before a jump.
            at_end: whether all frames are read.

        Returns:
            The time; None if the clock has jumped and the frames have not come as far.
        """
        if self._last is not None and (clock < self._last - _BACK or clock > self._last + LONGEST_PAUSE):
            near = [
                (number, splice)
                for number, splice in enumerate(self._splices)
                if number >= self._passed and abs(splice.clock - clock) < LONGEST_PAUSE / 2
            ]
            if near:
                self._passed, self.shift = near[0][0] + 1, near[0][1].shift
            elif not at_end:
                return None
            elif clock < self._last:  # it jumps alone
                self.shift += self._last - clock
        self._last = clock + duration
        return clock + self.shift
