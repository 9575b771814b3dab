"""The account of a run's time over all the processes that it takes."""

import json
from pathlib import Path

import pytest

from spikejax.training.monitoring.goodput import Goodput


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        """Stands at 100 s; the calendar is at 1,000 s."""
        self.now, self.shift = 100.0, 900.0

    def __call__(self) -> float:
        """Seconds that nobody sets."""
        return self.now

    def wall(self) -> float:
        """Seconds since 1970."""
        return self.now + self.shift


def account(path: Path | None, clock: Clock, step: int, notes: list[str] | None = None) -> Goodput:
    """Of a process that starts now."""
    note = notes.append if notes is not None else pytest.fail
    return Goodput(path, step=step, started=clock(), clock=clock, wall=clock.wall, note=note)


def test_a_run_of_two_processes(tmp_path: Path) -> None:
    """Catches updates that are done again counted as progress, and causes or pauses that are lost with a process."""
    clock, path = Clock(), tmp_path / "goodput.json"
    first = account(path, clock, 0)
    with first.spent_on("compiling"):
        clock.now += 6
    clock.now += 4
    assert first.first_update() == 10
    clock.now += 10  # of which 2 go to data
    first.add("data", 2.0)
    first.count(8)
    first.write(at_once=True)
    assert first.totals()["share"] == pytest.approx(8 / 20)
    clock.now += 5  # killed, and started again
    second = account(path, clock, 6)
    second.add("reading", 1.0)
    clock.now += 3
    second.first_update()
    second.count(7)
    clock.now += 2
    totals = second.totals()
    assert totals == {
        "share": pytest.approx((6 + 2) / 25),  # 2 of the first process's 8 s of updates are done again
        "updating": pytest.approx(8.0),
        "starting": pytest.approx(4.0 + 2.0),
        "reading": 1.0,
        "compiling": 6.0,
        "data": 2.0,
        "saving": 0.0,
        "validation": 0.0,
        "redone": pytest.approx(2.0),
        "stalled": 0.0,
        "between": pytest.approx(5.0),
        "processes": 2,
    }
    assert second.goes_on and not first.goes_on
    assert second.text() == (
        "32% of 25 s in 2 processes made progress; starting 6 s, compiling 6 s, data 2 s, redone 2 s, reading 1 s; "
        "5 s between processes"
    )


def test_a_process_that_stalled(tmp_path: Path) -> None:
    """Catches hours of a stall that count as updates, and that are not on disk when the process ends."""
    clock, path = Clock(), tmp_path / "goodput.json"
    stuck = account(path, clock, 0)
    stuck.first_update()
    clock.now += 90
    stuck.count(4)
    stuck.stalled(80.0)
    again = account(path, clock, 4)
    assert (again.totals()["stalled"], again.totals()["updating"]) == (80.0, 10.0)


def test_going_back_twice_counts_updates_once(tmp_path: Path) -> None:
    """Catches a run that was killed often, whose early updates are taken off again with every start."""
    clock, path = Clock(), tmp_path / "goodput.json"
    for start, reached in ((0, 10), (5, 8), (5, 9)):
        process = account(path, clock, start)
        process.first_update()
        process.count(reached)
        clock.now += reached - start
        process.write(at_once=True)
    totals = account(path, clock, 5).totals()
    assert totals["redone"] == pytest.approx(5 + 3 + 4)
    assert totals["updating"] == pytest.approx(5.0)


def test_a_clock_that_is_put_back(tmp_path: Path) -> None:
    """Catches a negative pause, where the calendar was put back between two processes."""
    clock, path = Clock(), tmp_path / "goodput.json"
    account(path, clock, 0).write(at_once=True)
    clock.shift -= 500
    assert account(path, clock, 0).totals()["between"] == 0.0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"processes": 3}',
        '{"processes": [{}]}',
        '{"processes": [null]}',
        '{"processes": [{"started": 1, "heard": 1, "from": 3, "to": 1, "seconds": 1, "spent": {}}]}',
        '{"processes": [{"started": 1, "heard": 1, "from": 0, "to": 1, "seconds": NaN, "spent": {}}]}',
        '{"processes": [{"started": 1, "heard": 1, "from": 0, "to": 1, "seconds": 1, "spent": {"data": -1}}]}',
        '{"processes": [{"started": 1, "heard": 1, "from": 0, "to": true, "seconds": 1, "spent": []}]}',
    ],
)
def test_a_damaged_file_is_said_and_left(content: str, tmp_path: Path) -> None:
    """Catches a run that does not go on since the account of its time is damaged, or that says nothing."""
    path, notes = tmp_path / "goodput.json", []
    path.write_text(content)
    goodput = account(path, Clock(), 3, notes)
    assert len(notes) == 1 and str(path) in notes[0]
    assert goodput.totals()["processes"] == 1
    goodput.write(at_once=True)
    assert len(json.loads(path.read_text())["processes"]) == 1


def test_other_hosts_write_nothing() -> None:
    """Catches a second host that writes over the account of the first."""
    goodput = account(None, Clock(), 0)
    goodput.stalled(1.0)
    assert goodput.totals()["stalled"] == 1.0
