"""Where a part of a video begins or ends, as a command line says it."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass
from fractions import Fraction

_FRAME = re.compile(r"\d{1,9}", re.ASCII)
_TIME = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d{1,9})?)(s?)", re.ASCII)


@dataclass(frozen=True)
class Position:
    """A frame's number, from 0, or a time.

    Attributes:
        frame: the number; None where the time says it.
        seconds: the time since the beginning; None where the number says it.
    """

    frame: int | None = None
    seconds: Fraction | None = None

    def __str__(self) -> str:
        return str(self.frame) if self.seconds is None else f"{float(self.seconds):g}s"

    def number(self, rate: Fraction) -> int:
        """The number of the first frame at the position or behind it, of a constant rate."""
        return self.frame if self.frame is not None else math.ceil((self.seconds or 0) * rate)

    def is_reached(self, number: int, time: Fraction) -> bool:
        """Whether the frame of that number, shown at that time in seconds, comes at the position or behind it."""
        return number >= self.frame if self.frame is not None else time >= (self.seconds or 0)


def position(text: str) -> Position:
    """The position that an argument says: 120 (a frame), 4.5s, 1:30 or 0:01:30.5 (times)."""
    if _FRAME.fullmatch(text):
        return Position(frame=int(text))
    match = _TIME.fullmatch(text)
    if match is None or not (match[2] or match[4]):
        raise argparse.ArgumentTypeError(
            f"expected a frame's number such as 120, or a time such as 4.5s or 1:30, found {text!r}"
        )
    hours, minutes, seconds, _ = match.groups()
    return Position(seconds=Fraction(seconds) + 60 * int(minutes or 0) + 3600 * int(hours or 0))
