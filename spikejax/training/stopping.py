"""Leaving in good order: Ctrl-C and SIGTERM ask the loop to save and stop; asking twice ends the process at once."""

import signal
from types import FrameType, TracebackType
from typing import Any


class StopRequest:
    """Context in which SIGINT and SIGTERM set `signal` instead of ending the process; main thread only."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

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
