"""Tests of turning videos into spike-deblurring sequences."""

import json
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.layout import read_alignment
from spikejax.data.light import luminance, to_display, to_linear
from spikejax.data.simulation.interpolated_light import EndOfFrames, Interpolator
from spikejax.data.simulation.photographs import load_photograph
from spikejax.data.spikes.stream_files import read_dat
from spikejax.errors import InputError
from spikejax.io.pictures import read_picture, write_picture
from spikejax.simulate import main

HEIGHT, WIDTH = 48, 64


def moving_frames(count: int, pixels: int) -> list[np.ndarray]:
    """A photograph that moves to the left by whole pixels per frame."""
    display = to_display(load_photograph("astronaut"))
    picture = np.rint(255 * display).astype(np.uint8)[100 : 100 + 2 * HEIGHT : 2, 50::2]
    return [picture[:, pixels * n : pixels * n + WIDTH].copy() for n in range(count)]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Twelve frames, as a folder of pictures."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for number, frame in enumerate(moving_frames(12, pixels=2)):
        write_picture(folder / f"{number}.png", frame)
    return folder


def run(video: Path, root: Path, *options: str) -> None:
    """Calls the entry point."""
    main(["--input", str(video), "--output", str(root), "--exposure-frames", "4", "--steps", "16", *options])


def test_interpolation_follows_the_motion() -> None:
    """Catches flow of the wrong sign or share: half-way between two frames everything is half-way."""
    frames = moving_frames(2, pixels=4)
    quarter = moving_frames(5, pixels=1)
    light = Interpolator(iter(frames))
    np.testing.assert_allclose(light.at(0.0), to_linear(frames[0].astype(np.float32) / 255), atol=1e-6)
    for number in (1, 2, 3):
        found = to_display(light.at(number / 4))[8:-8, 8:-8]
        wanted, still = quarter[number][8:-8, 8:-8] / 255, frames[0][8:-8, 8:-8] / 255
        assert np.abs(found - wanted).mean() < 0.25 * np.abs(found - still).mean()
    np.testing.assert_allclose(light.at(1.0), to_linear(frames[1].astype(np.float32) / 255), atol=1e-6)
    with pytest.raises(EndOfFrames):
        light.at(1.1)


def test_sequence_can_be_trained_on(video: Path, tmp_path: Path) -> None:
    """Catches a layout that the data set does not read, and pictures, spikes and logs that do not belong together."""
    root = tmp_path / "data"
    run(video, root, "--sequence", "walk", "--bins", "4")
    dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=4))
    assert dataset.sequences() == [("walk", 2)] and dataset.dropped == ()
    folder = root / "train" / "walk"
    frames = moving_frames(12, pixels=2)
    for number, row in enumerate(read_alignment(root / "train")):
        assert (row.sequence, row.frame, row.t0, row.t1) == ("walk", number, 16 * number, 16 * number + 16)
        stem = f"{number:06d}"
        # The middle of the exposure is a frame of the video, to the last bit.
        np.testing.assert_array_equal(read_picture(folder / "sharp" / f"{stem}.png"), frames[4 * number + 2])
        linear = to_linear(np.stack(frames[4 * number : 4 * number + 5]).astype(np.float32) / 255)
        mean = np.average(linear, axis=0, weights=[1, 2, 2, 2, 1]).astype(np.float32)
        blur = read_picture(folder / "blur" / f"{stem}.png") / 255
        assert np.abs(blur - to_display(mean)).mean() < 0.02
        rate = read_dat(folder / "spike" / f"{stem}.dat", height=HEIGHT, width=WIDTH).mean(axis=0)
        assert np.corrcoef(rate.ravel(), luminance(mean).ravel())[0, 1] > 0.98
    assert json.loads((root / "dataset.json").read_text())["sequences"]["train/walk"]["input"] == "clip"


