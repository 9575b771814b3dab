"""Which frames are planned, by the headers of made files: windows, times, sizes, and what splits a sequence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikejax.data.preparation.frame_selection import FrameKey, FrameRules, PlannedFrame, plan_preparation
from spikejax.data.preparation.published_layouts import SourceFrame, SourceSequence
from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from tests.data.published import picture, save, spikes

STEPS = 6


def usable(key: FrameKey, frame: PlannedFrame) -> str:
    """No frame's content is useless."""
    return ""


def make_frames(folder: Path, count: int = 4, **fields: Any) -> tuple[SourceFrame, ...]:
    """Frames with pictures and streams of their own."""
    frames = []
    for n in range(count):
        paths = (folder / "blur" / f"{n}.png", folder / "sharp" / f"{n}.png", folder / "spike" / f"{n}.dat")
        for path in paths[:2]:
            save(path, picture(n))
        save(paths[2], spikes(n, STEPS))
        frames.append(SourceFrame(n, str(n), *paths, **fields))
    return tuple(frames)


def sequence(frames: tuple[SourceFrame, ...], **fields: Any) -> SourceSequence:
    """A training sequence with spikes of half the pictures' size."""
    return SourceSequence("train", "walk", frames, **{"ratio": 2, **fields})


def share_stream(folder: Path, frames: tuple[SourceFrame, ...], steps: int) -> tuple[SourceFrame, ...]:
    """The same frames, with one stream for all of them."""
    save(folder / "all.dat", spikes(7, steps))
    return tuple(replace(frame, stream=folder / "all.dat") for frame in frames)


def reasons(source: SourceSequence, rules: FrameRules | None = None) -> dict[str, str]:
    """Why frames are left out, by their names."""
    plan = plan_preparation([source], rules or FrameRules(), usable)
    return {row.frame: row.reason for row in plan.dropped["train"]}


def windows(source: SourceSequence) -> list[tuple[tuple[int, int], int]]:
    """Each planned frame's steps of its file, and its first step of the sequence."""
    plan = plan_preparation([source], FrameRules(), usable)
    return [(frame.window, frame.t0) for planned in plan.sequences for frame in planned.frames]


def test_a_whole_sequence_is_planned_under_its_own_name(tmp_path: Path) -> None:
    """Catches paths exchanged, a size that is another file's, and a name with a first frame that nothing cut off."""
    frames = make_frames(tmp_path)
    plan = plan_preparation([sequence(frames)], FrameRules(), usable)
    (planned,) = plan.sequences
    assert (planned.split, planned.name, planned.source) == ("train", "walk", "walk")
    assert (planned.size, planned.spike_size) == ((16, 24), (8, 12))
    assert [(f.name, f.blur, f.sharp, f.stream) for f in planned.frames] == [
        (f.name, f.blur, f.sharp, f.stream) for f in frames
    ]
    assert plan.dropped == {"train": []}


def test_times_of_streams_of_their_own(tmp_path: Path) -> None:
    """Catches windows that all begin at 0, and a time that the layout knows and that is counted up instead."""
    frames = make_frames(tmp_path)
    assert windows(sequence(frames)) == [((0, STEPS), STEPS * n) for n in range(4)]
    late = (frames[0], replace(frames[1], t0=100), *frames[2:])
    assert [t0 for _, t0 in windows(sequence(late))] == [0, 100, 106, 112]


def test_a_shared_stream_is_cut_into_equal_windows(tmp_path: Path) -> None:
    """Catches the same window for all, and windows that move up when a frame before them is left out."""
    frames = share_stream(tmp_path, make_frames(tmp_path), 20)
    assert windows(sequence(frames)) == [((5 * n, 5 * n + 5), 5 * n) for n in range(4)]
    frames[0].blur.write_text("no picture")  # type: ignore[union-attr]
    assert windows(sequence(frames)) == [((5 * n, 5 * n + 5), 5 * n) for n in (1, 2, 3)]
    assert (
        "for 4 windows of equal length, found 21 of 8x12" in reasons(sequence(share_stream(tmp_path, frames, 21)))["1"]
    )


def test_windows_that_a_layout_knows(tmp_path: Path) -> None:
    """Catches windows ignored, and those that lie outside the stream, are empty, or begin before it."""
    frames = share_stream(tmp_path, make_frames(tmp_path), 20)
    known = [(0, 8), (4, 12), (12, 20), (3, 4)]
    with_windows = tuple(replace(frame, window=window) for frame, window in zip(frames, known, strict=True))
    assert [window for window, _ in windows(sequence(with_windows))] == known
    wrong = [(13, 21), (4, 4), (-1, 8), (0, 8)]
    with_windows = tuple(replace(frame, window=window) for frame, window in zip(frames, wrong, strict=True))
    found = reasons(sequence(with_windows))
    assert list(found) == ["0", "1", "2"]
    assert "expected stream frames 13 to 20, found 20 of 8x12" in found["0"]


def test_the_length_that_a_layout_expects(tmp_path: Path) -> None:
    """Catches a truncated stream that is stretched over the exposure."""
    frames = make_frames(tmp_path)
    write_dat(tmp_path / "spike" / "2.dat", spikes(0, STEPS - 1))
    (reason,) = reasons(sequence(frames, steps=STEPS)).values()
    assert "expected 6 stream frames in the window, found 5 of 8x12" in reason and "2.dat" in reason


@pytest.mark.parametrize(
    ("change", "rules", "expected"),
    [
        (lambda path: cv2.imwrite(str(path), np.zeros((16, 24), np.uint8)), FrameRules(), "mode L"),
        (lambda path: cv2.imwrite(str(path), np.zeros((16, 24), np.uint8)), FrameRules(grey=True), None),
        (lambda path: cv2.imwrite(str(path), np.zeros((16, 24), np.uint16)), FrameRules(grey=True), "mode I;16"),
        (lambda path: save(path, np.zeros((24, 16, 3), np.uint8)), FrameRules(), "16x24 as the sequence's first"),
        (lambda path: None, FrameRules(smallest_side=16), None),
    ],
)
@pytest.mark.parametrize("kind", ["blur", "sharp"])
def test_pictures_by_their_headers(
    tmp_path: Path, kind: str, change: Callable[[Path], Any], rules: FrameRules, expected: str | None
) -> None:
    """Catches a picture that is looked at for one of the two kinds alone, and rules that are not obeyed."""
    frames = make_frames(tmp_path)
    change(tmp_path / kind / "2.png")
    found = reasons(sequence(frames), rules)
    assert list(found) == ([] if expected is None else ["2"])
    assert expected is None or expected in found["2"]


def test_pictures_too_small(tmp_path: Path) -> None:
    """Catches the longer side compared with the crop: a crop of 17 does not fit into 16 x 24."""
    assert list(reasons(sequence(make_frames(tmp_path)), FrameRules(smallest_side=17))) == ["0", "1", "2", "3"]


def test_who_says_the_size_of_the_spikes(tmp_path: Path) -> None:
    """Catches another order than config.yaml, the user's word, the published names; a guess; sizes that do not fit."""

    def spike_size(ratio: int | None = None, **rules: Any) -> tuple[int, int]:
        (planned,) = plan_preparation([sequence(frames, ratio=ratio)], FrameRules(**rules), usable).sequences
        return planned.spike_size

    frames = make_frames(tmp_path)
    reason = reasons(sequence(frames, ratio=None))["0"]
    assert "expected the size of the spikes (--spike-size HEIGHTxWIDTH, or a config.yaml" in reason
    assert "72 bytes are 6 frames of 8x12 or 24 frames of 4x6" in reason and reason.endswith("spike/0.dat")
    assert spike_size(ratio=2) == (8, 12)
    assert spike_size(spike_size=(8, 12)) == spike_size(ratio=1, spike_size=(8, 12)) == (8, 12)
    assert "a whole part of it, found 8x24" in reasons(sequence(frames), FrameRules(spike_size=(8, 24)))["0"]
    write_config(tmp_path, StreamConfig(4, 6))
    assert spike_size(ratio=2) == spike_size(spike_size=(4, 6)) == (4, 6)
    write_config(tmp_path / "spike", StreamConfig(8, 12))
    assert spike_size(ratio=1) == (8, 12)
    assert (
        "expected --spike-size 8x12, as config.yaml says"
        in reasons(sequence(frames), FrameRules(spike_size=(4, 6)))["0"]
    )


def test_margins_are_left_out(tmp_path: Path) -> None:
    """Catches steps beside the exposure that are counted with it, and streams that are nothing but margin."""
    frames = make_frames(tmp_path, margin=2)
    assert windows(sequence(frames, steps=STEPS - 4)) == [((2, STEPS - 2), 2 * n) for n in range(4)]
    reason = reasons(sequence(frames, steps=STEPS))["0"]
    assert "expected 6 stream frames between margins of 2, found 6 of 8x12" in reason
    assert "some stream frames between margins of 3" in reasons(sequence(make_frames(tmp_path, margin=3)))["0"]


def test_dropped_frames_split_a_sequence(tmp_path: Path) -> None:
    """Catches clips across a gap, parts of one name, and a reason that is another frame's.

    One frame has a problem of its own, one a useless content, and between two others a number is missing.
    """
    frames = make_frames(tmp_path, 8)
    numbers = [0, 1, 2, 3, 4, 6, 7, 8]
    frames = tuple(replace(frame, number=number) for frame, number in zip(frames, numbers, strict=True))
    frames = (frames[0], replace(frames[1], blur=None, problem="expected a picture, found none"), *frames[2:])

    def even(key: FrameKey, frame: PlannedFrame) -> str:
        assert key == ("train", "walk", frame.name)
        return "all alike" if frame.name == "3" else ""

    plan = plan_preparation([sequence(frames)], FrameRules(), even)
    parts = [(part.name, [frame.name for frame in part.frames]) for part in plan.sequences]
    assert parts == [("walk@0", ["0"]), ("walk@2", ["2"]), ("walk@4", ["4"]), ("walk@5", ["5", "6", "7"])]
    assert {part.source for part in plan.sequences} == {"walk"}
    assert [(row.sequence, row.frame, row.reason) for row in plan.dropped["train"]] == [
        ("walk", "1", "expected a picture, found none"),
        ("walk", "3", "all alike"),
    ]
