"""Signals."""

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from spikejax.training.signals import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_second_ends(number: signal.Signals) -> None:
    """Catches a signal that ends the process before it could save, and a hanging save that nothing can end."""
    received = []
    before = signal.signal(number, lambda *_: received.append(number))
    try:
        with StopRequest() as stop:
            assert stop.signal is None
            os.kill(os.getpid(), number)
            assert stop.signal == number
            assert received == []
            os.kill(os.getpid(), number)
            assert received == [number]
        os.kill(os.getpid(), number)
        assert received == [number, number]
    finally:
        signal.signal(number, before)


@pytest.fixture
def codes() -> list[int]:
    """The exit codes that the process would have ended with."""
    return []


def stuck(stop: StopRequest, codes: list[int], rescue: Callable[[], str] | None) -> None:
    """A main thread that gets SIGTERM and waits until somebody ends the process."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stop:
            stop.rescue = rescue
            os.kill(os.getpid(), signal.SIGTERM)
            until = time.monotonic() + 10
            while not codes and time.monotonic() < until:
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_stuck_loop_is_ended_and_the_last_update_kept(codes: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a process that waits for a disk until its machine is taken, and loses what it had done."""
    begin = time.monotonic()
    stuck(StopRequest(grace=4.0, leave=codes.append), codes, lambda: "step 7 is kept")
    assert codes == [143] and time.monotonic() - begin > 1.9
    assert "spikejax: stopped by SIGTERM while waiting: step 7 is kept\n" in capsys.readouterr().err


def test_a_loop_that_ends_late_ends_itself_where_the_rescue_fails(codes: list[int]) -> None:
    """Catches a slow save of the loop's own that is cut short because a second one beside it failed."""
    failed = threading.Event()

    def fail() -> str:
        failed.set()
        raise RuntimeError("dictionary changed size during iteration")

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with StopRequest(grace=2.0, leave=codes.append) as stop:
            stop.rescue = fail
            os.kill(os.getpid(), signal.SIGTERM)
            assert failed.wait(10)
            time.sleep(0.3)  # the last of the save
        time.sleep(0.2)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert codes == []


@pytest.mark.parametrize("kind", ["hangs", "fails", "is none"])
def test_a_rescue_that_does_not_succeed_ends_in_time_too(
    kind: str, codes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a process that outlives its time since what should save it waits as well, or fails."""
    never = threading.Event()

    def fail() -> str:
        raise OSError("no room")

    rescues: dict[str, Callable[[], str] | None] = {"hangs": lambda: str(never.wait()), "fails": fail, "is none": None}
    stuck(StopRequest(grace=1.0, leave=codes.append), codes, rescues[kind])
    never.set()
    assert codes[:1] == [143]
    printed = capsys.readouterr().err
    assert ("could not be kept (no room)" if kind == "fails" else "the last checkpoint is kept") in printed


def test_a_loop_that_leaves_is_not_ended(codes: list[int]) -> None:
    """Catches a run that is ended while it finishes in good order, and a pipe or thread that stays behind."""
    threads = threading.active_count()
    with StopRequest(grace=0.2, leave=codes.append) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
    time.sleep(0.4)
    assert codes == [] and threading.active_count() <= threads
    assert signal.set_wakeup_fd(-1) == -1


def test_a_second_signal_soon_after_is_no_complaint(codes: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback of Python's where SIGTERM comes twice, as `timeout` sends it, to a pipe that nobody reads."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with StopRequest(grace=60.0, leave=codes.append):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.3)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert codes == [] and capfd.readouterr().err == ""


def test_ctrl_c_has_no_clock(codes: list[int]) -> None:
    """Catches a save that takes its time after a Ctrl-C being cut, where nobody takes the machine."""
    with StopRequest(grace=0.2, leave=codes.append):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)
    assert codes == []