def test_flags(video: Path, tmp_path: Path) -> None:
    """Catches flags without effect: size, spike scale, threshold, most frames, split, odd exposures, shake."""
    root = tmp_path / "data"
    run(
        video,
        root,
        *("--size", "32x40", "--spike-scale", "2", "--theta", "2.0", "--max-frames", "1", "--split", "val"),
        *("--exposure-frames", "3"),
    )
    folder = root / "val" / "clip"
    assert read_picture(folder / "blur" / "000000.png").shape == (32, 40, 3)
    assert [path.name for path in (folder / "sharp").iterdir()] == ["000000.png"]
    spikes = read_dat(folder / "spike" / "000000.dat", height=16, width=20)
    assert spikes.shape == (16, 16, 20)
    light = luminance(to_linear(read_picture(folder / "blur" / "000000.png").astype(np.float32) / 255))
    assert spikes.mean() == pytest.approx(light.mean() / 2, rel=0.1)
    assert not (root / "statistics.json").exists()
    shaken = tmp_path / "shaken"
    run(video, shaken, "--shake", "15")
    plain = tmp_path / "plain"
    run(video, plain)
    stem = "train/clip/blur/000001.png"
    assert not np.array_equal(read_picture(shaken / stem), read_picture(plain / stem))


def test_the_camera_is_as_imperfect_as_asked_for(video: Path, tmp_path: Path) -> None:
    """Catches flags of the sensor's noise and reset that change nothing, or are not written down."""
    streams = {}
    for number, options in enumerate(
        [
            (),
            ("--shot-photons", "20"),
            ("--threshold-variation", "0.1"),
            ("--dark-rate", "0.05", "--dark-variation", "0.5"),
            ("--reset", "zero", "--theta", "1.7"),
        ]
    ):
        root = tmp_path / str(number)
        run(video, root, "--max-frames", "1", *options)
        streams[options] = (root / "train/clip/spike/000000.dat").read_bytes()
    assert len(set(streams.values())) == 5
    camera = json.loads((root / "dataset.json").read_text())
    assert camera["reset"] == "zero" and camera["noise"]["shot_photons"] == 0
    with pytest.raises(InputError, match="dark_rate: expected spikes a step from 0 to below 1"):
        run(video, tmp_path / "wrong", "--dark-rate", "2")


def test_results_are_repeatable_and_kept(video: Path, tmp_path: Path) -> None:
    """Catches a seed that is not used, an overwritten sequence, and a second sequence that destroys the first's log."""
    root = tmp_path / "data"
    run(video, root, "--sequence", "a")
    run(video, root, "--sequence", "b")
    run(video, tmp_path / "again", "--sequence", "a")
    files = ["blur/000000.png", "spike/000001.dat"]
    for name in files:
        assert (root / "train/a" / name).read_bytes() == (tmp_path / "again/train/a" / name).read_bytes()
    assert (root / "train/a" / files[1]).read_bytes() != (root / "train/b" / files[1]).read_bytes()
    assert [row.sequence for row in read_alignment(root / "train")] == ["a", "a", "b", "b"]
    with pytest.raises(InputError, match=r"new or empty folder.*train/a"):
        run(video, root, "--sequence", "a")
    run(video, root, "--sequence", "a", "--overwrite", "--max-frames", "1")
    assert [row.sequence for row in read_alignment(root / "train")] == ["a", "b", "b"]
    with pytest.raises(InputError, match=r"theta 2\.0, found 1\.0.*dataset\.json"):
        run(video, root, "--sequence", "c", "--theta", "2.0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--exposure-frames", "12"), "at least 13 frames"),
        (("--exposure-frames", "11"), "at least 13 frames"),
        (("--sequence", "../outside"), "sequence name"),
        (("--theta", "0.5"), "gain <= theta"),
        (("--size", "33x40", "--spike-scale", "2"), "spike scale 2"),
    ],
)
def test_bad_input_leaves_nothing(video: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    """Catches half-written sequences and errors that say nothing."""
    root = tmp_path / "data"
    with pytest.raises(InputError, match=message):
        run(video, root, *options)
    assert not [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "option", [("--steps", "0"), ("--size", "0x8"), ("--size", "8"), ("--theta", "-1"), ("--wrong", "1")]
)
def test_bad_flags_end_with_exit_code_2(
    tmp_path: Path, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches values that would fail deep inside."""
    with pytest.raises(SystemExit) as caught:
        main(["--input", str(tmp_path), "--output", str(tmp_path / "data"), *option])
    assert caught.value.code == 2 and option[0] in capsys.readouterr().err
