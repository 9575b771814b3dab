"""When a run counts as one that does not get on, and what is said of it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikejax.cli import EXIT_STALLED
from spikejax.distributed import stall_watch
from spikejax.distributed.stall_watch import COLLECTIVE, DATA, HostState, StallWatch, accuse, explain

LIMIT = 40.0


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Shelf:
    """A `Board` in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def write(self, key: str, text: str) -> None:
        """See `Board`."""
        self.texts[key] = text

    def read(self, folder: str) -> dict[str, str]:
        """See `Board`."""
        texts = self.texts.items()
        return {key.removeprefix(folder + "/"): text for key, text in texts if key.startswith(folder + "/")}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock, and no thread that looks at it: `look` is called here."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    return Clock()


@pytest.fixture
def two(clock: Clock, tmp_path: Path) -> Iterator[tuple[StallWatch, StallWatch]]:
    """The watches of two hosts, whose main threads are this one."""
    board = Shelf()
    first, second = (
        StallWatch(LIMIT, tmp_path, process=process, processes=2, board=board, clock=clock) for process in range(2)
    )
    with first, second:
        yield first, second


def test_one_host_alone(clock: Clock, tmp_path: Path) -> None:
    """Catches a run that is ended though something has ended in time, or while it compiles, and one that is not."""
    with StallWatch(LIMIT, tmp_path, clock=clock) as watch:
        clock.now += LIMIT - 1
        assert watch.look() is None
        stall_watch.one_done()
        clock.now += LIMIT - 1
        assert watch.look() is None
        with stall_watch.compiling():
            clock.now += 100 * LIMIT
            assert watch.look() is None
        assert watch.look() is None
        clock.now += LIMIT / 4
        with stall_watch.waiting_for(DATA):
            clock.now += 3 * LIMIT / 4
            states = watch.look()
    assert states is not None and states[0] is not None
    assert (states[0].waits_for, states[0].idle, states[0].waited) == (DATA, LIMIT, 3 * LIMIT / 4)


def test_it_can_be_left_out(clock: Clock, tmp_path: Path) -> None:
    """Catches `--stall-seconds 0` that watches all the same, and a watch of an earlier block that still is told."""
    with StallWatch(0, tmp_path, clock=clock):
        assert stall_watch._current is None
    with StallWatch(LIMIT, tmp_path, clock=clock):
        assert stall_watch._current is not None
    assert stall_watch._current is None


def test_other_threads_say_nothing_of_the_main_one(clock: Clock, tmp_path: Path) -> None:
    """Catches a reading thread that makes a run look as if it waited for data."""
    said: list[str] = []
    with StallWatch(LIMIT, tmp_path, clock=clock) as watch:

        def read_ahead() -> None:
            with stall_watch.waiting_for(DATA):
                said.append(watch._activity.state(0, LIMIT).waits_for)

        thread = threading.Thread(target=read_ahead)
        thread._started.set()  # type: ignore[attr-defined]  # the fixture keeps threads from starting
        thread.run()
        assert said == [DATA]  # called from this thread, which is the main one here
        watch._activity._thread = -1
        thread = threading.Thread(target=read_ahead)
        read_ahead()
        assert said[1] == stall_watch.WORK


def test_all_hosts_have_to_stand_still(clock: Clock, two: tuple[StallWatch, StallWatch]) -> None:
    """Catches a run that is ended while one host compiles or gets on, for which the other waits."""
    first, second = two
    first_activity, second_activity = first._activity, second._activity
    first_activity._waits.append((COLLECTIVE, clock.now))
    with second_activity.while_compiling():
        for _ in range(10):
            clock.now += LIMIT
            assert (first.look(), second.look()) == (None, None)
    second_activity._waits.append((DATA, clock.now))
    for _ in range(9):
        clock.now += LIMIT / 10
        assert (second.look(), first.look()) == (None, None)
    ended = None
    for _ in range(3):
        clock.now += LIMIT / 10
        second.look()
        ended = ended or first.look()
    assert ended is not None
    assert {host: state and state.waits_for for host, state in ended.items()} == {0: COLLECTIVE, 1: DATA}
    assert accuse(ended).startswith("spikejax: stalled: the data was not there of process 1 (")


def test_a_host_that_says_nothing(clock: Clock, two: tuple[StallWatch, StallWatch]) -> None:
    """Catches a run that waits for ever for the word of a host whose interpreter does not run any more."""
    first, second = two
    clock.now += LIMIT / 2
    second.look()  # its last word: it gets on
    ended = None
    for _ in range(7):
        clock.now += LIMIT / 10
        ended = ended or first.look()
    assert ended is None  # it may be late
    for _ in range(6):
        clock.now += LIMIT / 10
        ended = ended or first.look()
    assert ended is not None and ended[1] is None and ended[0] is not None
    assert accuse(ended) == "spikejax: stalled: nothing is heard, though the connection lives, of process 1"


def test_what_is_said() -> None:
    """Catches lines without the number of the host, its machine, or for how long."""
    state = HostState(7, 65.0, True, "writer", 64.0, "node7")
    assert explain(state, 3, 4) == (
        "spikejax: stalled: process 3 of 4 on node7: nothing has ended for 1 min 05 s; "
        "it waits for: writer, for 1 min 04 s"
    )
    collective = HostState(7, 65.0, True, COLLECTIVE, 64.0, "node8")
    written = "the logs or frames cannot be written by process 1 (node7)"
    assert accuse({0: collective, 1: state}) == f"spikejax: stalled: {written}"
    assert accuse({0: collective}) == "spikejax: stalled: every process waits for the devices or for the others"


def test_alone_it_ends_with_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an end without stacks, with another code or in no account, and a main thread that goes on.

    The process is ended by a function that does not return in the real case; here it raises in the watching thread.
    """
    ended = threading.Event()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()
        threading.Event().wait()  # the thread stays until this process ends

    accounts: list[float] = []
    watch = StallWatch(0.3, tmp_path / "stalled", leave=leave)  # type: ignore[arg-type]
    watch.account = accounts.append
    with watch:
        with stall_watch.waiting_for(DATA):
            assert ended.wait(30)
        watch._declared.clear()
    assert codes == [EXIT_STALLED]
    assert len(accounts) == 1 and 0.3 <= accounts[0] < 30
    (path,) = (tmp_path / "stalled").iterdir()
    text = path.read_text()
    assert "the data was not there of process 0" in text
    assert "test_alone_it_ends_with_its_exit_code" in text  # of the main thread's stack
    assert text in capsys.readouterr().err
