from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.data.spikes.voxels import voxelise
from spikejax.errors import InputError
from spikejax.inference.voxel_source import VoxelSource
from spikejax.io.frame_source import FrameSource, open_frames
from spikejax.io.pictures import write_picture
from spikejax.io.tiled_arrays import create_frames

FRAMES, HEIGHT, WIDTH, STEPS, BINS = 3, 16, 24, 10, 5
STREAM = (np.random.default_rng(0).random((FRAMES * STEPS, HEIGHT, WIDTH)) < 0.4).astype(np.uint8)


@pytest.fixture
def frames(tmp_path: Path) -> FrameSource:
    """A folder of black frames; what is in them plays no part here."""
    folder = tmp_path / "blur"
    folder.mkdir()
    for index in range(FRAMES):
        write_picture(folder / f"{index:06d}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return open_frames(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a .dat for each frame."""
    for index in range(FRAMES):
        write_dat(tmp_path / "spike" / f"{index:06d}.dat", STREAM[index * STEPS : (index + 1) * STEPS])
    write_config(tmp_path, StreamConfig(HEIGHT, WIDTH))
    return tmp_path / "spike"


def expected_voxels() -> np.ndarray:
    """The counts of all frames, made from the stream in memory."""
    windows = STREAM.reshape(FRAMES, STEPS, HEIGHT, WIDTH)
    return np.stack([voxelise(window, BINS) for window in windows])


def test_a_dat_per_frame(frames: FrameSource, folder: Path) -> None:
    """Catches another order of the files, counts of other windows, and a start that is shifted where a run goes on."""
    source = VoxelSource(folder, frames, bins=BINS)
    assert source.shape == (HEIGHT, WIDTH, BINS)
    size = f"spikes of {HEIGHT}x{WIDTH} (height x width), as {folder.parent / 'config.yaml'} says"
    assert source.notes == [size]
    np.testing.assert_array_equal(np.stack(list(source)), expected_voxels())
    assert next(iter(source)).dtype == np.uint8
    np.testing.assert_array_equal(np.stack(list(source.read(1))), expected_voxels()[1:])


def test_one_dat_is_cut_into_equal_windows(frames: FrameSource, tmp_path: Path) -> None:
    """Catches windows that are shifted or of another length than the frames' share."""
    write_dat(tmp_path / "all.dat", STREAM)
    source = VoxelSource(tmp_path / "all.dat", frames, bins=BINS, size=(HEIGHT, WIDTH))
    np.testing.assert_array_equal(np.stack(list(source)), expected_voxels())


def test_one_dat_is_cut_into_logged_windows(frames: FrameSource, tmp_path: Path) -> None:
    """Catches windows of equal length where a log says others, lines of other sequences, and windows past the end."""
    write_dat(tmp_path / "clip" / "spike" / "all.dat", STREAM)
    write_config(tmp_path / "clip", StreamConfig(HEIGHT, WIDTH))
    windows = [(0, 7), (9, 21), (20, 30)]
    log = tmp_path / "alignment.csv"
    lines = [f"{name},{number},{t0},{t1},0" for name in ("other", "clip") for number, (t0, t1) in enumerate(windows)]
    log.write_text("\n".join(["sequence,frame,t0,t1,spikes", *lines]))
    source = VoxelSource(tmp_path / "clip" / "spike" / "all.dat", frames, bins=BINS, windows=log)
    expected = np.stack([voxelise(STREAM[t0:t1], BINS) for t0, t1 in windows])
    np.testing.assert_array_equal(np.stack(list(source)), expected)
    log.write_text("t0,t1\n0,10\n10,20\n20,31\n")
    with pytest.raises(InputError, match="within the 30 spike frames of all.dat, found 20 to 31"):
        VoxelSource(tmp_path / "clip" / "spike" / "all.dat", frames, bins=BINS, windows=log)
    log.write_text("t0,t1\n0,10\n")
    with pytest.raises(InputError, match="each of 3 frames, found 1"):
        VoxelSource(tmp_path / "clip" / "spike" / "all.dat", frames, bins=BINS, windows=log)


def test_prepared_voxels(frames: FrameSource, tmp_path: Path) -> None:
    """Catches the cache's axes (bins first) taken for ours (bins last), and counts standardised twice or never."""
    for index, window in enumerate(STREAM.reshape(FRAMES, STEPS, HEIGHT, WIDTH)):
        np.save(tmp_path / f"{index:06d}.npy", np.moveaxis(voxelise(window, BINS), -1, 0))
    source = VoxelSource(tmp_path, frames, bins=BINS)
    np.testing.assert_array_equal(np.stack(list(source)), expected_voxels())


def test_prepared_arrays(frames: FrameSource, tmp_path: Path) -> None:
    """Catches another frame's counts, an array of other frames or bins, and a size that is given and ignored."""
    array = create_frames(tmp_path / "spike_vox.zarr", (FRAMES, HEIGHT, WIDTH, BINS))
    for index, counts in enumerate(expected_voxels()):
        array.write(index, counts.astype(np.uint8))
    source = VoxelSource(tmp_path / "spike_vox.zarr", frames, bins=BINS)
    assert source.shape == (HEIGHT, WIDTH, BINS)
    np.testing.assert_array_equal(np.stack(list(source)), expected_voxels())
    with pytest.raises(InputError, match="counts of 3 frames in 6 bins, found 3 in 5"):
        VoxelSource(tmp_path / "spike_vox.zarr", frames, bins=BINS + 1)
    assert VoxelSource(tmp_path / "spike_vox.zarr", frames, bins=BINS, size=(HEIGHT, WIDTH)).shape == source.shape
    with pytest.raises(InputError, match=f"expected counts of 8x12 .height x width., found {HEIGHT}x{WIDTH}"):
        VoxelSource(tmp_path / "spike_vox.zarr", frames, bins=BINS, size=(8, 12))


def test_the_size_is_never_guessed(frames: FrameSource, tmp_path: Path) -> None:
    """Catches spikes of half the pictures' size that are read as a quarter as many of their size: every file divides.

    So it is where a published set says the size two folders above its streams.
    """
    folder = tmp_path / "spike_seq" / "test" / "s" / "spike"
    half = STREAM[:, ::2, ::2]
    for index in range(FRAMES):
        write_dat(folder / f"{index:06d}.dat", half[8 * index : 8 * index + 8])
    expected = r"\(--spike-size HEIGHTxWIDTH, or a config\.yaml .*96 bytes are 2 frames of 16x24 or 8 frames of 8x12"
    with pytest.raises(InputError, match=expected):
        VoxelSource(folder, frames, bins=BINS)
    given = VoxelSource(folder, frames, bins=BINS, size=(8, 12))
    assert given.notes == ["spikes of 8x12 (height x width), as --spike-size says"]
    write_config(tmp_path / "spike_seq", StreamConfig(8, 12))
    above = VoxelSource(folder, frames, bins=BINS)
    for source in (given, above):
        np.testing.assert_array_equal(next(iter(source)), voxelise(half[:8], BINS))
    with pytest.raises(InputError, match=r"expected --spike-size 8x12, as config\.yaml says .*, found 16x24: .*seq"):
        VoxelSource(folder, frames, bins=BINS, size=(16, 24))


def test_rows_that_a_camera_stores_the_other_way_round(frames: FrameSource, folder: Path) -> None:
    """Catches an option that is passed over on the way to the file, and counts that cannot be turned."""
    source = VoxelSource(folder, frames, bins=BINS, upside_down=True)
    np.testing.assert_array_equal(np.stack(list(source)), expected_voxels()[:, ::-1])
    for index in range(FRAMES):
        np.save(folder.parent / f"{index:06d}.npy", np.zeros((BINS, HEIGHT, WIDTH), np.float32))
    with pytest.raises(InputError, match=r"\.dat files with --flip-spikes, found counts"):
        VoxelSource(folder.parent, frames, bins=BINS, upside_down=True)


def test_the_camera_may_have_half_the_resolution(frames: FrameSource, tmp_path: Path) -> None:
    """Catches a config.yaml or an explicit size that is not heeded."""
    for index in range(FRAMES):
        write_dat(tmp_path / f"{index:06d}.dat", STREAM[:STEPS, ::2, ::2])
    size = (HEIGHT // 2, WIDTH // 2)
    assert VoxelSource(tmp_path, frames, bins=BINS, size=size).shape == (*size, BINS)
    write_config(tmp_path, StreamConfig(*size))
    assert VoxelSource(tmp_path, frames, bins=BINS).shape == (*size, BINS)


def test_fewer_steps_than_bins_are_told(frames: FrameSource, folder: Path) -> None:
    """Catches silence about bins that are empty by construction."""
    source = VoxelSource(folder, frames, bins=32)
    assert source.notes[1:] == ["10 spike frames a window fill at most 10 of the 32 time bins"]


def _remove(folder: Path) -> None:
    (folder / "000001.dat").unlink()


def _truncate(folder: Path) -> None:
    file = folder / "000001.dat"
    file.write_bytes(file.read_bytes()[:-7])


def _truncate_by_whole_frames(folder: Path) -> None:
    write_dat(folder / "000001.dat", STREAM[: STEPS - 1])


def _add_one(folder: Path) -> None:
    write_dat(folder / "000003.dat", STREAM[:STEPS])


def _other_size(folder: Path) -> None:
    write_config(folder, StreamConfig(8, 8))


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove, "frame 000001.png, found no .*000001.dat"),
        (_truncate, "whole number of spike frames .* 473 bytes .*000001.dat"),
        (_truncate_by_whole_frames, "000000.dat has 10 spike frames .* 000001.dat has 9"),
        (_add_one, "as many spike files as frames .3., found 4"),
        (_other_size, "pictures' size 16x24 .* or a whole part of it, found 8x8"),
        (_empty, "found none in folder"),
    ],
)
def test_spikes_that_do_not_fit(
    frames: FrameSource, folder: Path, damage: Callable[[Path], None], message: str
) -> None:
    """Catches spikes that are used although they are missing, damaged or of other frames; nothing is read before."""
    damage(folder)
    with pytest.raises(InputError, match=message):
        VoxelSource(folder, frames, bins=BINS)


