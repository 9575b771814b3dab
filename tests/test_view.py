"""Tests of contact sheets and videos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.data.simulation.rig import CameraSettings
from spikejax.data.spikes.stream_files import StreamConfig, write_config, write_dat
from spikejax.errors import InputError
from spikejax.io.frame_source import open_frames, read_picture, write_picture
from spikejax.reports.contact_sheet import Row, draw_sheet
from spikejax.view import data_set_rows, main, stream_rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, not to be changed."""
    folder = tmp_path_factory.mktemp("view") / "data"
    camera = CameraSettings(steps_per_frame=24, spike_scale=2)
    sizes = dict(train_sequences=2, val_sequences=1, frames=3, height=64, width=80)
    write_moving_photographs(folder, camera=camera, bins=8, workers=1, progress=False, **sizes)
    return folder


def name_of(split: Path) -> str:
    """Its first sequence."""
    return sorted(folder.name for folder in split.iterdir() if folder.is_dir())[0]


def view(*options: str | Path | Sequence[str]) -> None:
    """Calls the entry point."""
    main([str(option) for option in options])


def test_rows_of_a_sequence(root: Path) -> None:
    """Catches wrong frames, times, panels, and spikes that do not show what the pictures show."""
    name = name_of(root / "val")
    rows = list(data_set_rows(root / "val" / name).rows)
    assert [row.title.split(",")[0] for row in rows] == [
        f"{name} 00000{n}: steps {24 * n} to {24 * n + 24}" for n in range(3)
    ]
    for number, row in enumerate(rows):
        assert row.warning == "" and float(row.title.split()[-1]) > 0.9
        assert [label.split(":")[0] for label in row.panels] == ["blur", "spikes", "TFP", "TFI", "sharp", "edges"]
        blur = read_picture(root / "val" / name / "blur" / f"00000{number}.png")
        np.testing.assert_array_equal(row.panels["blur"], blur)
        rate = row.panels["spikes: rate of 24 steps"]
        assert rate.shape == (32, 40, 3) and abs(float(rate.mean()) - float(blur.mean())) < 12
    assert len(list(data_set_rows(root, sequence=name, most=2).rows)) == 2


def test_a_misaligned_sequence_is_pointed_out(root: Path, tmp_path: Path) -> None:
    """Catches spikes of the wrong frames, the commonest mistake of preparation, that look all right."""
    name = name_of(root / "val")
    source, target = root / "val" / name, tmp_path / "val" / name
    for part in ("blur", "sharp", "spike"):
        (target / part).mkdir(parents=True)
        for number in range(3):
            suffix = "dat" if part == "spike" else "png"
            taken = (number + 1) % 3 if part == "spike" else number
            content = (source / part / f"00000{taken}.{suffix}").read_bytes()
            (target / part / f"00000{number}.{suffix}").write_bytes(content)
    write_config(target / "spike", StreamConfig(32, 40))
    rows = list(data_set_rows(tmp_path / "val" / name).rows)
    assert [row.warning.split(" correlates")[0] for row in rows[1:]] == ["the window before"] * 2


def test_sheets_and_videos(root: Path, tmp_path: Path) -> None:
    """Catches outputs that are not written, of another size, or that destroy what is there."""
    name = name_of(root / "train")
    recon = tmp_path / "recon"
    recon.mkdir()
    for number in range(3):
        write_picture(recon / f"00000{number}.png", np.full((64, 80, 3), 9, np.uint8))
    sheet = tmp_path / "sheet.png"
    view("--input", root, "--sequence", name, "--recon", recon, "--output", sheet)
    picture = read_picture(sheet)
    assert picture.shape[1] == 6 + 7 * 86 and picture.shape[0] % 3 == 0
    assert (picture == 9).all(axis=-1).sum() >= 3 * 64 * 80
    view("--input", root, "--output", tmp_path / "all.png", "--panel-width", "40")
    assert read_picture(tmp_path / "all.png").shape[0] % 3 == 0
    video = tmp_path / "walk.mp4"
    view("--input", root / "train" / name, "--output", video, "--panel-width", "40")
    assert open_frames(video).count == 3
    with pytest.raises(InputError, match=r"exists already.*walk\.mp4"):
        view("--input", root / "train" / name, "--output", video)


def test_bare_streams(tmp_path: Path) -> None:
    """Catches streams without a data set that are not shown, even where nothing or everything fires."""
    path = tmp_path / "a.dat"
    for spikes in (np.zeros((9, 8, 16), np.uint8), np.ones((9, 8, 16), np.uint8), np.eye(16, dtype=np.uint8)[:1, None]):
        write_dat(path, np.broadcast_to(spikes, (len(spikes), 8, 16)))
        rows = list(stream_rows(path, size=(8, 16), most=4).rows)
        for row in rows:
            assert [panel.shape for panel in row.panels.values()] == [(8, 16, 3)] * 4
            assert draw_sheet([row], panel_width=64).shape[1] == 6 + 4 * 70
    write_dat(path, np.ones((40, 8, 16), np.uint8))
    write_config(tmp_path, StreamConfig(8, 16))
    rows = list(stream_rows(path, half_width=4, most=3).rows)
    assert [row.title.split(":")[0] for row in rows] == ["step 4 of 40", "step 20 of 40", "step 35 of 40"]
    assert all((panel == 255).all() for row in rows for panel in row.panels.values())
    view("--input", path, "--output", tmp_path / "a.mp4", "--panel-width", "32")
    assert open_frames(tmp_path / "a.mp4").count == 8  # without the steps whose windows are cut off


def test_bad_input_is_one_line(root: Path, tmp_path: Path) -> None:
    """Catches tracebacks, and half-written outputs."""
    cut = tmp_path / "cut.dat"
    cut.write_bytes(bytes(17))
    empty = tmp_path / "recon"
    empty.mkdir()
    write_picture(empty / "other.png", np.zeros((8, 8, 3), np.uint8))
    name = name_of(root / "val")
    output = tmp_path / "out.png"
    for message, options in {
        "whole number of spike frames": ["--input", cut, "--spike-size", "8,16"],
        "--spike-size": ["--input", cut],
        "found none": ["--input", tmp_path / "absent.dat", "--spike-size", "8,16"],
        "expected a data set": ["--input", tmp_path / "absent"],
        "train or val": ["--input", tmp_path],
        "found no 'absent'": ["--input", root, "--sequence", "absent"],
        "restored picture 000000": ["--input", root, "--sequence", name, "--recon", empty],
        "one sequence .* for --recon": ["--input", root, "--recon", empty],
    }.items():
        with pytest.raises(InputError, match=message):
            view(*options, "--output", output)
    with pytest.raises(InputError, match="one sequence for a video"):
        view("--input", root, "--output", tmp_path / "out.mp4")
    with pytest.raises(InputError, match="found .*out.txt"):
        view("--input", root, "--output", tmp_path / "out.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.dat", "recon"]


def test_sheets_keep_pixels_and_warn() -> None:
    """Catches labels over the pictures, smoothed enlargements, and warnings that are not drawn."""
    small = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)
    drawn = draw_sheet([Row("title", {"a": small, "b": small})], panel_width=20)
    assert (drawn == (255, 0, 0)).all(axis=-1).sum() == (drawn == (0, 255, 0)).all(axis=-1).sum() == 200
    wide = np.zeros((4, 300, 3), np.uint8)
    plain, warned = (draw_sheet([Row("title", {"a": wide}, warning)]) for warning in ("", "look"))
    assert not np.array_equal(plain, warned)
