import re
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from spikejax.errors import InputError
from spikejax.io import video_source
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import read_picture, write_picture
from spikejax.io.still_pictures import read_still
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_reading import VideoReading
from spikejax.io.video_writer import VideoWriter, write_video


def moving(length: int, height: int, width: int) -> np.ndarray:
    """A photograph that moves by two pixels a frame."""
    picture = data.astronaut()[:height, :]
    return np.stack([picture[:, 2 * index : 2 * index + width] for index in range(length)])


def write_folder(folder: Path, frames: np.ndarray, names: list[str] | None = None) -> Path:
    """A folder of PNG files."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        write_picture(folder / (names[index] if names else f"{index:06d}.png"), frame)
    return folder


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    """Catches frame 10 before frame 2, hidden and foreign files taken for frames, and swapped colours."""
    frames = moving(3, 20, 30)
    folder = write_folder(tmp_path / "in", frames, ["f1.png", "f2.png", "f10.png"])
    (folder / ".f0.png").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    source = open_frames(folder)
    assert source.names == ("f1.png", "f2.png", "f10.png")
    assert (source.height, source.width, source.rate, source.count) == (20, 30, None, 3)
    np.testing.assert_array_equal(np.stack(list(source)), frames)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_other_kinds_of_pictures_become_rgb(tmp_path: Path, mode: str) -> None:
    """Catches a grey, palette or transparent picture read with another number of channels."""
    picture = Image.fromarray(moving(1, 20, 30)[0]).convert(mode)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), np.array(picture.convert("RGB")))


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    """Catches Pillow's conversion, which clips at 255 and gives a white picture."""
    Image.fromarray(np.full((16, 16), 3000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="8 bits a channel"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (None, None),
        (SimpleNamespace(numerator=0, denominator=1), None),
        (SimpleNamespace(numerator=1, denominator=0), None),
        (SimpleNamespace(numerator=4, denominator=3), Fraction(4, 3)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
    ],
)
def test_ratios_that_a_file_does_not_say(said: Any, known: Fraction | None) -> None:
    """Catches pixels of the shape 0/1, and a rate that seems known: PyAV 19 has a type and value for unknown."""
    assert video_source.known_ratio(said) == known


def test_frames_of_different_sizes(tmp_path: Path) -> None:
    """Catches headers of all pictures that are read before the first frame, and a size that is not checked."""
    folder = write_folder(tmp_path / "in", moving(2, 20, 30))
    write_picture(folder / "000002.png", moving(1, 20, 32)[0])
    (folder / "000003.png").write_text("no picture")
    frames = iter(open_frames(folder, own_depth=True))
    assert next(frames).shape == next(frames).shape == (20, 30, 3)
    with pytest.raises(InputError, match="or --resize-changes.*000000.png is 30x20 but 000002.png is 32x20"):
        next(frames)
    source = open_frames(folder, own_depth=True, reading=VideoReading(resize_changes=True))
    frames = iter(source)
    assert [next(frames).shape for _ in range(3)] == [(20, 30, 3)] * 3
    assert source.remarks == ("of 1 picture, another size was brought to 30x20",)


def test_two_pictures_of_one_frame(tmp_path: Path) -> None:
    """Catches two inputs that would be written under one output name."""
    folder = write_folder(tmp_path / "in", moving(1, 20, 30))
    write_picture(folder / "000000.bmp", moving(1, 20, 30)[0])
    with pytest.raises(InputError, match="both 000000.(png|bmp) and 000000.(png|bmp)"):
        open_frames(folder)


@pytest.mark.parametrize("name", ["empty", "missing", "broken.mp4", "sound.wav", "cut.png"])
def test_what_holds_no_frames(tmp_path: Path, name: str) -> None:
    """Catches a traceback, or silence, for what is neither pictures nor a video."""
    path = tmp_path / name
    if name == "empty":
        path.mkdir()
    elif name == "broken.mp4":
        path.write_bytes(np.random.default_rng(0).bytes(4000))
    elif name == "sound.wav":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=8000)
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
            samples.rate = 8000
            container.mux(stream.encode(samples))
    elif name == "cut.png":
        write_picture(path, moving(1, 20, 30)[0])
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match=name):
        open_frames(path)


@pytest.mark.parametrize(("name", "height", "width"), [("a.mp4", 64, 96), ("a.mkv", 45, 63), ("a.mov", 64, 63)])
def test_a_video_keeps_size_rate_length_and_colours(tmp_path: Path, name: str, height: int, width: int) -> None:
    """Catches odd sizes cut to even ones, a rate rounded to whole numbers, lost last frames, and a shift of colours.

    The colours are those of another matrix by 3 levels, and 1 level too dark by FFmpeg's short cut, if nobody minds.
    """
    frames = moving(6, height, width)
    write_video(tmp_path / name, frames, rate=Fraction(30000, 1001))
    source = open_frames(tmp_path / name)
    assert (source.height, source.width, source.rate, source.count) == (height, width, Fraction(30000, 1001), 6)
    difference = np.stack(list(source)).astype(int) - frames
    assert np.abs(difference.mean(axis=(0, 1, 2))).max() < 0.3
    assert np.abs(difference).mean() < 4  # the noise of H.264, and colours at half the resolution


