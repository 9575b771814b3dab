import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.io.colours import VideoColours
from spikejax.io.frame_range import part_of
from spikejax.io.frame_source import open_frames
from spikejax.io.piped_frames import PipedFrames
from spikejax.io.piped_video import PipedVideo, PipeSettings, piped_colours, unsaid
from spikejax.io.pixel_formats import pixel_format
from spikejax.io.positions import position
from spikejax.io.raw_frames import RawLayout
from spikejax.io.video_reading import VideoReading

RATE = Fraction(25)


def frames(count: int, height: int = 16, width: int = 24, dtype: type = np.uint8) -> list[np.ndarray]:
    """Pictures of grey that differ."""
    most = np.iinfo(dtype).max
    return [np.full((height, width, 3), most // 2 + number % 40 * (most // 64), dtype) for number in range(count)]


def written(
    folder: Path,
    pictures: list[np.ndarray],
    settings: PipeSettings = PipeSettings(),  # noqa: B008, it cannot change
    times: list[Fraction | None] | None = None,
    **like: Any,
) -> tuple[Path, PipedVideo]:
    """The file of what goes through a pipe, and what wrote it."""
    height, width = pictures[0].shape[:2]
    source = VideoColours(pixel_format("yuv420p"), **like) if like else None
    colours = piped_colours(
        settings, height, width, bits=8 * pictures[0].itemsize, like=source, like_size=(height, width)
    )
    path = folder / "out.y4m"
    with path.open("wb", buffering=0) as sink:
        video = PipedVideo(sink, settings, colours, rate=RATE)
        for picture, time_ in zip(pictures, times or [None] * len(pictures), strict=True):
            video.write(picture, time_)
        video.close()
    return path, video


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """A named pipe."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    yield path


def feed(path: Path, content: bytes, *, then_wait: threading.Event | None = None) -> threading.Thread:
    """Writes bytes into a pipe, and keeps it open until something happens."""

    def write() -> None:
        with path.open("wb") as pipe:
            pipe.write(content)
            pipe.flush()
            if then_wait is not None:
                then_wait.wait()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def piped(path: Path, **options: Any) -> PipedFrames:
    """The source of a pipe's frames."""
    return PipedFrames(path, **({"reading": VideoReading()} | options))


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p", "yuv422p10le", "gray", "gray12le", "yuv411p"])
def test_y4m_is_read_as_ffmpeg_reads_it(tmp_path: Path, fifo: Path, name: str) -> None:
    """Catches planes, times or a length that come through a pipe as others than from a file."""
    dtype = np.uint8 if pixel_format(name).bits == 8 else np.uint16
    path, _ = written(tmp_path, frames(5, dtype=dtype), PipeSettings("y4m", name))
    feed(fifo, path.read_bytes())
    source = piped(fifo)
    assert (source.height, source.width, source.rate, source.expected_length) == (16, 24, RATE, None)
    ours = list(source.decode())
    theirs = list(open_frames(path, own_depth=True).decode())
    assert [one.time for one in ours] == [number / RATE for number in range(5)]
    np.testing.assert_array_equal([one.frame for one in ours], [one.frame for one in theirs])
    assert not source.damage


@pytest.mark.parametrize("name", ["rgb24", "bgra", "nv12", "yuyv422", "rgb48be", "yuva420p", "gray16le", "gbrpf32le"])
def test_raw_frames(tmp_path: Path, fifo: Path, name: str) -> None:
    """Catches numbers of a packed, deep or transparent format that come out as others, and a wrong size."""
    pictures = frames(3, 15, 21)
    path, _ = written(tmp_path, pictures, PipeSettings("raw", name))
    assert path.stat().st_size == 3 * RawLayout(name, 15, 21).size
    feed(fifo, path.read_bytes())
    ours = [one.frame for one in piped(fifo, raw=RawLayout(name, 15, 21), rate=RATE).decode()]
    assert np.abs(np.stack(ours) / 65535 - np.stack(pictures) / 255).max() <= 0.5 / 219


def test_a_part_of_a_pipe(tmp_path: Path, fifo: Path) -> None:
    """Catches a part that looks ahead, which a pipe cannot, or is of other frames; and one that waits for the end."""
    path, _ = written(tmp_path, frames(8))
    wait = threading.Event()
    feed(fifo, path.read_bytes(), then_wait=wait)
    part = part_of(piped(fifo), position("2"), position("0.2s"))
    assert part.expected_length == 3
    theirs = [one.frame for one in open_frames(path, own_depth=True).decode()][2:5]
    np.testing.assert_array_equal([one.frame for one in part.decode()], theirs)
    wait.set()


@pytest.mark.parametrize(("cut", "words", "count"), [(30, "ends within frame 2", 2), (-1, "ends within frame 3", 3)])
def test_a_stream_that_is_cut(tmp_path: Path, fifo: Path, cut: int, words: str, count: int) -> None:
    """Catches a last frame of which a part is missing, and one that is lost without a word."""
    content = written(tmp_path, frames(4))[0].read_bytes()
    frame = (len(content) - content.index(b"FRAME")) // 4
    feed(fifo, content[: len(content) - 2 * frame + cut if cut > 0 else cut])
    source = piped(fifo)
    assert len(list(source.decode())) == count and words in str(source.damage)


def test_waiting_can_be_stopped(tmp_path: Path, fifo: Path) -> None:
    """Catches a run that cannot end because what writes into the pipe neither goes on nor ends."""
    wait = threading.Event()
    feed(fifo, written(tmp_path, frames(2))[0].read_bytes(), then_wait=wait)
    source = piped(fifo)
    threading.Timer(0.3, source.stop_waiting).start()
    assert len(list(source.decode())) == 2
    wait.set()


def test_interlaced_y4m(tmp_path: Path, fifo: Path) -> None:
    """Catches combs that are restored without a word, and fields of a pipe that are not taken apart."""
    content = written(tmp_path, frames(4))[0].read_bytes().replace(b" Ip ", b" It ", 1)
    for reading, count, rate in (
        (VideoReading(), 0, 0),
        (VideoReading(interlaced="progressive"), 4, 25),
        (VideoReading(interlaced="kept"), 4, 25),
        (VideoReading(interlaced="doubled"), 8, 50),
    ):
        feed(fifo, content)
        if not count:
            with pytest.raises(InputError, match="found interlaced"):
                piped(fifo, reading=reading)
            continue
        source = piped(fifo, reading=reading)
        assert len(list(source.decode())) == count and source.rate == rate


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"", {}, "found nothing"),
        (b"RIFF1234", {}, "expected y4m"),
        (b"YUV4MPEG2 W8 H6\n", {"rate": RATE}, "expected raw frames"),
        (b"YUV4MPEG2 W8 H6\n", {"reading": VideoReading(stream=1)}, "expected a file with --stream"),
        (b"", {"raw": RawLayout("rgb25", 8, 6)}, "expected a pixel format of FFmpeg's"),
        (b"", {"raw": RawLayout("pal8", 8, 6)}, "expected a pixel format of FFmpeg's"),
    ],
)
def test_what_cannot_be_read_is_one_line(fifo: Path, content: bytes, options: dict[str, Any], words: str) -> None:
    """Catches a traceback, or a wait for ever, where a pipe brings something else."""
    feed(fifo, content)
    with pytest.raises(InputError, match=words):
        piped(fifo, **options)


