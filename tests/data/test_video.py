from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

from spikejax.data.video import open_frames, open_writer, read_picture, write_picture
from spikejax.errors import InputError


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


def test_frames_of_different_sizes(tmp_path: Path) -> None:
    """Catches a size that is found to differ only after hours, and a message that does not say where."""
    folder = write_folder(tmp_path / "in", moving(2, 20, 30))
    write_picture(folder / "000002.png", moving(1, 20, 32)[0])
    with pytest.raises(InputError, match="000000.png is 30x20 but 000002.png is 32x20"):
        open_frames(folder)


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
    with open_writer(tmp_path / name, rate=Fraction(30000, 1001)) as writer:
        for frame in frames:
            writer.write(frame)
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


def test_a_folder_is_written_with_the_given_names(tmp_path: Path) -> None:
    """Catches frames renamed, not written without loss, or given a suffix that says another format."""
    frames = moving(2, 20, 30)
    with open_writer(tmp_path / "out") as writer:
        writer.write(frames[0], name="left.jpg")
        writer.write(frames[1])
        writer.attach("metrics.json", "{}")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000001.png", "left.png", "metrics.json"]
    np.testing.assert_array_equal(read_picture(tmp_path / "out" / "left.png"), frames[0])


def test_an_attachment_stands_beside_a_video(tmp_path: Path) -> None:
    """Catches the figures of one video written over those of another in the same folder."""
    with open_writer(tmp_path / "a.mp4") as writer:
        writer.write(moving(1, 32, 32)[0])
        writer.attach("metrics.json", "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.metrics.json", "a.mp4"]


@pytest.mark.parametrize("name", ["out", "out.mp4"])
def test_a_failure_leaves_nothing(tmp_path: Path, name: str) -> None:
    """Catches half-written output, under its own name or a temporary one."""
    with pytest.raises(RuntimeError), open_writer(tmp_path / name) as writer:
        writer.write(moving(1, 32, 32)[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out", "out.mp4"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, name: str) -> None:
    """Catches a lost earlier result; asked for, the new one takes its place."""
    frame = moving(1, 32, 32)[0]
    for overwrite in (False, True):
        with open_writer(tmp_path / name, overwrite=overwrite) as writer:
            writer.write(frame)
        with pytest.raises(InputError, match="expected a new"), open_writer(tmp_path / name):
            pass


def test_an_output_of_another_kind(tmp_path: Path) -> None:
    """Catches a folder called out.gif where someone wanted a GIF."""
    with pytest.raises(InputError, match="no suffix"), open_writer(tmp_path / "out.gif"):
        pass


def test_a_video_without_frames(tmp_path: Path) -> None:
    """Catches an empty file that no player opens."""
    with pytest.raises(InputError, match="at least one frame"), open_writer(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []
