"""A host that is alive but does not get on: seen, explained and ended, for a launcher to start everything again.

A read that never returns or a collective that never completes keeps a process alive for ever, and with it every other
host, which waits for its part. So a thread watches the clock. When no update, validated clip or restored tile has ended
on any host for a number of seconds, each host writes the stacks of its threads and what it waits for, the first one
names those whose data was not there, and all end with `EXIT_STALLED`. Compiling a program does not count.

Hosts tell each other by the key-value store of JAX's coordination service, which needs neither the devices nor a disk:
both may be what stands still. A host whose interpreter does not run any more (native code that holds its lock) says
nothing there, and counts as one that stands still.

What the main thread does is a matter of the process, like its signals: `waiting_for`, `compiling` and `one_done` say
it, from wherever they are called, and cost nothing where nobody watches.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import NoReturn, Protocol, runtime_checkable

from spikejax.cli import EXIT_STALLED
from spikejax.errors import one_line
from spikejax.io.paths import UserPath
from spikejax.progress import duration

# What a host may wait for; where it says nothing else it is at work itself.
DATA, COLLECTIVE, CHECKPOINT, WRITER, WORK = "data", "collective", "checkpoint", "writer", "work of its own"
_PERIODS = 20  # looks at the clock in the seconds after which a run has stalled
_LONGEST_PERIOD = 10.0
# A disk may be what stands still: how long writing the stacks may take, and how long the others are waited for.
_WRITING_SECONDS, _LEAVING_SECONDS = 10.0, 30.0


@dataclass(frozen=True)
class HostState:
    """What a host says of itself.

    Attributes:
        tick: grows with every look at the clock, so that a host that says nothing any more is known by it.
        idle: seconds in which nothing has ended.
        stalled: whether those are too many.
        waits_for: what, in words.
        waited: seconds for that.
        name: of the machine.
    """

    tick: int
    idle: float
    stalled: bool
    waits_for: str
    waited: float
    name: str


@runtime_checkable
class Board(Protocol):
    """Where hosts read what others say, without the devices."""

    def write(self, key: str, text: str) -> None:
        """Puts a text there, in place of the one before."""

    def read(self, folder: str) -> dict[str, str]:
        """The texts below FOLDER/, by the rest of their keys."""


class Activity:
    """What the main thread does.

    Attributes:
        last: when something ended, or compiling did.
        compiling: whether a program is being compiled.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begins at work."""
        self._clock = clock
        self._thread = threading.get_ident()
        self._waits: list[tuple[str, float]] = []
        self.last = clock()
        self.compiling = 0

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that is watched."""
        return threading.get_ident() == self._thread

    def one_done(self) -> None:
        """Notes that an update, a clip or a tile has ended."""
        self.last = self._clock()

    @contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """Notes what the block waits for."""
        self._waits.append((what, self._clock()))
        try:
            yield
        finally:
            self._waits.pop()

    @contextmanager
    def while_compiling(self) -> Iterator[None]:
        """Lets the time of the block not count."""
        self.compiling += 1
        try:
            yield
        finally:
            self.compiling -= 1
            self.last = self._clock()

    def state(self, tick: int, limit: float) -> HostState:
        """What there is to say of it."""
        now = self._clock()
        idle = 0.0 if self.compiling else now - self.last
        what, since = (*self._waits, (WORK, self.last))[0]
        if self.compiling:
            what = "compiling"
        return HostState(tick, round(idle, 1), idle >= limit, what, round(now - since, 1), socket.gethostname())


_current: Activity | None = None


@contextmanager
def waiting_for(what: str) -> Iterator[None]:
    """Says that the block waits for something: `DATA`, `COLLECTIVE`, `CHECKPOINT` or `WRITER`."""
    activity = _current
    if activity is None or not activity.is_here:
        yield
    else:
        with activity.waiting_for(what):
            yield


@contextmanager
def compiling() -> Iterator[None]:
    """Lets the time of the block not count: a program is compiled."""
    activity = _current
    if activity is None or not activity.is_here:
        yield
    else:
        with activity.while_compiling():
            yield


def one_done() -> None:
    """Says that an update, a validated clip or a restored tile has ended."""
    if _current is not None:
        _current.one_done()


