"""A host that fails ends the others at once, with a line of theirs and its exit code.

What one host alone meets, a full disk or a file that it cannot read, leaves the others in a collective, or at a barrier
of the checkpoint's, for what it was to do next; JAX's runtime ends them when it has heard nothing for a while, by a
signal and with a stack trace. So a host that fails says so first, by the key-value store of JAX's coordination service,
and every host has a thread that asks there. The one that failed stays until all others have read it: its end would
break their collectives, each with an error of its own.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from spikejax.distributed.stall_watch import Board

_PERIOD = 1.0  # between two questions
# What fails on all hosts alike is said by each in its own words: how long one may take to come to it.
_OWN_WORDS_SECONDS = 2.0
# A host that does not read any more is not waited for any longer.
_LEAVING_SECONDS = 15.0


class FailureWatch:
    """The thread of one host that asks whether another has failed; from `start` to `stop`."""

    def __init__(
        self,
        board: Board,
        *,
        process: int,
        processes: int,
        leave: Callable[[int], NoReturn] = os._exit,
        period: float = _PERIOD,
    ) -> None:
        """Does nothing yet.

        Args:
            board: of the hosts.
            process: number of this host.
            processes: number of all.
            leave: ends the process.
            period: seconds between two questions.
        """
        self._board, self._process, self._processes, self._leave = board, process, processes, leave
        self._period = period
        self._ended, self._leaving = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="failure watch", daemon=True)

    def start(self) -> None:
        """Asks from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Asks no more: the process ends."""
        self._ended.set()
        self._thread.join(self._period + _PERIOD)

    def tell(self, code: int, reason: str) -> None:
        """Says that this host has failed, and waits until the others know.

        Args:
            code: that it ends with, and they.
            reason: in a line.
        """
        if self._leaving.is_set():  # what the others' end does to a collective; the process is about to end
            self._thread.join()
        self._ended.set()
        with suppress(Exception):  # the coordinator has gone: there is nobody to be told
            text = json.dumps({"code": code, "reason": reason, "name": socket.gethostname()})
            self._board.write(f"failure/{self._process}", text)
            self._wait_for_others()

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            try:
                failures = self._board.read("failure")
            except Exception:  # the coordinator has gone, which JAX's runtime ends this process for
                return
            if failures and not self._ended.wait(_OWN_WORDS_SECONDS):
                self._end(failures)

    def _end(self, failures: dict[str, str]) -> None:
        self._leaving.set()
        first = min(failures, key=int)
        failure = json.loads(failures[first])
        who = f"process {first} of {self._processes} ({failure['name']})"
        with suppress(OSError):
            print(
                f"spikejax: error: {who} has failed, which ends all: {failure['reason']}", file=sys.stderr, flush=True
            )
        with suppress(Exception):
            self._wait_for_others()
        self._leave(failure["code"])

    def _wait_for_others(self) -> None:
        self._board.write(f"leaving/{self._process}", "")
        until = time.monotonic() + _LEAVING_SECONDS
        while time.monotonic() < until and len(self._board.read("leaving")) < self._processes:
            time.sleep(0.1)
        if self._process == 0:  # it is the coordinator, whose end ends the others by their runtime
            time.sleep(1)