def test_times_that_vary(tmp_path: Path) -> None:
    """Catches a video of a variable rate that gets shorter or longer in a pipe, which has a constant one."""
    times = [Fraction(time_, 100) for time_ in (0, 4, 16, 17, 20)]
    path, video = written(tmp_path, frames(5), times=list(times))
    shown = [round((int(frame[8, 8, 0]) - 127) / 3) for frame in open_frames(path)]
    assert shown == [0, 1, 1, 1, 3, 4] and (video.repeated, video.left_out) == (2, 1)


def test_colours_that_a_pipe_does_not_say() -> None:
    """Catches HDR or BT.2020 without a word, and an enlarged video with the matrix assumed of the small one."""
    like = VideoColours(pixel_format("yuv420p10le"), matrix=9, transfer=16)
    settings = PipeSettings()
    colours = piped_colours(settings, 1080, 1920, bits=10, like=like, like_size=(1080, 1920))
    assert colours.matrix == 9 and colours.format.name == "yuv420p10le"
    assert "BT.2020 and PQ" in next(unsaid(settings, 1080, 1920, like, colours))
    small = VideoColours(pixel_format("yuv420p"), matrix=6)
    assert piped_colours(settings, 1440, 2560, bits=8, like=small, like_size=(360, 640)).matrix == 1
    assert piped_colours(settings, 1440, 2560, bits=8, like=small, like_size=(720, 1280)).matrix == 6


def test_pixel_formats_that_a_pipe_does_not_take() -> None:
    """Catches a pixel format that is refused after the first frames, or not at all."""
    for settings in (PipeSettings("y4m", "rgb24"), PipeSettings("raw", "pal8"), PipeSettings("raw", "vaapi")):
        with pytest.raises(InputError, match="expected a pixel format"):
            settings.check()
    PipeSettings("raw", "rgb24").check()
