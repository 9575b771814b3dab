"""A real stream as a validation sequence."""

from pathlib import Path

import numpy as np
import pytest

from spikejax import simulate
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.light import to_display
from spikejax.data.spikes.stream_files import read_dat, write_dat
from spikejax.data.spikes.voxels import voxelise
from spikejax.errors import InputError
from spikejax.io.pixel_depth import to_uint8

HEIGHT, WIDTH, STEPS = 16, 32, 24
REAL = Path(__file__).parents[1] / "real" / "frames_131_to_170.dat"


def cut(stream: Path, root: Path, *options: str) -> FolderDataset:
    """The validation split that the command makes of a stream."""
    arguments = ["--input", str(stream), "--output", str(root), "--split", "val", *options]
    simulate.main(arguments)
    return FolderDataset(root, "val", ClipSpec(2, 4, statistics=SpikeStatistics(4, 0.0, 1.0, windows=1)))


def test_exposures_of_a_stream(tmp_path: Path) -> None:
    """Catches windows of other steps, pictures of another brightness, and a truth that is as blurred as the input."""
    # A bright bar that moves a column every 4 steps over a dark ground; there it fires at every second step.
    spikes = np.zeros((3 * STEPS + 5, HEIGHT, WIDTH), np.uint8)
    for step in range(0, len(spikes), 2):
        spikes[step, :, step // 4 : step // 4 + 4] = 1
    write_dat(tmp_path / "stream.dat", spikes)
    dataset = cut(tmp_path / "stream.dat", tmp_path / "root", "--size", f"{HEIGHT}x{WIDTH}", "--steps", str(STEPS))
    assert dataset.sequences() == [("stream", 3)]
    (run,) = dataset.runs
    stored = dataset.read_run(run, 0, 3)
    for frame in range(3):
        window = spikes[frame * STEPS : (frame + 1) * STEPS]
        np.testing.assert_array_equal(stored["voxels"][frame], voxelise(window, 4))
        expected = to_uint8(to_display(window.mean(axis=0, dtype=np.float32)))
        np.testing.assert_array_equal(stored["input"][frame], np.repeat(expected[..., None], 3, axis=-1))
        # At the middle the bar is where it fires then, as bright as its rate of a half, and nowhere else.
        first = (frame * STEPS + STEPS // 2) // 4
        row = stored["sharp"][frame, 0, :, 0].astype(int)
        bar = int(to_uint8(to_display(np.full((1,), 0.5, np.float32)))[0])
        assert (row[first + 1 : first + 3] == bar).all() and (row[: max(0, first - 1)] < bar / 2).all()
        assert (row[first + 5 :] < bar / 2).all()
        assert (stored["input"][frame, 0, :, 0] > 0).sum() > 7


def test_theta_is_the_brightness(tmp_path: Path) -> None:
    """Catches a threshold that is not taken, with which the pictures of a real stream are nearly black."""
    dark, bright = (
        cut(REAL, tmp_path / theta, "--size", "250x400", "--steps", "20", "--theta", theta, "--max-frames", "2")
        for theta in ("1", "2")
    )
    means = []
    for dataset in (dark, bright):
        stored = dataset.read_run(dataset.runs[0], 0, 2)
        means.append([(stored[name].astype(float) / 255).mean() for name in ("input", "sharp")])
    np.testing.assert_allclose(np.divide(*means[::-1]), 2 ** (1 / 2.2), rtol=0.05)
    assert dark.sequences() == [(REAL.stem, 2)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--steps", "50"), "expected a stream of at least 50 steps"),
        (("--split", "train"), "expected --split val and no option of motion"),
        (("--shake", "3"), "a camera of its own and no truth to train on"),
        (("--dark-rate", "0.1"), "a camera of its own"),
    ],
)
def test_what_a_stream_cannot_be(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    """Catches options that are passed over, training on what is no truth, and a data set without a frame."""
    write_dat(tmp_path / "stream.dat", read_dat(REAL, height=250, width=400)[:, :HEIGHT, :WIDTH])
    with pytest.raises(InputError, match=message):
        cut(tmp_path / "stream.dat", tmp_path / "root", "--size", f"{HEIGHT}x{WIDTH}", *options)
    assert not (tmp_path / "root").exists() or not any((tmp_path / "root").rglob("*.png"))