def test_one_stream_of_another_length(frames: FrameSource, tmp_path: Path) -> None:
    """Catches windows that drift from the frames because the stream is longer or shorter."""
    write_dat(tmp_path / "all.dat", STREAM[:-1])
    write_config(tmp_path, StreamConfig(HEIGHT, WIDTH))
    with pytest.raises(InputError, match="each of 3 frames, found 29 spike frames"):
        VoxelSource(tmp_path / "all.dat", frames, bins=BINS)


@pytest.mark.parametrize("shape", [(BINS + 1, HEIGHT, WIDTH), (BINS, HEIGHT), (BINS, HEIGHT - 1, WIDTH)])
def test_prepared_voxels_of_another_shape(frames: FrameSource, tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Catches voxels prepared for another number of bins or another camera, in a single file too."""
    for index in range(FRAMES):
        np.save(tmp_path / f"{index:06d}.npy", np.zeros(shape if index == 1 else (BINS, HEIGHT, WIDTH), np.float32))
    with pytest.raises(InputError, match="of shape .5, 16, 24., found .*000001.npy"):
        VoxelSource(tmp_path, frames, bins=BINS)


def test_a_damaged_voxel_file(frames: FrameSource, tmp_path: Path) -> None:
    """Catches a traceback out of NumPy."""
    for index in range(FRAMES):
        (tmp_path / f"{index:06d}.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="damaged one: .*000000.npy"):
        VoxelSource(tmp_path, frames, bins=BINS)


def test_no_spikes_at_all(frames: FrameSource, tmp_path: Path) -> None:
    """Catches a misspelt path."""
    with pytest.raises(InputError, match="found nothing at"):
        VoxelSource(tmp_path / "nowhere", frames, bins=BINS)