class StallWatch:
    """Context in which the process ends with `EXIT_STALLED` when all hosts stand still.

    Attributes:
        account: told, before the process ends, for how many seconds nothing has ended.
    """

    def __init__(
        self,
        seconds: float,
        folder: UserPath,
        *,
        process: int = 0,
        processes: int = 1,
        board: Board | None = None,
        clock: Callable[[], float] = time.monotonic,
        leave: Callable[[int], NoReturn] = os._exit,
    ) -> None:
        """Begins with the block.

        Args:
            seconds: in which something has to end; 0 = the block is not watched.
            folder: for the stacks.
            process: number of this host.
            processes: number of all.
            board: of hosts, if there are others.
            clock: the time in seconds.
            leave: ends the process.
        """
        self._seconds, self._folder, self._clock, self._leave = seconds, folder, clock, leave
        self.account: Callable[[float], None] = lambda seconds: None
        self._process, self._processes, self._board = process, processes, board
        self._period = min(seconds / _PERIODS, _LONGEST_PERIOD)
        self._ended, self._declared = threading.Event(), threading.Event()
        self._tick = 0
        # Of each host, since this one stands still: its tick, when that was heard first, whether it has grown.
        self._heard: dict[int, tuple[int, float, bool]] = {}

    def __enter__(self) -> StallWatch:
        global _current
        if self._seconds:
            self._activity = _current = Activity(self._clock)
            threading.Thread(target=self._run, name="stall watch", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        global _current
        if not self._seconds:
            return
        _current = None
        self._ended.set()
        while self._declared.is_set():  # what the first host to leave does to the others' collectives comes out here
            time.sleep(1)

    def look(self) -> dict[int, HostState | None] | None:
        """What every host says if all stand still (None: says nothing), else None; to be asked every now and then."""
        self._tick += 1
        own = self._activity.state(self._tick, self._seconds)
        if self._board is None:
            return {self._process: own} if own.stalled else None
        self._board.write(f"state/{self._process}", json.dumps(asdict(own)))
        if not own.stalled:
            self._heard.clear()
            return None
        states = self._said(own)
        return self._answers(states, self._clock())

    def _said(self, own: HostState) -> dict[int, HostState]:
        assert self._board is not None
        said = {int(host): HostState(**json.loads(text)) for host, text in self._board.read("state").items()}
        return said | {self._process: own}

    def _answers(self, states: Mapping[int, HostState], now: float) -> dict[int, HostState | None] | None:
        """What each host says since this one stands still; None if one of them gets on, or may yet say something."""
        patience = max(self._seconds / 2, 3 * self._period)
        answers: dict[int, HostState | None] = {}
        for host in range(self._processes):
            state = states.get(host)
            tick = 0 if state is None else state.tick
            known, since, lives = self._heard.get(host, (tick, now, False))
            if tick != known:
                since, lives = now, True
            self._heard[host] = tick, since, lives
            if now - since >= patience:
                answers[host] = None
            elif state is not None and state.stalled and (lives or host == self._process):
                answers[host] = state
            else:
                return None
        return answers

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            try:
                states = self.look()
                if states is None and self._board is not None and self._board.read("verdict"):
                    states = dict(self._said(self._activity.state(self._tick, self._seconds)))
            except Exception as error:  # the coordinator has gone, which JAX's runtime ends this process for
                print(f"spikejax: the other hosts cannot be asked: {one_line(error)}", file=sys.stderr, flush=True)
                return
            if states is not None and not self._ended.is_set():
                self._declared.set()
                self._end(states)

    def _end(self, states: Mapping[int, HostState | None]) -> None:
        own = states[self._process]
        assert own is not None
        text = f"{explain(own, self._process, self._processes)}\n{all_stacks()}"
        if self._board is not None:
            self._board.write("verdict/all", "stalled")
        if self._process == min(host for host, state in states.items() if state is not None):
            text = f"{accuse(states)}\n{text}"
        path = self._folder / f"{time.strftime('%Y-%m-%dT%H.%M.%S')}_process_{self._process}.txt"
        _within(_WRITING_SECONDS, lambda: _write(path, text))
        last = f"spikejax: ends with exit code {EXIT_STALLED}, to be started again; this text is in {path}"
        _within(_WRITING_SECONDS, lambda: print(f"{text}\n{last}", file=sys.stderr, flush=True))
        _within(_WRITING_SECONDS, lambda: self.account(own.idle))
        self._wait_for_others(states)
        self._leave(EXIT_STALLED)

    def _wait_for_others(self, states: Mapping[int, HostState | None]) -> None:
        """Waits until all hosts that can have written theirs: one that has left ends the others' collectives."""
        if self._board is None:
            return
        self._board.write(f"left/{self._process}", "")
        until = time.monotonic() + _LEAVING_SECONDS
        expected = {str(host) for host in range(self._processes) if states.get(host) is not None}
        while time.monotonic() < until and not expected <= self._board.read("left").keys():
            time.sleep(0.1)
        if self._process == 0:  # it is the coordinator, whose end ends the others by their runtime
            time.sleep(1)


def explain(own: HostState, process: int, processes: int) -> str:
    """A line on a host that stands still."""
    who = f"process {process} of {processes} on {own.name}"
    for_how_long = f"nothing has ended for {duration(own.idle)}"
    return f"spikejax: stalled: {who}: {for_how_long}; it waits for: {own.waits_for}, for {duration(own.waited)}"


def accuse(states: Mapping[int, HostState | None]) -> str:
    """A line on whose fault it is that all hosts stand still.

    Args:
        states: of all hosts; None for one that says nothing.
    """
    silent = [host for host, state in states.items() if state is None]
    by_wait: dict[str, list[int]] = {}
    for host, state in states.items():
        if state is not None:
            by_wait.setdefault(state.waits_for, []).append(host)
    # All that have their data wait for those that do not, wherever they happen to be.
    for what, words in (
        (DATA, "the data was not there of"),
        (WRITER, "the logs or frames cannot be written by"),
        (WORK, "at work without an end:"),
        (CHECKPOINT, "the checkpoint does not come to its end on"),
    ):
        if silent:
            break
        if what in by_wait:
            return f"spikejax: stalled: {words} {_named(by_wait[what], states)}"
    if silent:
        return f"spikejax: stalled: nothing is heard, though the connection lives, of {_named(silent, states)}"
    return "spikejax: stalled: every process waits for the devices or for the others"


def _named(hosts: list[int], states: Mapping[int, HostState | None]) -> str:
    def one(host: int) -> str:
        state = states[host]
        return f"process {host}" if state is None else f"process {host} ({state.name})"

    return ", ".join(map(one, hosts))


def all_stacks() -> str:
    """The stacks of all threads of Python."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = []
    for number, frame in sys._current_frames().items():
        if number != threading.get_ident():
            parts.append(f"thread {names.get(number, number)}:\n{''.join(traceback.format_stack(frame))}")
    return "\n".join(parts)


def _write(path: UserPath, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def _within(seconds: float, work: Callable[[], object]) -> None:
    """Does something in a thread of its own, and goes on when it is done, has failed, or takes too long."""

    def run() -> None:
        try:
            work()
        except Exception as error:  # a disk that is full, a terminal that has gone: the process ends in any case
            print(f"spikejax: {error}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
