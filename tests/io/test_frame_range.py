"""Parts of videos and of folders of pictures."""

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from skimage import data

from spikejax.errors import InputError
from spikejax.io.frame_range import part_of
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from spikejax.io.positions import Position, position
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_writer import VideoWriter

RATE = Fraction(25)
# A pause after the sixth frame, as a phone makes one.
TIMES = [Fraction(number, 25) + (Fraction(1, 5) if number > 5 else 0) for number in range(10)]
FRAMES = np.stack([data.astronaut()[:32, index : index + 48] for index in range(10)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten pictures, and a video of them without loss."""
    folder = tmp_path_factory.mktemp("frames")
    (folder / "pictures").mkdir()
    writer = VideoWriter(folder / "a.mkv", settings=VideoSettings("ffv1"), rate=RATE, time_base=Fraction(1, 1000))
    for number, (frame, time) in enumerate(zip(FRAMES, TIMES, strict=True)):
        write_picture(folder / "pictures" / f"{number}.png", frame)
        writer.write(frame, time)
    writer.close()
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120", Position(frame=120)),
        ("0", Position(frame=0)),
        ("4s", Position(seconds=Fraction(4))),
        ("4.25s", Position(seconds=Fraction(17, 4))),
        ("1:30", Position(seconds=Fraction(90))),
        ("1:00:02.5", Position(seconds=Fraction(7205, 2))),
    ],
)
def test_positions(text: str, expected: Position) -> None:
    """Catches a time that is taken for a frame, and minutes for hours."""
    assert position(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "4.5", "1:2:3:4", "a", "s", ":30", "1e3", "١"])
def test_what_is_no_position(text: str) -> None:
    """Catches a guess whether 4.5 is a frame."""
    with pytest.raises(argparse.ArgumentTypeError, match="expected a frame's number such as 120, or a time"):
        position(text)


@pytest.mark.parametrize("name", ["pictures", "a.mkv"])
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (Position(frame=3), Position(frame=7), range(3, 7)),
        (Position(frame=8), None, range(8, 10)),
        (None, Position(frame=2), range(2)),
        (Position(frame=8), Position(frame=99), range(8, 10)),
        (Position(seconds=Fraction("0.1")), Position(seconds=Fraction("0.2")), range(3, 5)),
        (None, None, range(10)),
    ],
)
def test_parts(folder: Path, name: str, start: Position | None, end: Position | None, expected: range) -> None:
    """Catches a frame more or less at either end, a count or names of the whole, and reading on that begins wrong."""
    whole = open_frames(folder / name)
    part = part_of(whole, start, end, rate=RATE)
    np.testing.assert_array_equal(np.stack(list(part)), FRAMES[expected.start : expected.stop])
    assert part.count == len(expected) and part.first == expected.start
    np.testing.assert_array_equal(next(part.read(1))[0], FRAMES[expected.start + 1])
    assert part.names == (None if name == "a.mkv" else tuple(f"{number}.png" for number in expected))


def test_times(folder: Path) -> None:
    """Catches a part that begins with a pause as long as what was left out, and numbers where the file has times."""
    part = part_of(open_frames(folder / "a.mkv"), Position(seconds=Fraction("0.3")), None)
    assert (part.first, part.offset) == (6, TIMES[6])
    assert [time for _, time in part.read()] == [time - TIMES[6] for time in TIMES[6:]] == list(part.times())


@pytest.mark.parametrize("name", ["pictures", "a.mkv"])
@pytest.mark.parametrize(("start", "end"), [("10", None), ("3", "3"), ("1:00", None), ("2s", "1s")])
def test_nothing_between(folder: Path, name: str, start: str, end: str | None) -> None:
    """Catches an empty output, or a traceback, for a part in which nothing is."""
    with pytest.raises(InputError, match="expected frames of the input with --from.*found none"):
        part_of(open_frames(folder / name), position(start), None if end is None else position(end))
