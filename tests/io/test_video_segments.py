"""Videos that are made of segments; tests/inference/test_resumable_output.py has the runs that make them."""

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.io import video_segments
from spikejax.io.frame_source import open_frames
from spikejax.io.video_codecs import CODECS, VideoSettings
from spikejax.io.video_segments import SegmentedVideo, decoding_times, segment_length
from spikejax.io.video_writer import VideoWriter

FRAMES = [
    np.clip(np.add.outer(np.arange(64) * 2 + i, np.arange(96))[..., None] + np.array([0, i, 2 * i]), 0, 255)
    for i in range(21)
]
# Of a camera that changes its rate.
TIMES = [Fraction(i * i + i * 20, 1000) for i in range(21)]


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", CODECS)
def test_the_video_is_that_of_one_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, deep: bool
) -> None:
    """Catches a codec whose segments do not join: frames lost, out of order, at other times, or that do not decode."""
    monkeypatch.setattr(video_segments, "segment_length", lambda frame: 8)
    frames = [frame.astype(np.uint16) * 257 if deep else frame.astype(np.uint8) for frame in FRAMES]
    suffix = ".mkv" if name == "ffv1" else CODECS[name].containers[-1]
    options: dict[str, Any] = {"settings": VideoSettings(name), "time_base": Fraction(1, 1000)}
    plain, segmented = VideoWriter(tmp_path / f"a{suffix}", **options), SegmentedVideo(tmp_path, suffix, options)
    for frame, time in zip(frames, TIMES, strict=True):
        plain.write(frame, time)
        segmented.write(frame, time)
    plain.close()
    segmented.join(tmp_path / f"b{suffix}")
    one, other = (list(open_frames(tmp_path / f"{which}{suffix}", own_depth=deep).read()) for which in "ab")
    assert [time for _, time in other] == [time for _, time in one] == TIMES
    scale = 257 if deep else 1
    for (a, _), (b, _) in zip(one, other, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 12 * scale  # both are lossy, each in its own way
        # The means seen are at most 1.4, and 1.75 for AV1 by the encoder that comes with PyAV 19.
        assert np.abs(a.astype(int) - b).mean() <= 2 * scale


@pytest.mark.parametrize("order", list(itertools.permutations(range(5))))
def test_no_frame_is_shown_before_it_is_decoded(order: tuple[int, ...]) -> None:
    """Catches times that a container refuses, in whatever order an encoder gives its frames."""
    shown = [0, 40, 90, 100, 180]
    ticks = [shown[number] for number in order]
    times = list(decoding_times(ticks))
    assert all(earlier < later for earlier, later in itertools.pairwise(times))
    assert all(decoded <= tick for decoded, tick in zip(times, ticks, strict=True))


def test_the_length_of_a_segment() -> None:
    """Catches segments whose pictures fill a disk, and those so short that a video grows by its whole frames."""
    lengths = [segment_length(np.zeros((h, w, 3), np.uint8)) for h, w in ((64, 64), (720, 1280), (2160, 3840))]
    assert lengths == [48, 48, 16]
    assert segment_length(np.zeros((720, 1280, 3), np.uint16)) == 24


def test_a_video_without_a_frame(tmp_path: Path) -> None:
    """Catches an empty file that no player opens."""
    SegmentedVideo(tmp_path, ".mp4", {}).join(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []
