"""Time codes: the hours, minutes, seconds and frames by which film makers count, in words of SMPTE ST 12-1.

At 30000/1001 frames a second and its double, a code that keeps to the clock leaves out numbers at the start of each
minute but every tenth: it is written with a semicolon before the frames.
"""

from __future__ import annotations

import re
from fractions import Fraction

_CODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.])(\d{2,3})", re.ASCII)
_DAY_SECONDS = 24 * 3600


def moved_time_code(code: str, *, seconds: Fraction, rate: Fraction, new_rate: Fraction) -> str:
    """The time code so much later, in frames of another rate; the code itself where it is none.

    Args:
        code: of a frame, such as 01:02:03:04.
        seconds: from that frame to the one whose code is wanted.
        rate: frames a second that the code counts.
        new_rate: frames a second that the new one counts.
    """
    match = _CODE.fullmatch(code.strip())
    if match is None or not rate or not new_rate:
        return code
    hours, minutes, second, frame = (int(match[group]) for group in (1, 2, 3, 5))
    drops = match[4] != ":"
    counted = ((hours * 60 + minutes) * 60 + second) * round(rate) + frame
    if drops:
        counted -= _dropped(round(rate)) * (hours * 60 + minutes - (hours * 60 + minutes) // 10)
    moved = round((counted + round(seconds * rate)) * Fraction(round(new_rate), round(rate)))
    drops = drops and round(new_rate) % 30 == 0
    return _written(moved, round(new_rate), match[4] if drops else ":", drops=drops)


def _dropped(nominal: int) -> int:
    """Numbers that a minute leaves out: 2 of 30 frames a second, 4 of 60."""
    return nominal // 15


def _written(counted: int, nominal: int, separator: str, *, drops: bool) -> str:
    if drops:
        dropped = _dropped(nominal)
        ten_minutes, rest = divmod(counted, 600 * nominal - 9 * dropped)
        # The first minute of ten is whole.
        later = max(0, rest - 60 * nominal) // (60 * nominal - dropped) + (rest >= 60 * nominal)
        counted += dropped * (9 * ten_minutes + later)
    seconds, frame = divmod(counted, nominal)
    minutes, second = divmod(seconds % _DAY_SECONDS, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{second:02d}{separator}{frame:02d}"
