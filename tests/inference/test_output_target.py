"""What is to be written, and whether it may be."""

import json
from pathlib import Path

import pytest

from spikejax.errors import InputError
from spikejax.inference.output_target import OutputTarget
from spikejax.io.video_codecs import VideoSettings

WHOLE: dict[str, str | None] = {"from": None, "to": None}


def test_names(tmp_path: Path) -> None:
    """Catches a video taken for a folder, and two outputs of one folder that share a file."""
    folder = OutputTarget(tmp_path / "out", video=tmp_path / "out.mkv")
    assert (folder.movie, folder.metrics) == (tmp_path / "out.mkv", tmp_path / "out" / "metrics.json")
    video = OutputTarget(tmp_path / "out.mkv")
    assert (video.movie, video.metrics) == (tmp_path / "out.mkv", tmp_path / "out.metrics.json")
    assert folder.work != video.work
    assert OutputTarget(tmp_path / "out").movie is None


def test_whether_it_is_there_already(tmp_path: Path) -> None:
    """Catches an output of another input, or one that is not whole, taken for this one."""
    target = OutputTarget(tmp_path / "out.mkv")
    assert not target.is_restored_from("blur", WHOLE)
    target.metrics.write_text(json.dumps({"input": str(Path("blur").absolute())}))
    assert target.is_restored_from("blur", WHOLE)
    assert not target.is_restored_from("other", WHOLE)
    assert not target.is_restored_from("blur", WHOLE | {"to": "12"})
    target.work.mkdir()
    assert not target.is_restored_from("blur", WHOLE)


@pytest.mark.parametrize(
    ("path", "video", "settings", "message"),
    [
        ("out.mkv", "b.mkv", VideoSettings(), "expected a folder for frames and a video"),
        ("out", "folder", VideoSettings(), "expected a folder for frames and a video"),
        ("out", "b.mkv", VideoSettings("prores"), "expected .mov for codec prores"),
        ("out", "out/b.mkv", VideoSettings(), "expected a video outside of the folder for frames"),
        ("out", "out/more/b.mkv", VideoSettings(), "expected a video outside of the folder for frames"),
        ("link", "empty/b.mkv", VideoSettings(), "expected a video outside of the folder for frames"),
        (".", "b.mkv", VideoSettings(), "expected a video outside of the folder for frames"),
        ("photographs", None, VideoSettings(), "expected a new output"),
        ("taken.mp4", None, VideoSettings(), "expected a new output"),
        ("out", "taken.mp4", VideoSettings(), "expected a new output"),
    ],
)
def test_what_may_not_be_written(
    tmp_path: Path, path: str, video: str | None, settings: VideoSettings, message: str
) -> None:
    """Catches a lost earlier result, and a mistake that shows only after the network has worked for hours."""
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.png").write_bytes(b"")
    (tmp_path / "taken.mp4").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    target = OutputTarget(tmp_path / path, None if video is None else tmp_path / video, settings)
    with pytest.raises(InputError, match=message):
        target.check()


def test_only_results_are_replaced(tmp_path: Path) -> None:
    """Catches a folder of photographs that `--overwrite` and a slip of the pen replace."""
    target = OutputTarget(tmp_path, overwrite=True)
    target.check()
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected the output of an earlier run to replace, found no metrics\.json"):
        target.check()
    target.metrics.write_text("{}")
    target.check()
