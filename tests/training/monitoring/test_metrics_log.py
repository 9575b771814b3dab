"""metrics.jsonl: a point of each curve at each step, whatever happened to the processes that wrote it."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from spikejax.errors import InputError
from spikejax.training.monitoring.metrics_log import MetricsLog, read_points


def write(path: Path, steps: range, *, after: int, factor: float = 1.0) -> None:
    """What a process logs that goes on from `after`."""
    log = MetricsLog(path, step=after)
    for step in steps:
        log.write(step, "training", {"loss": factor * step, "loss/edges": 1.0})
    log.close()


def curve(path: Path, name: str = "loss") -> list[tuple[int, float]]:
    """The points of training/NAME, in the order of the file."""
    return [(point.step, point.value) for point in read_points(path) if point.name == name]


def lines(path: Path) -> list[dict[str, Any]]:
    """The file as any other program reads it."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_a_json_object(tmp_path: Path) -> None:
    """Catches a file that other programs cannot read, and another layout than the documented one."""
    log = MetricsLog(tmp_path / "metrics.jsonl", step=0)
    assert log.write(3, "training", {"loss": 0.25, "loss/edges": 1}) == {"loss": 0.25, "loss/edges": 1.0}
    log.close()
    first, second = lines(tmp_path / "metrics.jsonl")
    assert abs(first.pop("time") - second.pop("time")) < 1
    assert first == {"step": 3, "group": "training", "name": "loss", "value": 0.25}
    assert second == {"step": 3, "group": "training", "name": "loss/edges", "value": 1.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite(value: float, tmp_path: Path) -> None:
    """Catches NaN and Infinity written bare, which is no JSON, and a value that cannot be told from another."""

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 2), after=0, factor=value)
    (first, _) = path.read_text().splitlines()
    fields = json.loads(first, parse_constant=refuse)
    assert (fields["value"], fields["text"]) == (None, str(value))
    assert str(curve(path)[0][1]) == str(value)
    write(path, range(2, 3), after=1)
    assert str(curve(path)[0][1]) == str(value)


def test_what_comes_again_replaces_what_was_there(tmp_path: Path) -> None:
    """Catches points twice, points of two processes mixed, and points lost before the step that is gone on from."""
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 8), after=0)
    write(path, range(5, 10), after=4, factor=10.0)
    expected = [(step, float(step if step <= 4 else 10 * step)) for step in range(1, 10)]
    assert curve(path) == expected
    log = MetricsLog(path, step=6)
    assert [(point.step, point.curve) for point in log.removed] == [
        (step, f"training/{name}") for step in (7, 8, 9) for name in ("loss", "loss/edges")
    ]
    log.close()
    assert curve(path) == expected[:6]
    write(path, range(1, 3), after=0)
    assert curve(path) == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize("missing", [1, 10, 40])
def test_a_last_line_that_was_cut(missing: int, tmp_path: Path) -> None:
    """Catches half a line that the next point is written behind, which costs both."""
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 5), after=0)
    path.write_bytes(path.read_bytes()[:-missing])
    write(path, range(4, 6), after=3)
    assert len(lines(path)) == 10
    for name in ("loss", "loss/edges"):
        assert [step for step, _ in curve(path, name)] == [1, 2, 3, 4, 5]


POINT = {"step": 2, "group": "training", "name": "mine", "value": 1.0, "time": 1.0}
FOREIGN = [
    b"",
    b"# a note",
    b"\xff\xfe\0",
    b"{}",
    b"[" * 100_000,
    b"null",
    b'"text"',
    *(json.dumps({name: value for name, value in POINT.items() if name != left_out}).encode() for left_out in POINT),
    *(json.dumps(POINT | {"step": step}).encode() for step in (None, 2.5, "2", True, -1, [], math.inf)),
    *(json.dumps(POINT | {"group": group}).encode() for group in (None, 1, ["training"], {})),
    *(json.dumps(POINT | {"name": name}).encode() for name in (None, 1, ["loss"])),
    *(json.dumps(POINT | {"value": value}).encode() for value in (None, "much", [], {}, 10**400)),
    *(json.dumps(POINT | {"time": time}).encode() for time in (None, "now", math.nan, 10**400)),
    b'{"step": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=range(len(FOREIGN)))
def test_lines_that_are_no_points(foreign: bytes, tmp_path: Path) -> None:
    """Catches a run that cannot go on for a line that something else has written, and one that keeps what none reads.

    Points of something else, of a group of its own, are kept.
    """
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 4), after=0)
    mine = json.dumps(POINT).encode()
    path.write_bytes(foreign + b"\n" + mine + b"\n" + path.read_bytes() + foreign)
    write(path, range(4, 5), after=3)
    assert [step for step, _ in curve(path)] == [1, 2, 3, 4]
    assert curve(path, "mine") == [(2, 1.0)]
    assert len(lines(path)) == 9


def test_what_is_no_file(tmp_path: Path) -> None:
    """Catches a traceback where something is in the way, and a wait without end for a pipe."""
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    with pytest.raises(InputError, match=rf"^expected a file, found a folder: {path}$"):
        MetricsLog(path, step=0)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(InputError, match=rf"^expected a file, found no plain file: {path}$"):
        MetricsLog(path, step=0)


def test_a_whole_file_is_only_added_to(tmp_path: Path) -> None:
    """Catches a large file written anew at each start, under a reader that follows it."""
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 5), after=0)
    before = path.stat().st_ino
    write(path, range(5, 6), after=4)
    assert path.stat().st_ino == before
    assert [step for step, _ in curve(path)] == [1, 2, 3, 4, 5]


def test_the_step_that_is_gone_on_from_is_not_logged_twice(tmp_path: Path) -> None:
    """Catches the validation at the end doubled where the command is run once more, and a new metric of it lost."""
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 5), after=0)
    first = MetricsLog(path, step=4)
    first.write(4, "validation", {"psnr": 30.0})
    first.close()
    again = MetricsLog(path, step=4)
    assert again.write(4, "validation", {"psnr": 30.0, "ssim": 0.9}) == {"ssim": 0.9}
    assert again.write(5, "validation", {"psnr": 31.0}) == {"psnr": 31.0}
    again.close()
    points = [(point.step, point.name) for point in read_points(path) if point.group == "validation"]
    assert points == [(4, "psnr"), (4, "ssim"), (5, "psnr")]
