"""Leaving in good order: Ctrl-C and SIGTERM ask the loop to save and stop; asking twice ends the process at once.

With many hosts a signal to any of them stops all of them at the same point.

A scheduler that sends SIGTERM takes the machine some seconds later, whatever the loop waits for: a read that never
returns, a disk that does not answer, minutes of compiling. So from a SIGTERM on a thread watches the clock. If the loop
has not left when half of the time is over, the thread keeps the last update itself and ends the process. Where that
fails the loop has the rest of the time, at whose end the thread ends the process in any case. It learns of the signal
by a pipe, for Python's handlers have to wait until the main thread is back from native code.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NoReturn

import jax

from spikejax.distributed import hosts
from spikejax.distributed.stall_watch import COLLECTIVE, waiting_for
from spikejax.errors import one_line
from spikejax.stopping import EXIT_TERMINATED, sigterm_is_handled, sigterm_was_handled

# Hosts learn of each other's signals this many questions later, so that they need not wait for the devices.
_LAG = 2
# From SIGTERM to SIGKILL schedulers (Slurm, Kubernetes, Cloud TPU) leave 30 s, of which the end itself takes some.
GRACE_SECONDS = 27.0
# What a process has for its end, after the loop has left at the last moment.
_LAST_SECONDS = 2.0


class StopRequest:
    """Context in which SIGINT and SIGTERM set `signal` instead of ending the process; main thread only."""

    def __init__(self, *, grace: float = GRACE_SECONDS, leave: Callable[[int], NoReturn] = os._exit) -> None:
        """Begins with the block.

        Args:
            grace: seconds after a SIGTERM in which the process ends, whatever it waits for.
            leave: ends the process.
        """
        self.signal: signal.Signals | None = None
        self.agreed = False  # whether `requested` has said so, on all hosts alike
        # Keeps the last update while the main thread is stuck, and returns what to say; None = nothing is kept.
        self.rescue: Callable[[], str] | None = None
        self._asked: deque[jax.Array] = deque()
        self._before: dict[signal.Signals, Any] = {}
        self._grace, self._leave = grace, leave
        self._ended = threading.Event()
        self._received_at: float | None = None  # when SIGTERM came
        self._kept = "the last checkpoint is kept"

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
        reading, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        self._wakeup_before = signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), name="end in time", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._received_at is not None:
            left = self._grace - (time.monotonic() - self._received_at)
            sigterm_was_handled(max(left, _LAST_SECONDS))
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._pipe)  # ends the thread
        self._give_back()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if number == signal.SIGTERM:
            self._received_at = time.monotonic()
            sigterm_is_handled()
        self._give_back()  # a second one means it: no waiting for the step or the save

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _watch(self, pipe: int) -> None:
        """Waits for a SIGTERM, and then for the main thread to leave."""
        # To the end of the block: Python complains of a pipe that nobody reads when another signal comes.
        with contextlib.closing(os.fdopen(pipe, "rb", buffering=0)) as told:
            while numbers := told.read(64):
                if signal.SIGTERM in numbers:
                    break
            else:
                return
            if self._ended.wait(self._grace / 2):
                return
            threading.Thread(target=self._rescue, name="last update", daemon=True).start()
            if not self._ended.wait(self._grace / 2):
                self._end(self._kept)

    def _rescue(self) -> None:
        if self.rescue is None:
            return
        try:
            said = self.rescue()
        except Exception as error:  # a disk that is full, or the main thread saves as well, and may yet end in time
            self._kept = f"the last update could not be kept ({one_line(error)}), the last checkpoint is"
            return
        if not self._ended.is_set():
            self._end(said)

    def _end(self, said: str) -> None:
        with contextlib.suppress(OSError):
            print(f"spikejax: stopped by SIGTERM while waiting: {said}", file=sys.stderr, flush=True)
        self._leave(EXIT_TERMINATED)
