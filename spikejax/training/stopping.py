"""Leaving in good order: Ctrl-C and SIGTERM ask the loop to save and stop; asking twice ends the process at once.

With many hosts a scheduler's SIGTERM to any of them stops all of them at the same point: JAX's preemption service,
which then owns that signal, finds it.
"""

import signal
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Context in which SIGINT and SIGTERM set `signal` instead of ending the process; main thread only."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._many_hosts = jax.process_count() > 1
        self._asked = 0
        self._before: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Returns whether to stop here; with many hosts, all of them must ask at the same points of the program."""
        if self.signal is None and self._many_hosts:
            self._asked += 1
            if multihost_utils.reached_preemption_sync_point(self._asked):
                self.signal = signal.SIGTERM
        return self.signal is not None

    def __enter__(self) -> "StopRequest":
        if not self._many_hosts:
            self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self._give_back()  # a second one means it: no waiting for the step or the save

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
