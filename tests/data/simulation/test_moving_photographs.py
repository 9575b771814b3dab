"""Tests of the embedded data set, its photographs and its motion."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.data.datasets.layout import read_alignment, sequence_names
from spikejax.data.datasets.voxel_statistics import ensure_statistics, measure_statistics, read_statistics
from spikejax.data.light import luminance, to_display
from spikejax.data.simulation.camera_settings import CameraSettings
from spikejax.data.simulation.motion import random_motion
from spikejax.data.simulation.moving_photographs import SceneSettings, make_scene, write_moving_photographs
from spikejax.data.simulation.photographs import PHOTOGRAPHS
from spikejax.data.simulation.rig import CameraRig
from spikejax.data.sources import find_dataset
from spikejax.data.spikes.stream_files import read_dat
from spikejax.data.spikes.stream_size import read_config
from spikejax.data.spikes.voxels import voxelise
from spikejax.errors import InputError
from spikejax.io.pictures import read_picture
from spikejax.io.pixel_depth import to_uint8
from tests.data.simulation.cameras import blur

SMALL: dict[str, Any] = dict(train_sequences=2, val_sequences=1, frames=2, height=32, width=48)
CAMERA = CameraSettings(steps_per_frame=16)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, not to be changed."""
    folder = tmp_path_factory.mktemp("scenes") / "data"
    assert write_moving_photographs(folder, camera=CAMERA, bins=8, workers=2, progress=False, **SMALL)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_layout_is_the_agreed_one(root: Path) -> None:
    """Catches missing or misnamed files and logs, and windows that do not follow each other."""
    files = contents(root)
    for split, count in (("train", 2), ("val", 1)):
        names = sequence_names(root / split)
        assert len(names) == count
        rows = read_alignment(root / split)
        assert [(row.sequence, row.frame, row.t0, row.t1) for row in rows] == [
            (name, frame, 16 * frame, 16 * frame + 16) for name in names for frame in range(2)
        ]
        for row in rows:
            stem = f"{split}/{row.sequence}/{{}}/{row.frame:06d}"
            assert read_picture(root / (stem.format("blur") + ".png")).shape == (32, 48, 3)
            assert read_picture(root / (stem.format("sharp") + ".png")).shape == (32, 48, 3)
            spikes = read_dat(root / (stem.format("spike") + ".dat"), height=32, width=48)
            assert len(spikes) == 16 and spikes.sum() == row.spikes > 0
        config = read_config(root / split / names[0] / "spike")
        assert (config.height, config.width) == (32, 48)
        assert files[f"{split}/dropped.csv"] == b"sequence,frame,reason\n"
        with (root / split / "alignment.csv").open() as file:
            assert next(csv.reader(file)) == ["sequence", "frame", "t0", "t1", "spikes"]
    description = json.loads(files["dataset.json"])
    assert description["format"] == 1 and description["seed"] == 0 and description["steps_per_frame"] == 16


def test_same_for_any_number_of_workers(root: Path, tmp_path: Path) -> None:
    """Catches randomness that threads share, and a seed that is not used."""
    write_moving_photographs(tmp_path / "one", camera=CAMERA, bins=8, workers=1, progress=False, **SMALL)
    assert contents(tmp_path / "one") == contents(root)
    write_moving_photographs(tmp_path / "other", camera=CAMERA, bins=8, seed=1, progress=False, **SMALL)
    assert contents(tmp_path / "other")["train/alignment.csv"] != contents(root)["train/alignment.csv"]


def test_written_once(root: Path) -> None:
    """Catches a data set rendered again at every start, and one of other settings that is used or destroyed unasked."""
    before = contents(root)
    assert not write_moving_photographs(root, camera=CAMERA, bins=8, progress=False, **SMALL)
    with pytest.raises(InputError, match=r"seed 3, found one with seed 0.*dataset\.json"):
        write_moving_photographs(root, camera=CAMERA, bins=8, seed=3, progress=False, **SMALL)
    assert contents(root) == before


