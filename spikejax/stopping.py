"""The end of a process that gets SIGTERM: exit code 143, within the time that schedulers leave, whatever it waits for.

A command that has not said otherwise ends as it does with Ctrl-C: `Terminated` is raised in the main thread, so that
nothing stays behind by halves and locks are let go. Where Python ignores what is raised, while it collects garbage or
in a `__del__`, it is raised again soon after, and so is Ctrl-C's. Python can raise it only between two steps of its
own. A program that compiles, a frame that decodes, a thread that waits for a pipe and that the interpreter would wait
for at its end know nothing of it, so a thread of its own watches the clock, and ends the process when that is up. It
learns of the signal by a pipe, which Python writes to from any thread. The loop of training has a way of its own to
stop (`spikejax.training.signals`), which takes the place of this one for its time.

Children that are forked die of SIGTERM as they would without all this: who ends a pool of workers sends it to them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

EXIT_TERMINATED = 128 + signal.SIGTERM
# Of the 10 s that `docker stop` leaves, the shortest of all; a command has nothing to do then but tidying up.
TIDY_SECONDS = 8.0
# After which an exception that was ignored is raised again.
_AGAIN_SECONDS = 0.05


class Terminated(BaseException):
    """The process has got SIGTERM; like KeyboardInterrupt, no error that anybody handles."""


class TerminationWatch:
    """What makes a process end on SIGTERM; one of a process, from the main thread."""

    def __init__(self, *, seconds: float = TIDY_SECONDS, leave: Callable[[int], NoReturn] = os._exit) -> None:
        """Begins, and goes on until the process ends.

        Args:
            seconds: from a SIGTERM on, in which the process ends.
            leave: ends it.
        """
        self._seconds, self._leave = seconds, leave
        self._asked = False
        self._clock_lock, self._clock_runs = threading.Lock(), False
        reading, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        signal.signal(signal.SIGTERM, self._receive)
        signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)
        self._show, sys.unraisablehook = sys.unraisablehook, self._raise_again
        os.register_at_fork(after_in_child=_die_of_signals)
        threading.Thread(target=self._watch, args=(reading,), name="end on SIGTERM", daemon=True).start()

    def note_asked(self) -> None:
        """Has the next SIGTERM end the process at once: somebody who handles the first knows of it."""
        self._asked = True

    def end_within(self, seconds: float) -> None:
        """Ends the process after so many seconds, unless it has ended by then."""
        with self._clock_lock:
            if self._clock_runs:
                return
            self._clock_runs = True
        clock = threading.Timer(seconds, self._end)
        clock.daemon = True
        clock.start()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            self._leave(EXIT_TERMINATED)
        self._asked = True
        raise Terminated

    def _raise_again(self, ignored: sys.UnraisableHookArgs) -> None:
        if ignored.exc_type is Terminated:
            number, self._asked = signal.SIGTERM, False
        elif ignored.exc_type is KeyboardInterrupt:
            number = signal.SIGINT
        else:
            return self._show(ignored)
        # Not here, where it would be ignored as well.
        again = threading.Timer(_AGAIN_SECONDS, _interrupt_main, [number])
        again.daemon = True
        again.start()

    def _watch(self, pipe: int) -> None:
        with os.fdopen(pipe, "rb", buffering=0) as numbers:
            while told := numbers.read(64):  # to the end of the process: Python complains of a pipe that nobody reads
                if signal.SIGTERM in told:
                    self.end_within(self._seconds)

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            print("spikejax: stopped by SIGTERM while waiting; what was done is kept", file=sys.stderr, flush=True)
        self._leave(EXIT_TERMINATED)


def _interrupt_main(number: signal.Signals) -> None:
    """Has the main thread handle a signal; where there is a way to, whatever it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        interrupt_main(number)


def _die_of_signals() -> None:
    """In a child that was forked: lets go of the pipe, by which its signals would be taken for the parent's."""
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


_watch: TerminationWatch | None = None  # of this process, if it is a command's


def end_on_sigterm() -> None:
    """Has SIGTERM end this process, as the module says; nothing changes where it is ignored on purpose."""
    global _watch
    in_main = threading.current_thread() is threading.main_thread()
    if _watch is None and in_main and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        _watch = TerminationWatch()


def sigterm_is_handled() -> None:
    """Says that somebody handles a SIGTERM: another one ends the process at once, if it is a command's."""
    if _watch is not None:
        _watch.note_asked()


def sigterm_was_handled(seconds_left: float) -> None:
    """Says that who handled a SIGTERM is done: a process that is a command's has so many seconds to its end."""
    if _watch is not None:
        _watch.end_within(seconds_left)
