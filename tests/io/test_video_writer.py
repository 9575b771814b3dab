"""Videos as they are written: codecs, times and sound."""

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from skimage import data

from spikejax.errors import InputError
from spikejax.io.frame_source import open_frames
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_writer import VideoWriter, write_video

RATE = Fraction(25)
# What reads a codec that is called otherwise.
DECODERS = {"h265": "hevc", "av1": "libdav1d"}
# A pause after the sixth frame, as a phone makes one.
TIMES = [Fraction(number, 25) + (Fraction(1, 10) if number > 5 else 0) for number in range(10)]


def moving(length: int, height: int, width: int) -> np.ndarray:
    """A photograph that moves by two pixels a frame."""
    picture = data.astronaut()[:height, :]
    return np.stack([picture[:, 2 * index : 2 * index + width] for index in range(length)])


def write_sound(path: Path, codec: str, kind: str) -> Path:
    """A file with 0.4 s of a tone of two channels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8000, layout="stereo")
        for number in range(4):
            tone = 0.3 * np.sin(np.arange(number * 800, (number + 1) * 800) / 4)
            planes = np.stack([tone, tone]).astype(np.float32)
            samples = planes if kind == "fltp" else (planes.T.reshape(1, -1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="stereo")
            frame.rate, frame.pts = 8000, number * 800
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write(path: Path, frames: np.ndarray, settings: VideoSettings, sound: Path | None = None) -> None:
    """A video with a time for each frame."""
    writer = VideoWriter(
        path, settings=settings, rate=RATE, time_base=Fraction(1, 12800), pixel_aspect=Fraction(4, 3), sound_of=sound
    )
    for frame, time in zip(frames, TIMES, strict=False):
        writer.write(frame, time)
    writer.close()


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("h264", "mp4"), ("h265", "mp4"), ("av1", "mkv"), ("vp9", "mkv"), ("ffv1", "mkv"), ("prores", "mov")],
)
def test_every_codec_keeps_frames_and_times(tmp_path: Path, codec: str, suffix: str) -> None:
    """Catches lost or shifted frames, times at a constant rate where the input has a pause, and a shift of colours."""
    frames, path = moving(10, 64, 96), tmp_path / f"a.{suffix}"
    write(path, frames, VideoSettings(codec))
    source = open_frames(path)
    decoded, times = zip(*source.read(), strict=True)
    assert [float(time) for time in times] == pytest.approx([float(time) for time in TIMES], abs=1e-3)
    difference = np.stack(decoded).astype(int) - frames
    assert np.abs(difference).mean() < (0.01 if codec == "ffv1" else 3)
    # ProRes is darker by a level, by FFmpeg's way back from 10 bits.
    assert np.abs(difference.mean(axis=(0, 1, 2))).max() < (1.5 if codec == "prores" else 0.3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == DECODERS.get(codec, codec)
        if codec in ("h264", "h265"):
            assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


NARROW = """
import sys
from pathlib import Path
import numpy as np
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_writer import VideoWriter

for width in (16, 32, 40, 48, 50, 64):
    for dtype in (np.uint8, np.uint16):
        path = Path(sys.argv[2], f"{width}_{np.dtype(dtype).name}{sys.argv[3]}")
        writer = VideoWriter(path, settings=VideoSettings(sys.argv[1]))
        for seed in range(10):
            noise = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (64, width, 3))
            writer.write(noise.astype(dtype))
        writer.close()
"""


@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", ".mkv"), ("h265", ".mkv"), ("av1", ".mkv"), ("vp9", ".mkv"), ("prores", ".mov")]
)
def test_narrow_frames(tmp_path: Path, codec: str, suffix: str) -> None:
    """Catches an encoder that writes behind the end of its memory, and takes the process with it when it ends."""
    words = [sys.executable, "-c", NARROW, codec, str(tmp_path), suffix]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    for path in tmp_path.iterdir():
        assert open_frames(path).count == 10
    assert len(list(tmp_path.iterdir())) == 12


MOVING = """
import sys
from pathlib import Path
import numpy as np
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_writer import VideoWriter
rows, columns = np.mgrid[0:270, 0:480]
writer = VideoWriter(Path(sys.argv[2]), settings=VideoSettings(sys.argv[1]))
for number in range(12):
    writer.write((np.dstack([columns * 2 + 3 * number, rows * 3, rows + columns + 40]) % 256).astype(np.uint8))
