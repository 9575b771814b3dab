"""A host that fails, and those that it ends."""

import threading
from collections.abc import Iterator

import pytest

from spikejax.distributed import failure_watch
from spikejax.distributed.failure_watch import FailureWatch
from tests.distributed.test_stall_watch import Shelf

PERIOD = 0.02


class Hosts:
    """The watches of two hosts on one board, and how their processes have ended."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}
        self.ended = [threading.Event(), threading.Event()]
        board = Shelf()
        self.watches = [
            FailureWatch(board, process=process, processes=2, leave=self._leave(process), period=PERIOD)  # type: ignore[arg-type]
            for process in range(2)
        ]

    def _leave(self, process: int) -> object:
        def leave(code: int) -> None:
            self.codes[process] = code
            self.ended[process].set()
            self.watches[process]._ended.set()

        return leave


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    """Two hosts whose threads ask."""
    monkeypatch.setattr(failure_watch, "_OWN_WORDS_SECONDS", 0.5)
    hosts = Hosts()
    for watch in hosts.watches:
        watch.start()
    yield hosts
    for watch in hosts.watches:
        watch.stop()


def test_the_others_end_with_its_code_and_a_line(two: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches hosts that outlive one that has failed, end with another code, or do not say why."""
    two.watches[1].tell(2, "no space left on the disk")  # returns when process 0 knows
    assert two.ended[0].wait(30)
    assert two.codes == {0: 2}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spikejax: error: process 1 of 2 (")
    assert line.endswith(") has failed, which ends all: no space left on the disk")


def test_what_fails_on_all_is_said_by_each(two: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a host whose own words for what fails everywhere are replaced by another's."""
    threads = [threading.Thread(target=watch.tell, args=(4, "not finite")) for watch in two.watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert two.codes == {}
    assert capsys.readouterr().err == ""


def test_a_host_that_says_nothing_is_not_waited_for(two: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a failing host that never ends since another does not run any more."""
    monkeypatch.setattr(failure_watch, "_LEAVING_SECONDS", 0.2)
    two.watches[1].stop()
    two.watches[0].tell(2, "no space left on the disk")
    assert two.codes == {}
