"""Signals."""

import os
import signal

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