writer.close()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator fills memory on demand")
@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "vp9", "ffv1"])
def test_a_video_does_not_depend_on_what_memory_held(tmp_path: Path, codec: str) -> None:
    """Catches an encoder that reads memory which it has not written: equal runs give other bytes then."""
    contents = []
    for filled in (0, 1, 77):
        path = tmp_path / f"{filled}.mkv"
        environment = os.environ | {"GLIBC_TUNABLES": f"glibc.malloc.perturb={filled}"}
        subprocess.run([sys.executable, "-c", MOVING, codec, str(path)], check=True, env=environment)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_more_than_eight_bits_stay(tmp_path: Path, codec: str) -> None:
    """Catches 10 bits rounded to 8 on their way in or out: a ramp finer than 8 bits must keep its steps."""
    ramp = np.linspace(20000, 30000, 96).astype(np.uint16)
    frames = np.broadcast_to(ramp[:, np.newaxis], (3, 64, 96, 3))
    write(tmp_path / "a.mkv", frames, VideoSettings(codec, quality=0 if codec == "h264" else None))
    source = open_frames(tmp_path / "a.mkv", own_depth=True)
    assert source.bits == (10 if codec == "h264" else 16)
    decoded = next(iter(source))
    assert decoded.dtype == np.uint16
    assert np.abs(decoded.astype(int) - frames[0]).max() < (80 if codec == "h264" else 1)
    assert next(iter(open_frames(tmp_path / "a.mkv"))).dtype == np.uint8


@pytest.mark.parametrize(
    ("sound", "kind", "suffix", "kept"),
    [
        ("aac", "fltp", "mp4", "aac"),
        ("flac", "s16", "mkv", "flac"),
        ("pcm_s16le", "s16", "mkv", "pcm_s16le"),
        ("pcm_s16le", "s16", "mp4", "pcm_s16le"),
    ],
)
def test_sound_is_kept(tmp_path: Path, sound: str, kind: str, suffix: str, kept: str) -> None:
    """Catches silence, sound that is encoded again without need, cut off, or moved against the picture."""
    source = write_sound(tmp_path / "sound.mkv", sound, kind)
    write(tmp_path / f"a.{suffix}", moving(10, 64, 96), VideoSettings(), sound=source)
    with av.open(str(tmp_path / f"a.{suffix}")) as container:
        assert container.streams.audio[0].codec_context.name == kept
        heard = [frame for frame in container.decode(audio=0)]
    assert sum(frame.samples for frame in heard) >= 3200
    assert abs(float(heard[0].time)) < 0.15  # the encoder's run-up of 1024 samples
    assert open_frames(tmp_path / f"a.{suffix}").count == 10


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_sound_of_a_part(tmp_path: Path, suffix: str) -> None:
    """Catches a part that sounds like the beginning, or on after its last frame."""
    source = write_sound(tmp_path / "sound.mkv", "pcm_s16le", "s16")
    target = tmp_path / f"a.{suffix}"
    writer = VideoWriter(target, rate=RATE, sound_of=source, sound_from=Fraction("0.2"), whole_sound=False)
    for frame in moving(3, 64, 96):  # 0.12 s of the 0.2 s that are left
        writer.write(frame)
    writer.close()
    with av.open(str(target)) as container:
        heard = [frame for frame in container.decode(audio=0)]
    assert 0 <= float(heard[0].time) < 0.15
    assert sum(frame.samples for frame in heard) <= 8000 * 0.2 + 1024


def test_an_odd_size_needs_a_format_that_has_it(tmp_path: Path) -> None:
    """Catches a row that is lost without a word, and FFmpeg's message for it."""
    with pytest.raises(InputError, match="even height and width for pixel format yuv420p, found 45x63"):
        write(tmp_path / "a.mp4", moving(1, 45, 63), VideoSettings(pixel_format="yuv420p"))
    with pytest.raises(InputError, match="even height and width for codec av1, found 45x63"):
        write(tmp_path / "a.mp4", moving(1, 45, 63), VideoSettings("av1"))


def test_times_that_go_back(tmp_path: Path) -> None:
    """Catches a container's refusal of times that stand still, which damaged files have."""
    writer = VideoWriter(tmp_path / "a.mkv", rate=RATE, time_base=Fraction(1, 1000))
    for frame, time in zip(moving(4, 32, 32), (0, Fraction(1, 25), Fraction(1, 25), None), strict=True):
        writer.write(frame, None if time is None else Fraction(time))
    writer.close()
    assert open_frames(tmp_path / "a.mkv").count == 4


def failing() -> Iterator[np.ndarray]:
    """Frames of which the second fails."""
    yield from moving(1, 32, 32)
    raise ZeroDivisionError


def test_a_video_is_not_overwritten_unasked(tmp_path: Path) -> None:
    """Catches a lost earlier video, and half a video after a failure."""
    write_video(tmp_path / "a.mp4", moving(2, 32, 32))
    with pytest.raises(InputError, match="exists already"):
        write_video(tmp_path / "a.mp4", moving(3, 32, 32))
    with pytest.raises(ZeroDivisionError):
        write_video(tmp_path / "a.mp4", failing(), overwrite=True)
    assert open_frames(tmp_path / "a.mp4").count == 2
    write_video(tmp_path / "a.mp4", moving(3, 32, 32), overwrite=True)
    assert open_frames(tmp_path / "a.mp4").count == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_without_frames(tmp_path: Path) -> None:
    """Catches an empty file that no player opens."""
    with pytest.raises(InputError, match="at least one frame"):
        write_video(tmp_path / "out.mp4", [])
    assert list(tmp_path.iterdir()) == []
