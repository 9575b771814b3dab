"""Tests of work spread over processes."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool

import pytest

from spikejax.data.preparation import workers as workers_module
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


def test_windows_waits_for_61_processes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a preparation that ends with an error on a Windows machine of more CPUs."""

    def count(workers: int, *rest: object, **more: object) -> None:
        raise StopAsyncIteration(workers)

    monkeypatch.setattr(workers_module, "ProcessPoolExecutor", count)
    for platform, expected in (("win32", 61), ("linux", 100)):
        monkeypatch.setattr(workers_module.sys, "platform", platform)
        with pytest.raises(StopAsyncIteration) as caught:
            next(run_parallel(invert, range(1, 200), 100))
        assert caught.value.args == (expected,)
