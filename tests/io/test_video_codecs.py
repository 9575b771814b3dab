"""Codecs by name, and the user's own."""

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from skimage import data

from spikejax.errors import InputError
from spikejax.io.video_codecs import CODECS, VideoSettings, is_video_name
from spikejax.io.video_writer import VideoWriter

TOY = """
from spikejax.io.video_codecs import Codec

OLD = Codec("mpeg4", ("yuv420p", "yuv420p"), containers=(".mp4",), options=(("qscale", "2"),))
ABSENT = Codec("no_such_encoder", ("yuv420p", "yuv420p"))
NAME = "mpeg4"
"""


@pytest.mark.parametrize(
    ("settings", "name", "message"),
    [
        (VideoSettings("gif"), "a.mp4", "--codec: expected one of h264, h265, av1, .* or FILE.py:NAME, found 'gif'"),
        (VideoSettings(quality=99), "a.mp4", "quality from 0"),
        (VideoSettings("ffv1", quality=3), "a.mkv", "no quality"),
        (VideoSettings(pixel_format="rgb24"), "a.mp4", "pixel format of h264"),
        (VideoSettings("ffv1"), "a.mp4", "expected .mkv for codec ffv1, found a.mp4"),
        (VideoSettings("prores"), "a.mp4", "expected .mov for codec prores, found a.mp4"),
    ],
)
def test_settings_that_make_no_video(settings: VideoSettings, name: str, message: str) -> None:
    """Catches a mistake that shows only after the network has worked for hours."""
    with pytest.raises(InputError, match=message):
        settings.check(Path(name))


def test_a_codec_of_the_users_own(tmp_path: Path) -> None:
    """Catches a codec that only the package's table can have, one that is registered, and one that is not used."""
    file = tmp_path / "my_codecs.py"
    file.write_text(TOY)
    settings = VideoSettings(f"{file}:OLD")
    settings.check(tmp_path / "a.mp4")
    frames = np.stack([data.astronaut()[:64, index : index + 96] for index in range(5)])
    writer = VideoWriter(tmp_path / "a.mp4", settings=settings, rate=Fraction(25))
    for frame in frames:
        writer.write(frame)
    writer.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(decoded) == 5
    assert np.abs(np.stack(decoded).astype(int) - frames).mean() < 8
    with pytest.raises(InputError, match=re.escape(f"expected .mp4 for codec {file}:OLD, found a.mkv")):
        settings.check(tmp_path / "a.mkv")
    assert "OLD" not in CODECS and "mpeg4" not in CODECS


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ABSENT", "expected an encoder that FFmpeg has, found no_such_encoder"),
        ("NAME", "--codec: expected Codec, found str"),
        ("MISSING", "--codec: expected MISSING to be defined"),
    ],
)
def test_a_codec_of_the_users_that_is_wrong(tmp_path: Path, name: str, message: str) -> None:
    """Catches a traceback of FFmpeg's, and a mistake that shows only when the first frame is written."""
    (tmp_path / "my_codecs.py").write_text(TOY)
    with pytest.raises(InputError, match=message):
        VideoSettings(f"{tmp_path}/my_codecs.py:{name}").check(tmp_path / "a.mp4")


def test_names_of_videos_and_folders() -> None:
    """Catches a picture's name that becomes a folder, and a video in capitals that becomes one."""
    assert is_video_name("a/b.MP4") and is_video_name(Path("b.mkv"))
    assert not is_video_name("a.b/frames")
    assert not any(map(is_video_name, ("2026.01.05", "v1.2", "take.final", ".mp4", "12:30")))
    with pytest.raises(InputError, match=r"expected a folder or a video \(.*\), found \.png: a\.png"):
        is_video_name("a.png")