def test_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a half-written data set that the next start would believe."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("spikejax.data.simulation.moving_photographs.write_sequence", fail)
    with pytest.raises(OSError, match="disk full"):
        write_moving_photographs(tmp_path / "data", camera=CAMERA, progress=False, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_splits_share_no_photograph() -> None:
    """Catches validation on textures that training has seen."""
    assert not set(PHOTOGRAPHS["train"]) & set(PHOTOGRAPHS["val"])


def test_moving_scenes_are_validated_on_the_same(root: Path, tmp_path: Path) -> None:
    """Catches validation that moves with what is trained on, and training that is still on the photographs alone."""
    sizes = SMALL | dict(train_sequences=4)
    write_moving_photographs(tmp_path / "data", camera=CAMERA, bins=8, progress=False, varied=True, **sizes)
    files, plain = contents(tmp_path / "data"), contents(root)
    validation = [name for name in plain if name.startswith("val/")]
    assert validation and all(files[name] == plain[name] for name in validation)
    assert sequence_names(tmp_path / "data" / "train") == [
        "000_astronaut", "001_leaves", "002_stereo_motorcycle", "003_leaves"
    ]  # fmt: skip
    assert files["train/001_leaves/sharp/000000.png"] != files["train/003_leaves/sharp/000000.png"]
    assert files["train/000_astronaut/sharp/000000.png"] != plain["train/000_astronaut/sharp/000000.png"]
    with pytest.raises(InputError, match="source .moving photographs.*, found one with source .moving scenes"):
        write_moving_photographs(tmp_path / "data", camera=CAMERA, bins=8, progress=False, **sizes)


def test_the_source_decides_what_is_trained_on(tmp_path: Path) -> None:
    """Catches a source of the configuration that makes the other data set."""
    for source, varied in (("moving_photographs", False), ("moving_scenes", True)):
        settings = SMALL | dict(camera=CAMERA)
        find_dataset(source).make(tmp_path / source, bins=8, seed=0, settings=settings)
        description = json.loads((tmp_path / source / "dataset.json").read_text())
        assert ("leaves" in description["photographs"]["train"]) == varied
        assert description["photographs"]["val"] == list(PHOTOGRAPHS["val"])


def test_pictures_and_spikes_show_the_same_light() -> None:
    """Catches blur in display values, a sharp picture that is not the middle, and spikes of other instants."""
    settings = SceneSettings(frames=2, height=32, width=48, max_motion=8.0, camera=CameraSettings(steps_per_frame=40))
    scene = make_scene(settings, "train", 1)
    for frame, exposure in enumerate(scene.exposures()):
        light = scene.render(frame + (np.arange(40) + 0.5) / 40)
        np.testing.assert_allclose(exposure.blur, 255 * blur(light), atol=0.51)
        middle = scene.render(np.array([frame + 0.5]))[0]
        np.testing.assert_array_equal(exposure.sharp, to_uint8(to_display(middle)))
        difference = exposure.spikes.sum(axis=0) - luminance(light).sum(axis=0)
        assert np.abs(difference).max() <= 1 + 1e-3
        # Of all instants the sharp picture is most like the middle ones.
        errors = [np.abs(to_uint8(to_display(step)).astype(int) - exposure.sharp).mean() for step in light]
        assert int(np.argmin(errors)) in (19, 20) and errors[0] > 2 * errors[19]


def test_pieces_occlude() -> None:
    """Catches pieces that are never drawn, or that shine through instead of hiding what is behind them."""
    settings = SceneSettings(frames=2, height=64, width=64)
    scene = make_scene(settings, "train", 0)
    times = np.array([settings.frames / 2])
    with_pieces = scene.render(times)[0]
    piece = scene.pieces[-1]
    scene_without = type(scene)(scene.name, scene.background, (), settings, scene.rng)
    changed = np.abs(with_pieces - scene_without.render(times)[0]).max(axis=-1) > 1e-3
    assert 0.01 < changed.mean() < 0.95
    # At the last piece's centre there is that piece alone.
    to_texture = piece.frame_to_texture(times, height=64, width=64)[0]
    centre = np.linalg.solve(to_texture[:, :2], np.array(piece.texture.shape[1::-1]) / 2 - to_texture[:, 2])
    column, row = np.rint(centre).astype(int)
    assert 0 <= row < 64 and 0 <= column < 64
    seen = to_texture @ (column, row, 1)
    texture = piece.texture[int(seen[1]) : int(seen[1]) + 2, int(seen[0]) : int(seen[0]) + 2, :3].reshape(-1, 3)
    assert (with_pieces[row, column] >= texture.min(axis=0) - 1e-3).all()
    assert (with_pieces[row, column] <= texture.max(axis=0) + 1e-3).all()


@pytest.mark.parametrize("seed", range(5))
def test_motion_is_bounded_smooth_and_sub_pixel(seed: int) -> None:
    """Catches motion beyond the bound, none at all, jumps between steps, and accelerations that jump."""
    motion = random_motion(
        np.random.default_rng(seed), pixels_per_exposure=20.0, frames=10, half_height=64.0, half_width=80.0
    )
    assert motion.largest_motion(frames=10, half_height=64.0, half_width=80.0) == pytest.approx(20, rel=0.02)
    poses = motion.poses(np.arange(0, 10, 1 / 64))
    np.testing.assert_array_equal(poses[0], 0)
    speed = np.diff(poses[:, :2], axis=0)
    assert np.linalg.norm(speed, axis=1).max() < 0.6
    acceleration, jerk = np.diff(speed, axis=0), np.diff(speed, n=2, axis=0)
    assert np.abs(jerk).max() < 0.1 * np.abs(acceleration).max()
    assert np.ptp(poses[:, 2]) > 0 and np.ptp(poses[:, 3]) > 0


def test_shaking_stays_within_its_margin() -> None:
    """Catches a shaken view that leaves the picture it is cut from, and one that is scaled up far too much."""
    half = dict(half_height=64.0, half_width=80.0)
    motion = random_motion(np.random.default_rng(0), pixels_per_exposure=20.0, frames=30, wander=False, **half)
    margin = motion.margin(frames=30, **half)
    turn, shift = motion.maps(np.arange(0, 30, 1 / 8))
    seen = turn @ np.array([80.0, -64.0]) + shift
    assert np.abs(seen).max(axis=0)[0] <= 80 + margin and np.abs(seen).max(axis=0)[1] <= 64 + margin
    assert 0 < margin < 60


def test_rig_in_pieces_and_with_larger_pixels() -> None:
    """Catches exposures that depend on how light is handed over, and spike pixels that see a part of their area."""
    light = np.random.default_rng(0).random((30, 8, 16, 3)).astype(np.float32)
    settings = CameraSettings(steps_per_frame=30, spike_scale=2)
    whole, pieces = (CameraRig(8, 16, settings, rng=np.random.default_rng(1)) for _ in range(2))
    whole.expose(light)
    pieces.expose(light[:7])
    pieces.expose(light[7:])
    first, second = whole.end_exposure(light[15]), pieces.end_exposure(light[15])
    np.testing.assert_array_equal(first.spikes, second.spikes)
    assert np.abs(first.blur.astype(int) - second.blur).max() <= 1  # sums of float32 in another order
    grey = luminance(light).reshape(30, 4, 2, 8, 2).mean(axis=(2, 4))
    assert first.spikes.shape == (30, 4, 8)
    assert np.abs(first.spikes.sum(axis=0) - grey.sum(axis=0)).max() <= 1 + 1e-3
    with pytest.raises(InputError, match="spike scale 2"):
        CameraRig(9, 16, settings, rng=np.random.default_rng(1))
    with pytest.raises(InputError, match="gain <= theta"):
        CameraSettings(theta=0.5)


def test_statistics_are_of_the_training_split(root: Path) -> None:
    """Catches counts without the logarithm, sums in float32, and validation data among them."""
    values = [
        np.log1p(voxelise(read_dat(path, height=32, width=48), 4).astype(np.float64))
        for path in sorted((root / "train").glob("*/spike/*.dat"))
    ]
    statistics = measure_statistics(root, bins=4)
    assert statistics.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert statistics.std == pytest.approx(np.std(values), rel=1e-12)
    assert (statistics.windows, statistics.split, statistics.bins) == (4, "train", 4)


def test_statistics_file(tmp_path: Path) -> None:
    """Catches statistics for other bins, of validation data, or without spread that are used silently."""
    write_moving_photographs(tmp_path / "data", camera=CAMERA, bins=8, progress=False, **SMALL)
    root = tmp_path / "data"
    assert read_statistics(root, bins=8) == ensure_statistics(root, bins=8)
    with pytest.raises(InputError, match="for 4 bins, found them for 8"):
        read_statistics(root, bins=4)
    assert ensure_statistics(root, bins=4) == read_statistics(root, bins=4)
    path = root / "statistics.json"
    good = json.loads(path.read_text())
    for wrong in ({"std": 0.0}, {"split": "val"}, {"mean": "much"}, {"mean": float("nan")}):
        path.write_text(json.dumps({**good, **wrong}))
        with pytest.raises(InputError, match=r"statistics\.json"):
            read_statistics(root, bins=4)
    path.unlink()
    with pytest.raises(InputError, match="found none"):
        read_statistics(root, bins=4)
