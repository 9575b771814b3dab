from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikejax.errors import InputError
from spikejax.io.animated_pictures import AnimatedFrames
from spikejax.io.frame_source import open_frames
from spikejax.io.video_reading import VideoReading

DURATIONS = [100, 200, 50, 100, 300]


def layers(number: int, *, alpha: bool) -> np.ndarray:
    """A frame of few colours, of which a corner is transparent."""
    frame = np.full((20, 24, 4), 255, np.uint8)
    frame[..., :3] = (40 * number, 200, 90)
    frame[4:8, number : number + 6, :3] = (250, 20, 30)
    if alpha:
        frame[:3, :5, 3] = 0
    return frame


def write(path: Path, *, alpha: bool = True, durations: list[int] = DURATIONS) -> Path:
    """An animated picture of the kind that its name says."""
    frames = [Image.fromarray(layers(number, alpha=alpha)) for number in range(len(durations))]
    options = {".webp": {"lossless": True}, ".avif": {"quality": 100, "subsampling": "4:4:4"}, ".gif": {"disposal": 2}}
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations, **options.get(path.suffix, {})
    )  # fmt: skip
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
@pytest.mark.parametrize("alpha", [False, True])
def test_frames_times_and_transparency(tmp_path: Path, suffix: str, alpha: bool) -> None:
    """Catches a constant rate in place of the file's own times, a lost first frame, and opaque corners."""
    source = open_frames(write(tmp_path / f"a{suffix}", alpha=alpha), own_depth=True)
    assert isinstance(source, AnimatedFrames) and source.count == source.expected_length == 5
    assert (source.height, source.width) == (20, 24) and source.rate == Fraction(20, 3)
    decoded = list(source.decode())
    wanted = [Fraction(ms, 1000) for ms in (0, 100, 300, 350, 450)]
    assert [one.time for one in decoded] == wanted == list(source.times())
    for number, one in enumerate(decoded):
        expected = layers(number, alpha=alpha)
        assert one.frame.dtype == np.uint16 and (one.alpha is not None) == alpha
        seen = expected[..., 3] > 0
        assert np.abs(one.frame[seen] / 257 - expected[..., :3][seen]).max() <= (4 if suffix == ".avif" else 0)
        if one.alpha is not None:
            np.testing.assert_array_equal(one.alpha // 257, expected[..., 3])
    np.testing.assert_array_equal(next(source.decode(3)).frame, decoded[3].frame)


def test_times_that_are_not_said(tmp_path: Path) -> None:
    """Catches a film of a hundred frames a second where browsers show ten."""
    source = open_frames(write(tmp_path / "a.gif", durations=[0, 0, 10, 20]))
    assert [float(time or 0) for time in source.times()] == [0, 0.1, 0.2, pytest.approx(0.3)]


def test_a_still_one_is_no_video(tmp_path: Path) -> None:
    """Catches a photograph that is taken for a film of one frame by another reader than before."""
    Image.fromarray(layers(0, alpha=False)).save(tmp_path / "a.png")
    assert not isinstance(open_frames(tmp_path / "a.png"), AnimatedFrames)


def test_options_of_videos_are_refused(tmp_path: Path) -> None:
    """Catches an option without effect, and the traceback of a file that is cut."""
    with pytest.raises(InputError, match="found an animated picture"):
        open_frames(write(tmp_path / "a.gif"), reading=VideoReading(stream=0))
    content = write(tmp_path / "a.webp").read_bytes()
    (tmp_path / "a.webp").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="expected a"):
        list(open_frames(tmp_path / "a.webp"))
