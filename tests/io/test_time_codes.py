from fractions import Fraction

import pytest

from spikejax.io.time_codes import moved_time_code

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("code", "frames", "rate", "new_rate", "moved"),
    [
        ("01:02:03:04", 0, 25, 25, "01:02:03:04"),
        ("01:02:03:04", 22, 25, 25, "01:02:04:01"),
        ("23:59:59:24", 1, 25, 25, "00:00:00:00"),
        ("00:00:59:29", 1, NTSC, NTSC, "00:01:00:00"),
        # SMPTE ST 12-1: of 30 frames a second 00 and 01 are left out in each minute, but not in minutes 0, 10, 20, ...
        ("00:00:59;29", 1, NTSC, NTSC, "00:01:00;02"),
        ("00:01:59;29", 1, NTSC, NTSC, "00:02:00;02"),
        ("00:09:59;29", 1, NTSC, NTSC, "00:10:00;00"),
        ("00:10:59;29", 1, NTSC, NTSC, "00:11:00;02"),
        ("00:00:00;00", 107_892, NTSC, NTSC, "01:00:00;00"),
        ("00:00:59;59", 1, 2 * NTSC, 2 * NTSC, "00:01:00;04"),
        # A film of which two frames are made of one has two numbers for one.
        ("01:02:03:04", 0, 25, 50, "01:02:03:08"),
        ("00:01:00;02", 0, NTSC, 2 * NTSC, "00:01:00;04"),
        ("midnight", 3, 25, 25, "midnight"),
    ],
)
def test_moved(code: str, frames: int, rate: Fraction, new_rate: Fraction, moved: str) -> None:
    """Catches numbers that are left out in the wrong minute, a day of 25 hours, and a code of half the frames."""
    rate = Fraction(rate)
    assert moved_time_code(code, seconds=frames / rate, rate=rate, new_rate=Fraction(new_rate)) == moved
