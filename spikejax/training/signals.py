"""Leaving in good order: Ctrl-C and SIGTERM ask the loop to save and stop; asking twice ends the process at once.

With many hosts a signal to any of them stops all of them at the same point.
"""

import signal
from collections import deque
from types import FrameType, TracebackType
from typing import Any

import jax

from spikejax.distributed import hosts
from spikejax.distributed.stall_watch import COLLECTIVE, waiting_for

# Hosts learn of each other's signals this many questions later, so that they need not wait for the devices.
_LAG = 2


class StopRequest:
    """Context in which SIGINT and SIGTERM set `signal` instead of ending the process; main thread only."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.agreed = False  # whether `requested` has said so, on all hosts alike
        self._asked: deque[jax.Array] = deque()
        self._before: dict[signal.Signals, Any] = {}

    def requested(self) -> bool:
        """Whether to stop here; with many hosts, all of them ask at the same points of the program."""
        if not self.agreed and jax.process_count() == 1:
            self.agreed = self.signal is not None
        elif not self.agreed:
            self._asked.append(hosts.on_any(self.signal is not None))
            with waiting_for(COLLECTIVE):
                self.agreed = len(self._asked) > _LAG and bool(self._asked.popleft())
            if self.agreed and self.signal is None:
                self.signal = signal.SIGTERM  # another host's
        return self.agreed

    def __enter__(self) -> "StopRequest":
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
