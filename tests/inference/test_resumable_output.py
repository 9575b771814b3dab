"""Outputs that appear whole, are never lost and go on where they stopped."""

import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.inference.output_target import OutputTarget, VideoSource
from spikejax.inference.resumable_output import open_output
from spikejax.io.frame_source import open_frames

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)
DESCRIPTION = {"input": "a", "tile": "4,24,32"}


class StopForNow(Exception):
    """What stops a run in these tests."""


def write(
    target: OutputTarget, *, stop_at: int | None = None, resume: bool = False, description: dict[str, str] = DESCRIPTION
) -> None:
    """A run that writes all frames, or stops before one of them."""
    source = VideoSource(Fraction(25), Fraction(1, 1000))
    with open_output(target, source, names=None, description=description, resume=resume) as output:
        for number in range(output.done, len(FRAMES)):
            if number == stop_at:
                raise StopForNow
            output.write(FRAMES[number], Fraction(number * number, 100), {"psnr": float(number)})
        output.finish({"frames": output.done, "scores": output.scores})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("name", ["out", "out.mkv", "out.mp4"])
def test_going_on_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    """Catches frames lost or doubled where a run stopped, other times, figures lost, and remains of the work."""
    video = "also.mkv" if name == "out" else None
    for run in ("whole", "stopped"):
        (tmp_path / run).mkdir()
    whole, stopped = (
        OutputTarget(tmp_path / run / name, None if video is None else tmp_path / run / video)
        for run in ("whole", "stopped")
    )
    write(whole)
    for stop_at in (2, 2, 5):
        with pytest.raises(StopForNow):
            write(stopped, stop_at=stop_at, resume=True)
        assert not stopped.path.exists()
    write(stopped, resume=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert len(list(open_frames(stopped.path))) == len(FRAMES)
    assert json.loads(stopped.metrics.read_text())["scores"] == [{"psnr": float(number)} for number in range(6)]


def test_what_was_cut_by_a_crash_is_made_again(tmp_path: Path) -> None:
    """Catches a half-written line of figures, or a frame without figures, taken for whole."""
    target = OutputTarget(tmp_path / "out")
    with pytest.raises(StopForNow):
        write(target, stop_at=4)
    log = target.work / "scores.jsonl"
    log.write_bytes(log.read_bytes()[:-5])
    (target.work / "frames" / "000001.png").unlink()
    with open_output(target, VideoSource(), names=None, description=DESCRIPTION, resume=True) as output:
        assert output.done == 1
        assert output.scores == [{"psnr": 0.0}]


def test_another_run_does_not_go_on(tmp_path: Path) -> None:
    """Catches frames of two different runs in one output; and neither run is lost unasked."""
    target = OutputTarget(tmp_path / "out")
    with pytest.raises(StopForNow):
        write(target, stop_at=3)
    with pytest.raises(InputError, match="--resume"):
        write(target)
    with pytest.raises(InputError, match="tile was '4,24,32', is now '4,16,16'"):
        write(target, resume=True, description={**DESCRIPTION, "tile": "4,16,16"})
    assert len(list((target.work / "frames").iterdir())) == 3
    write(OutputTarget(target.path, overwrite=True))
    assert len(list(open_frames(target.path))) == 6


@pytest.mark.parametrize("name", ["out", "out.mp4"])
def test_an_output_replaces_another_only_if_asked(tmp_path: Path, name: str) -> None:
    """Catches a lost earlier result; asked for, the new one takes its place as a whole."""
    write(OutputTarget(tmp_path / name))
    with pytest.raises(InputError, match="--overwrite"):
        write(OutputTarget(tmp_path / name))
    write(OutputTarget(tmp_path / name, overwrite=True))
    assert len(list(open_frames(tmp_path / name))) == 6


@pytest.mark.parametrize("name", ["out", "out.mp4"])
def test_a_failure_before_the_first_frame_leaves_nothing(tmp_path: Path, name: str) -> None:
    """Catches half-written output, under its own name or a temporary one."""
    with pytest.raises(StopForNow):
        write(OutputTarget(tmp_path / name), stop_at=0)
    assert list(tmp_path.iterdir()) == []


def test_frames_keep_their_names(tmp_path: Path) -> None:
    """Catches frames that are renamed, or given a suffix that says another format."""
    names = tuple(f"left_{number}.jpg" for number in range(6))
    target = OutputTarget(tmp_path / "out")
    with open_output(target, VideoSource(), names=names, description=DESCRIPTION) as output:
        for frame in FRAMES:
            output.write(frame, None, {})
        output.finish({})
    assert sorted(os.listdir(tmp_path / "out")) == [*(f"left_{number}.png" for number in range(6)), "metrics.json"]
    np.testing.assert_array_equal(np.stack(list(open_frames(tmp_path / "out"))), FRAMES)
