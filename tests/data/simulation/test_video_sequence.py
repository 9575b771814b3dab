"""Tests of turning a video into a sequence; tests/test_simulate.py has those of the whole command."""

from pathlib import Path

import numpy as np
import pytest

from spikejax.data.simulation import video_sequence
from spikejax.data.simulation.camera_settings import CameraSettings
from spikejax.data.simulation.video_sequence import SimulateSettings, add_sequence
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture

HEIGHT, WIDTH = 24, 32


@pytest.mark.parametrize("steps", [16, 15])
def test_an_exposure_in_pieces_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Catches steps that are lost or doubled between two pieces, and a sharp picture of another instant."""
    (tmp_path / "clip").mkdir()
    rng = np.random.default_rng(0)
    for number in range(9):
        picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        write_picture(tmp_path / "clip" / f"{number}.png", picture)
    settings = SimulateSettings(
        exposure_frames=4, size=None, shake=3.0, max_frames=None, seed=0, camera=CameraSettings(steps_per_frame=steps)
    )
    folders = []
    for root, pieces in (("whole", 1), ("cut", 3)):
        # A third of the light and a little more: three pieces, the last of which is shorter.
        monkeypatch.setattr(video_sequence, "_CHUNK_BYTES", HEIGHT * WIDTH * 3 * 4 * -(-steps // pieces))
        source = open_frames(tmp_path / "clip")
        folders.append(add_sequence(source, tmp_path / root, "clip", settings, split="train"))
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        for folder in folders
    ]
    assert len(files[0]) == 2 * 3 + 1
    assert files[0] == files[1]
