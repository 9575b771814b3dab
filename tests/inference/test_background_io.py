import threading
import time
from collections.abc import Iterator

import pytest

from spikejax.inference.background_io import ReadAhead, WriteBehind


def test_reading_ahead_keeps_order_and_its_bound() -> None:
    """Catches items lost or out of order, and a reader that fills the memory while nobody takes."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    reader = ReadAhead(items(), 3)
    with reader.running() as taken:
        assert next(taken) == 0
        time.sleep(0.1)
        assert len(made) <= 1 + 3 + 1  # taken, waiting, and one that finds no room
        assert list(taken) == list(range(1, 20))
    assert reader.seconds > 0


def test_what_goes_wrong_while_reading_comes_out_in_turn() -> None:
    """Catches an error that is lost with its thread, or overtakes the items before it."""

    def items() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with ReadAhead(items(), 5).running() as taken:
        assert next(taken) == 1
        with pytest.raises(ZeroDivisionError):
            next(taken)


def test_a_reader_that_is_not_wanted_ends() -> None:
    """Catches a thread that waits for ever for room, and keeps a video open."""
    before = threading.active_count()
    with ReadAhead(iter(int, 1), 1).running() as taken:
        next(taken)
    assert threading.active_count() == before


def test_writing_behind_writes_everything_in_order() -> None:
    """Catches items that are dropped at the end, or by an exception of the other side."""
    written: list[int] = []
    with pytest.raises(ZeroDivisionError), WriteBehind(written.append, 2).running() as put:
        for number in range(10):
            put(number)
        raise ZeroDivisionError
    assert written == list(range(10))


def test_what_goes_wrong_while_writing_stops_the_work() -> None:
    """Catches hours of computing after the disk is full, and a wait for a thread that has ended."""

    def write(number: int) -> None:
        if number == 2:
            raise OSError(28, "No space left on device")

    put_count = 0
    with pytest.raises(OSError, match="No space"), WriteBehind(write, 1).running() as put:
        for number in range(1000):
            put(number)
            put_count += 1
            time.sleep(0.001)
    assert put_count < 500
