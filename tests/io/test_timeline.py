"""Times without the jumps of files that were put together."""

from fractions import Fraction

import pytest

from spikejax.io.timeline import FollowedClock, Splice, without_jumps

STEP = Fraction(1, 25)


def placed(clocks: list[float | None]) -> tuple[list[float | None], list[Splice]]:
    """The times of frames whose file's clock shows those, and the splices."""
    splices: list[Splice] = []
    items = ((number, None if clock is None else Fraction(str(clock))) for number, clock in enumerate(clocks))
    times = [time for _, time in without_jumps(items, step=STEP, splices=splices)]
    return [None if time is None else round(float(time), 3) for time in times], splices


@pytest.mark.parametrize(
    ("clocks", "times", "jumps"),
    [
        ([0, 0.04, 0.08, 0.12], [0, 0.04, 0.08, 0.12], 0),
        ([0, 0.04, 9.0, 9.04], [0, 0.04, 9.0, 9.04], 0),  # a pause
        ([0, 0.04, 36000.0, 36000.04], [0, 0.04, 0.08, 0.12], 1),
        ([0, 0.04, 0.0, 0.04], [0, 0.04, 0.08, 0.12], 1),
        ([5, 5.04, 1.0, 1.04, 90, 90.04], [5, 5.04, 5.08, 5.12, 5.16, 5.2], 2),
        ([0, 0.08, 0.04, 0.12], [0, 0.08, 0.04, 0.12], 0),  # one out of order
        ([0, 0.04, 0.08, 0.0], [0, 0.04, 0.08, 0.12], 1),  # the last one
        ([None, None, None], [None, None, None], 0),
        ([0, None, 0.0, 0.04], [0, None, 0.08, 0.12], 1),
    ],
)
def test_jumps_are_closed(clocks: list[float | None], times: list[float | None], jumps: int) -> None:
    """Catches a second half that lasts no time, a still of hours, and a pause or a disorder taken for a splice."""
    found, splices = placed(clocks)
    assert found == times
    assert len(splices) == jumps


def test_sound_moves_with_the_picture() -> None:
    """Catches sound that jumps by its own rule, at another place than the picture, and is off from there on."""
    splices: list[Splice] = []
    clock = FollowedClock(splices)
    tenth = Fraction(1, 10)
    assert clock.time(Fraction(0), tenth, at_end=False) == 0
    assert clock.time(Fraction(3), tenth, at_end=False) == 3
    # The picture has not come to the jump: its time is not known yet.
    assert clock.time(Fraction(1, 100), tenth, at_end=False) is None
    splices.append(Splice(Fraction(0), Fraction(304, 100)))
    assert clock.time(Fraction(1, 100), tenth, at_end=False) == Fraction(305, 100)
    assert clock.time(Fraction(11, 100), tenth, at_end=False) == Fraction(315, 100)
    # Sound that jumps alone goes on after what sounded last.
    alone = FollowedClock([])
    assert alone.time(Fraction(5), tenth, at_end=True) == 5
    assert alone.time(Fraction(0), tenth, at_end=True) == Fraction(51, 10)
