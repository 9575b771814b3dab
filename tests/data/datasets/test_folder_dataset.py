"""Tests of reading data sets from disk: clips, what is dropped, and what is an error."""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.voxel_statistics import (
    SpikeStatistics,
    measure_statistics,
    read_statistics,
    write_statistics,
)
from spikejax.data.spikes.stream_files import read_dat, write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.data.spikes.voxels import voxelise
from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.pictures import read_picture, write_picture
from spikejax.io.tiled_arrays import create_frames
from tests.fake_bucket import FakeBucket

HEIGHT, WIDTH = 16, 24  # of what make_root writes
MakeRoot = Callable[..., Path]


@pytest.mark.parametrize("ratio", [1, 2])
def test_clips_are_what_the_files_say(make_root: MakeRoot, tmp_path: Path, ratio: int) -> None:
    """Catches frames of the wrong window, another range or colour order, and voxels that are not standardised."""
    root = make_root(tmp_path, ratio=ratio)
    dataset = FolderDataset(root, "train", ClipSpec(frames=3, bins=3))
    assert len(dataset) == 3 and dataset.sequences() == [("s00", 4), ("s01", 3)]
    statistics = dataset.statistics
    assert statistics is not None
    for index, (sequence, start) in enumerate([("s00", 0), ("s00", 1), ("s01", 0)]):
        clip = dataset[index]
        assert clip["name"] == f"{sequence}/{start:06d}"
        folder = root / "train" / sequence
        for offset in range(3):
            stem = f"{start + offset:06d}"
            for key, part in (("input", "blur"), ("sharp", "sharp")):
                picture = read_picture(folder / part / f"{stem}.png")
                np.testing.assert_allclose(clip[key][offset], picture / 255, atol=1e-6)
            spikes = read_dat(folder / "spike" / f"{stem}.dat", height=HEIGHT // ratio, width=WIDTH // ratio)
            expected = (np.log1p(voxelise(spikes, 3).astype(np.float64)) - statistics.mean) / statistics.std
            np.testing.assert_allclose(clip["voxels"][offset], expected, atol=1e-5)
        assert all(clip[key].dtype == np.float32 for key in ("input", "sharp", "voxels"))
    whole = dataset.read_sequence("s00")
    assert whole["input"].shape == (4, HEIGHT, WIDTH, 3) and whole["name"] == "s00"
    np.testing.assert_array_equal(whole["voxels"][1:], dataset[1]["voxels"])
    with pytest.raises(IndexError):
        dataset[3]


def test_sequences_at_another_threshold(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches thresholds that are not raised, or spikes of a frame that change with the clip it is read in."""
    root = make_root(tmp_path)
    plain, high = (FolderDataset(root, "train", ClipSpec(2, 3, threshold_factor=factor)) for factor in (1.0, 2.0))

    def counts(dataset: FolderDataset, start: int, stop: int) -> np.ndarray:
        assert dataset.statistics is not None
        voxels = dataset.read_sequence("s00", start, stop)["voxels"].astype(np.float64)
        return np.expm1(voxels * dataset.statistics.std + dataset.statistics.mean)

    whole, first = counts(plain, 0, 4), counts(high, 0, 4)
    np.testing.assert_allclose(first, first.round(), atol=1e-4)
    assert (first < whole + 0.5).all()
    # Of each pixel's spikes in a frame every second one, beginning anywhere.
    np.testing.assert_allclose(first.sum(axis=-1), whole.sum(axis=-1) / 2, atol=0.51)
    assert first.sum() == pytest.approx(whole.sum() / 2, rel=0.05)
    np.testing.assert_array_equal(counts(high, 1, 3), first[1:3])
    with pytest.raises(InputError, match="threshold factor of at least 1"):
        ClipSpec(2, 3, threshold_factor=0.5)


def test_clips_normalised_by_their_own_counts(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches a clip that is standardised by the statistics alone, or by another clip's counts."""
    root = make_root(tmp_path)
    plain, own = (FolderDataset(root, "train", ClipSpec(2, 3, normalise=way)) for way in ("statistics", "clip"))
    statistics = own.statistics
    assert statistics is not None

    def counts(dataset: FolderDataset, index: int) -> np.ndarray:
        return np.expm1(dataset[index]["voxels"].astype(np.float64) * statistics.std + statistics.mean)

    for index in (0, 2):
        scaled, stored = counts(own, index), counts(plain, index)
        assert scaled.mean() == pytest.approx(np.expm1(statistics.mean), rel=1e-4)
        np.testing.assert_allclose(scaled, stored * (scaled.mean() / stored.mean()), rtol=1e-3, atol=1e-3)
    batch = {key: np.stack([own.read_stored(index)[key] for index in (0, 2)]) for key in ("input", "sharp", "voxels")}
    np.testing.assert_array_equal(own.normalise(batch)["voxels"], np.stack([own[0]["voxels"], own[2]["voxels"]]))


@pytest.mark.parametrize("ratio", [1, 2])
def test_boxes_are_joint(make_root: MakeRoot, tmp_path: Path, ratio: int) -> None:
    """Catches voxels of another part than the picture's."""
    dataset = FolderDataset(make_root(tmp_path, ratio=ratio), "train", ClipSpec(frames=2, bins=3))
    whole, part = dataset[0], dataset.read(0, Box(4, 10, 8, 6))
    for key in ("input", "sharp"):
        np.testing.assert_array_equal(part[key], whole[key][:, 4:12, 10:16])
    voxels = whole["voxels"][:, 4 // ratio : 12 // ratio, 10 // ratio : 16 // ratio]
    np.testing.assert_array_equal(part["voxels"], voxels)


def test_without_spikes(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches the backbone alone needing spike files or statistics."""
    root = make_root(tmp_path)
    (root / "statistics.json").unlink()
    for folder in root.glob("train/*/spike"):
        shutil.rmtree(folder)
    assert set(FolderDataset(root, "train", ClipSpec(frames=2, bins=None))[0]) == {"input", "sharp", "name"}


def test_given_statistics_take_the_place_of_the_files(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches validation with statistics other than the checkpoint's."""
    dataset = FolderDataset(
        make_root(tmp_path, split="val"), "val", ClipSpec(frames=2, bins=3, statistics=SpikeStatistics(3, 0.5, 2.0, 1))
    )
    lowest = dataset.read_sequence("s00")["voxels"].min()
    assert lowest == pytest.approx((0 - 0.5) / 2)


def test_voxel_cache_is_read(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches a cache that is ignored, transposed wrongly, or used for another number of bins."""
    root = make_root(tmp_path, lengths=(2,))
    plain = FolderDataset(root, "train", ClipSpec(frames=2, bins=3))[0]["voxels"]
    cache = root / "train" / "s00" / "spike_vox"
    cache.mkdir()
    for stem in ("000000", "000001"):
        counts = voxelise(read_dat(root / f"train/s00/spike/{stem}.dat", height=HEIGHT, width=WIDTH), 3)
        np.save(cache / f"{stem}.npy", np.moveaxis(counts, -1, 0).astype(np.float32))
    dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=3))
    np.testing.assert_array_equal(dataset[0]["voxels"], plain)
    np.testing.assert_array_equal(dataset.read(0, Box(2, 3, 4, 5))["voxels"], plain[:, 2:6, 3:8])
    np.save(cache / "000001.npy", np.moveaxis(counts + 1, -1, 0).astype(np.float32))
    assert (FolderDataset(root, "train", ClipSpec(frames=2, bins=3))[0]["voxels"][1] > plain[1]).all()
    np.save(cache / "000001.npy", np.zeros((5, HEIGHT, WIDTH), np.float32))
    np.testing.assert_array_equal(FolderDataset(root, "train", ClipSpec(frames=2, bins=3))[0]["voxels"], plain)
    np.save(cache / "000001.npy", np.full((3, HEIGHT, WIDTH), 0.5, np.float32))
    with pytest.raises(InputError, match=r"counts of spikes, whole numbers .*000001\.npy"):
        FolderDataset(root, "train", ClipSpec(frames=2, bins=3))[0]
    (cache / "000001.npy").write_text("damaged")
    with pytest.raises(InputError, match=r"damaged.*000001\.npy"):
        FolderDataset(root, "train", ClipSpec(frames=2, bins=3))[0]


def test_one_stream_for_a_sequence(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches windows of a sequence's single stream that are cut at the wrong steps."""
    root = make_root(tmp_path, lengths=(3,))
    expected = FolderDataset(root, "train", ClipSpec(frames=3, bins=3))[0]["voxels"]
    folder = root / "train" / "s00" / "spike"
    files = sorted(folder.glob("*.dat"))
    stream = np.concatenate([read_dat(file, height=HEIGHT, width=WIDTH) for file in files])
    for file in files:
        file.unlink()
    write_dat(folder / "all.dat", stream)
    write_config(folder, StreamConfig(HEIGHT, WIDTH, "all.dat"))
    np.testing.assert_array_equal(FolderDataset(root, "train", ClipSpec(frames=3, bins=3))[0]["voxels"], expected)
    # The statistics are of the windows, too.
    assert measure_statistics(root, bins=3) == read_statistics(root, bins=3)
    write_dat(folder / "all.dat", stream[:-1])
    with pytest.raises(InputError, match="12 to 18 as the alignment log says, found 17"):
        FolderDataset(root, "train", ClipSpec(frames=3, bins=3))


def test_misaligned_frames_are_dropped_and_logged(
    make_root: MakeRoot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches windows across a gap, and frames left out without a word."""
    root = make_root(tmp_path, lengths=(6, 3, 3))
    (root / "train/s00/spike/000002.dat").unlink()
    (root / "train/s01/sharp/000001.png").unlink()
    with caplog.at_level(logging.WARNING):
        dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=3))
    assert dataset.sequences() == [("s00@000000", 2), ("s00@000003", 3), ("s02", 3)]
    names = [dataset[index]["name"] for index in range(len(dataset))]
    assert [name.split("/")[1] for name in names] == ["000000", "000003", "000004", "000000", "000001"]
    dropped = [(row.sequence, row.frame) for row in dataset.dropped]
    assert dropped == [("s00", "000002"), ("s01", "000001"), ("s01", "000000"), ("s01", "000002")]
    assert "spikes of the frame" in dataset.dropped[0].reason and "sharp picture" in dataset.dropped[1].reason
    assert "4 frames or sequences" in caplog.text and "000002" in caplog.text


def test_disagreeing_sequences_are_dropped(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches sharp pictures of another size, small pictures and sequences without spikes that reach training."""
    root = make_root(tmp_path, lengths=(2, 2, 2, 2))
    for picture in (root / "train/s00/sharp").iterdir():
        write_picture(picture, np.zeros((8, 8, 3), np.uint8))
    shutil.rmtree(root / "train/s01/spike")
    shutil.rmtree(root / "train/s02/sharp")
    dataset = FolderDataset(root, "train", ClipSpec(frames=2, bins=3, crop=16))
    assert dataset.sequences() == [("s03", 2)]
    assert [(row.sequence, row.frame) for row in dataset.dropped] == [("s00", "*"), ("s01", "*"), ("s02", "*")]
    with pytest.raises(InputError, match=r"none in .*train.*4 dropped"):
        FolderDataset(root, "train", ClipSpec(frames=2, bins=3, crop=17))


def truncate(root: Path) -> None:
    """Cuts a spike file short."""
    path = root / "train/s00/spike/000001.dat"
    path.write_bytes(path.read_bytes()[:-5])


def shorten(root: Path) -> None:
    """Leaves whole frames, but fewer than the window has."""
    path = root / "train/s00/spike/000001.dat"
    path.write_bytes(path.read_bytes()[: 5 * HEIGHT * WIDTH // 8])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, r"48 bytes \(16x24\), found 283 bytes.*000001\.dat"),
        (shorten, r"expected 6 spike frames as the alignment log says, found 5.*000001\.dat"),
        (
            lambda root: write_config(root / "train/s00/spike", StreamConfig(12, 24)),
            r"16x24 .*found 12x24.*config\.yaml",
        ),
        (
            lambda root: write_picture(root / "train/s00/blur/000001.png", np.zeros((8, 8, 3), np.uint8)),
            r"000001\.png",
        ),
        (
            lambda root: (root / "train/alignment.csv").write_text("sequence,frame\n"),
            r"expected columns .*alignment\.csv",
        ),
        (lambda root: (root / "train/s00/blur/000000.png").write_text("no picture"), r"decode .*000000\.png"),
        (lambda root: shutil.rmtree(root / "train"), "expected sequences as .*train"),
        (lambda root: [path.unlink() for path in root.glob("train/s00/blur/*")], "found none in folder .*blur"),
    ],
)
def test_damage_is_one_clear_error(
    make_root: MakeRoot, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    """Catches damaged or contradictory files that are used, or that end in something else than an InputError."""
    root = make_root(tmp_path, lengths=(3,))
    damage(root)
    with pytest.raises(InputError, match=message) as caught:
        FolderDataset(root, "train", ClipSpec(frames=2, bins=3))[0]
    assert "\n" not in str(caught.value)


def test_fewer_steps_than_bins_is_said(make_root: MakeRoot, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Catches bins that are always empty without a word."""
    root = make_root(tmp_path)
    write_statistics(root, bins=12)
    with caplog.at_level(logging.WARNING):
        FolderDataset(root, "train", ClipSpec(frames=2, bins=12))
    assert "6 spike frames per window are fewer than 12 bins" in caplog.text


@pytest.mark.parametrize("kept_in", ["files", "arrays", "voxel files"])
def test_a_data_set_in_a_bucket_is_the_one_on_a_disk(
    make_root: MakeRoot, bucket: FakeBucket, kept_in: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches files that are read wrong or from the disk, and requests for every file before the first clip."""
    opened = {}
    for length in (3, 6):
        root = make_root(bucket.folder / f"data{length}", lengths=(length, 2))
        (root / "train" / "s01" / "sharp" / "000001.png").unlink()
        for sequence in (root / "train").glob("s*"):
            keep_in(kept_in, sequence)
        bucket.requests.clear()
        spec = ClipSpec(frames=2, bins=3)
        local = FolderDataset(root, "train", spec)
        assert not bucket.requests
        remote = FolderDataset(f"gs://bucket/data{length}", "train", spec)
        opened[length] = list(bucket.requests)
        assert len(remote) == len(local) == length - 1
        assert remote.statistics == local.statistics
        assert [drop.frame for drop in remote.dropped] == [drop.frame for drop in local.dropped] == ["000001", "000000"]
        box = Box(8, 8, 8, 8)
        for index in range(len(local)):
            stored, expected = remote.read_stored(index, box), local.read_stored(index, box)
            assert stored.keys() == expected.keys()
            for key in expected:
                np.testing.assert_array_equal(stored[key], expected[key])
    assert len(opened[3]) == len(opened[6]) and [method for method, _ in opened[6]].count("find") == 1
    assert sum(method == "array" for method, _ in bucket.requests) == (2 + 1 if kept_in == "arrays" else 0)


def keep_in(kept_in: str, sequence: Path) -> None:
    """Keeps a sequence's pictures and counts a second time, and spoils the first."""
    blur = sorted((sequence / "blur").iterdir())
    counts = [voxelise(read_dat(sequence / "spike" / f"{p.stem}.dat", height=HEIGHT, width=WIDTH), 3) for p in blur]
    if kept_in == "voxel files":
        for path, frame in zip(blur, counts, strict=True):
            (sequence / "spike_vox").mkdir(exist_ok=True)
            np.save(sequence / "spike_vox" / f"{path.stem}.npy", np.moveaxis(frame, -1, 0).astype(np.float32))
    elif kept_in == "arrays":
        array = create_frames(sequence / "spike_vox.zarr", (len(blur), HEIGHT, WIDTH, 3))
        for part in ("blur", "sharp"):
            pictures = create_frames(sequence / f"{part}.zarr", (len(blur), HEIGHT, WIDTH, 3))
            for number, (path, frame) in enumerate(zip(blur, counts, strict=True)):
                array.write(number, frame)
                pictures.write(number, read_picture(path) // 2)


def test_a_bucket_that_loses_a_picture(make_root: MakeRoot, bucket: FakeBucket) -> None:
    """Catches statistics that are not written where they are missing, and pictures whose size nobody compares."""
    root = make_root(bucket.folder / "data", lengths=(3,))
    expected = read_statistics(root, bins=3)
    (root / "statistics.json").unlink()
    assert FolderDataset.training_statistics("gs://bucket/data", bins=3) == expected
    assert read_statistics(root, bins=3) == expected
    write_picture(root / "train" / "s00" / "blur" / "000002.png", np.zeros((HEIGHT, WIDTH + 2, 3), np.uint8))
    dataset = FolderDataset("gs://bucket/data", "train", ClipSpec(frames=2, bins=3))
    dataset.read_stored(0)
    with pytest.raises(
        InputError, match="expected a picture of 16x24, found .16, 26.: gs://bucket/data/train/s00/blur"
    ):
        dataset.read_stored(1)