def test_a_turned_video_is_read_upright(tmp_path: Path) -> None:
    """Catches a phone's video read lying on its side."""
    frame = moving(1, 48, 64)[0]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    content = (tmp_path / "a.mp4").read_bytes()
    upright = b"".join(number.to_bytes(4, "big") for number in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    quarter = b"".join(
        number.to_bytes(4, "big", signed=True) for number in (0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    )
    # The track's matrix (the header of the whole file has the first one, which players ignore).
    at = content.rindex(upright)
    (tmp_path / "a.mp4").write_bytes(content[:at] + quarter + content[at + len(quarter) :])
    source = open_frames(tmp_path / "a.mp4")
    assert (source.height, source.width) == (64, 48)
    clockwise = np.rot90(frame, -1).astype(int)
    assert np.abs(next(iter(source)) - clockwise).mean() < 8


def test_a_glob_is_a_folder_of_what_fits(tmp_path: Path) -> None:
    """Catches a pattern taken for a file's name, and other pictures of the folder taken in."""
    frames = moving(3, 20, 30)
    write_folder(tmp_path / "in", frames, ["left_2.png", "left_10.png", "right_3.png"])
    source = open_frames(tmp_path / "in" / "left_*.png")
    assert source.names == ("left_2.png", "left_10.png")
    np.testing.assert_array_equal(np.stack(list(source)), frames[:2])
    with pytest.raises(InputError, match="no file fits the pattern"):
        open_frames(tmp_path / "in" / "up_*.png")


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_read_as_they_are(tmp_path: Path, suffix: str) -> None:
    """Catches colour of 16 bits, which Pillow reads as 8, and swapped colours or bytes."""
    frame = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), frame[..., ::-1])
    source = open_frames(tmp_path / f"*.{suffix}", own_depth=True)
    assert source.bits == 16
    np.testing.assert_array_equal(next(iter(source)), frame)
    with pytest.raises(InputError, match="8 bits a channel"):
        read_picture(tmp_path / f"a.{suffix}")
    write_picture(tmp_path / "b.png", frame)
    np.testing.assert_array_equal(read_still(tmp_path / "b.png").frame, frame)


def test_frames_of_different_depths(tmp_path: Path) -> None:
    """Catches frames of which some are taken for 256 times as bright."""
    folder = write_folder(tmp_path / "in", moving(1, 20, 30))
    write_picture(folder / "000001.png", np.zeros((20, 30, 3), np.uint16))
    with pytest.raises(InputError, match="frames of one depth, 000000.png and 000001.png differ"):
        list(open_frames(folder, own_depth=True))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_turned_photograph_is_read_upright(tmp_path: Path, suffix: str) -> None:
    """Catches an Exif orientation that is not heeded, in the size or in the picture."""
    picture = Image.fromarray(moving(1, 20, 30)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / f"a.{suffix}", exif=exif)
    source = open_frames(tmp_path / f"*.{suffix}", own_depth=True)
    assert (source.height, source.width) == (30, 20)
    np.testing.assert_array_equal(next(iter(source)), np.rot90(np.array(picture), -1))


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "ffv1"), (".mkv", "h264"), (".webm", "vp9")])
def test_a_matroska_that_was_cut(tmp_path: Path, suffix: str, codec: str) -> None:
    """Catches the rest of a film that is lost without a word: these files announce no number of frames."""
    whole, cut = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    writer = VideoWriter(whole, settings=VideoSettings(codec))
    for frame in noise:
        writer.write(frame)
    writer.close()
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    source = open_frames(whole)
    assert len(list(source)) == 60 and not source.damage
    source = open_frames(cut)
    assert 30 < len(list(source)) < 45
    assert re.fullmatch(r"the film ends at 1\.\d\d s of the 2\.40 s that the file states", str(source.damage))


def test_a_damaged_middle(tmp_path: Path) -> None:
    """Catches a video that is given up at its first damaged packet, and damage that nobody hears of."""
    frames = moving(40, 64, 96)
    write_video(tmp_path / "a.mp4", frames)
    whole = (tmp_path / "a.mp4").read_bytes()
    source = open_frames(tmp_path / "a.mp4")
    assert source.count == 40
    assert not source.damage
    middle = len(whole) // 2
    (tmp_path / "b.mp4").write_bytes(whole[:middle] + bytes(300) + whole[middle + 300 :])
    source = open_frames(tmp_path / "b.mp4")
    decoded = list(source.read())
    assert 20 <= len(decoded) <= 40
    assert source.damage
    assert "decode" in str(source.damage)
    times = [time for _, time in decoded]
    assert times[-1] == Fraction(39, 25)  # what comes after the damage stays where it was


def test_reading_from_the_middle(tmp_path: Path) -> None:
    """Catches a start that is off by a frame, or times counted from it."""
    frames = moving(5, 20, 32)
    write_video(tmp_path / "a.mkv", frames)
    for path in (tmp_path / "a.mkv", write_folder(tmp_path / "in", frames)):
        source = open_frames(path)
        whole, rest = list(source.read()), list(source.read(3))
        assert len(rest) == 2
        for (expected, expected_time), (frame, time) in zip(whole[3:], rest, strict=True):
            np.testing.assert_array_equal(frame, expected)
            assert time == expected_time
