"""Tests of work spread over processes."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from spikejax.data.preparation.workers import run_parallel


def invert(number: int) -> float:
    """Fails at 0."""
    return 1 / number


def die(number: int) -> int:
    """Ends the process as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_errors_come_back(workers: int) -> None:
    """Catches results that are lost, and an error without the place in the worker where it happened."""
    assert sorted(run_parallel(invert, [1, 2, 4], workers)) == [0.25, 0.5, 1]
    with pytest.raises(ZeroDivisionError) as caught:
        list(run_parallel(invert, [1, 0], workers))
    told = str(caught.value.__cause__) + "".join(str(entry) for entry in caught.traceback)
    assert "invert" in told


def test_a_worker_that_is_killed_is_an_error_and_not_a_hang() -> None:
    """Catches a preparation that waits for ever for a process that is no more."""
    with pytest.raises(BrokenProcessPool):
        list(run_parallel(die, [1, 2], 2))
