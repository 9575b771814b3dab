"""Tests of preparing published data sets: what is written, what is left out, and what an interruption leaves."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.layout import read_alignment, read_dropped, sequence_names
from spikejax.data.datasets.voxel_statistics import read_statistics
from spikejax.data.preparation import frame_job
from spikejax.data.preparation import prepare as preparation
from spikejax.data.preparation.journal import FrameRecord, Journal
from spikejax.data.spikes.stream_files import read_dat, write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.data.spikes.voxels import voxelise
from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.pictures import read_picture
from spikejax.io.tiled_arrays import FrameArray
from spikejax.prepare import build_parser, main
from tests.data.prepared import TEST, TRAIN, check, contents, run
from tests.data.published import GOPRO_STEPS, picture, save, spikes, write_gopro, write_x4k
from tests.file_limit import files_up_to

REAL = Path(__file__).parent / "data" / "real"


def test_gopro(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches wrong windows and files, statistics with validation data, a cache that is not what the streams say."""
    source, root = write_gopro(tmp_path / "source", test=2, first=3), tmp_path / "root"
    run(source, root)
    assert "will write about" in capsys.readouterr().err
    for split, name, part, length in (("train", TRAIN, "train", 4), ("val", TEST, "test", 2)):
        rows = read_alignment(root / split)
        assert [(row.sequence, row.frame, row.t0, row.t1) for row in rows] == [
            (name, k, (3 + k) * GOPRO_STEPS, (4 + k) * GOPRO_STEPS) for k in range(length)
        ]
        for row in rows:
            stem, number = f"{row.frame:06d}", row.frame + 3
            pictures = source / "GOPRO_Large" / part / name
            for ours, theirs in (("blur", "blur_gamma"), ("sharp", "sharp")):
                found = (root / split / name / ours / f"{stem}.png").read_bytes()
                assert found == (pictures / theirs / f"{number:06d}.png").read_bytes()
            stream = spikes(10 * number + len(part), GOPRO_STEPS)
            assert row.spikes == stream.sum()
            found_stream = read_dat(root / split / name / "spike" / f"{stem}.dat", height=8, width=12)
            np.testing.assert_array_equal(found_stream, stream)
        assert read_dropped(root / split) == []
    streams = [spikes(10 * number + 5, GOPRO_STEPS) for number in range(3, 7)]
    values = np.log1p(np.stack([voxelise(stream, 4) for stream in streams]).astype(np.float64))
    statistics = read_statistics(root, bins=4)
    assert (statistics.mean, statistics.std) == pytest.approx((values.mean(), values.std()), rel=1e-12)
    assert json.loads((root / "dataset.json").read_text())["blur"] == "blur_gamma"
    origins = (root / "train" / "origins.csv").read_text().splitlines()
    assert len(origins) == 5 and f"{TRAIN},0,{source}" in origins[1] and origins[1].endswith("/spike/3.dat")
    check(root)


def test_prepared_clips_are_those_of_the_plain_files(tmp_path: Path) -> None:
    """Catches tiles that differ from the pictures and streams, and crops of spikes off the pictures' grid."""
    root = tmp_path / "root"
    run(write_gopro(tmp_path / "source"), root)
    fast = FolderDataset(root, "train", ClipSpec(frames=3, bins=4))
    shutil.copytree(root, tmp_path / "plain", ignore=shutil.ignore_patterns("*.zarr"))
    plain = FolderDataset(tmp_path / "plain", "train", ClipSpec(frames=3, bins=4))
    box = Box(4, 10, 8, 6)
    for index in range(2):
        for part in (None, box):
            one, other = fast.read(index, part), plain.read(index, part)
            assert one.keys() == other.keys() and one["voxels"].dtype == np.float32
            for key in ("input", "sharp", "voxels"):
                np.testing.assert_array_equal(one[key], other[key])
    assert fast.read(0, box)["voxels"].shape == (3, 4, 3, 4)
    # Another number of bins is counted from the streams.
    shutil.rmtree(tmp_path / "plain" / "val")
    (root / "statistics.json").write_text((root / "statistics.json").read_text().replace('"bins": 4', '"bins": 8'))
    assert FolderDataset(root, "train", ClipSpec(frames=3, bins=8))[0]["voxels"].shape[-1] == 8


def test_which_blur_must_be_said(tmp_path: Path) -> None:
    """Catches linear and gamma blur mixed up silently: published numbers differ by which was used."""
    source = write_gopro(tmp_path / "source", train=2, test=1, blurs=("blur", "blur_gamma"))
    with pytest.raises(InputError, match="--blur blur or --blur blur_gamma, as both are there"):
        run(source, tmp_path / "root")
    assert not (tmp_path / "root").exists()
    run(source, tmp_path / "root", "--blur", "blur")
    assert json.loads((tmp_path / "root" / "dataset.json").read_text())["blur"] == "blur"
    found = (tmp_path / "root" / "train" / TRAIN / "blur" / "000001.png").read_bytes()
    assert found == (source / "GOPRO_Large" / "train" / TRAIN / "blur" / "000001.png").read_bytes()
    with pytest.raises(InputError, match=r"blur 'blur_gamma', found one with blur 'blur'.*dataset\.json"):
        run(source, tmp_path / "root", "--blur", "blur_gamma")


def test_x4k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches windows that are not the 33 frames of the name, another sharp picture than the middle, silent gaps."""
    source, root = write_x4k(tmp_path / "source"), tmp_path / "root"
    run(source, root, layout="x4k", bins=40)
    assert sequence_names(root / "train") == ["002_occ"] and sequence_names(root / "val") == ["Type1_TEST01"]
    assert [(row.t0, row.t1) for row in read_alignment(root / "train")] == [(0, 33), (33, 66), (66, 99)]
    stream = spikes(5, 99)
    folder = root / "train" / "002_occ"
    np.testing.assert_array_equal(read_dat(folder / "spike/000001.dat", height=8, width=12), stream[33:66])
    np.testing.assert_array_equal(read_picture(folder / "sharp/000001.png"), picture(101))
    error = capsys.readouterr().err
    assert "6 windows of 33 stream frames, 7 fewer than the 40 bins: as many bins are always empty" in error
    # A missing window is a gap: no training clip may span it.
    (source / "train/002/occ/0049.png").unlink()
    shutil.rmtree(root)
    run(source, root, layout="x4k")
    assert sequence_names(root / "train") == ["002_occ@0000_0032", "002_occ@0066_0098"]
    (row,) = read_dropped(root / "train")
    assert row.frame == "0033_0065" and "sharp picture 49" in row.reason


def test_folders_with_one_stream(tmp_path: Path) -> None:
    """Catches equal windows cut wrongly, logged windows that are ignored, and .npy streams upside down."""
    source = tmp_path / "source"
    for number in range(3):
        for kind in ("blur", "sharp"):
            save(source / "walk" / kind / f"f{number}.png", picture(number + 10 * len(kind)))
    stream = spikes(1, 30)
    (source / "walk" / "spike").mkdir()
    np.save(source / "walk" / "spike" / "stream.npy", stream)
    write_config(source / "walk" / "spike", StreamConfig(8, 12, "stream.npy"))
    run(source, tmp_path / "root", layout="folders")
    found = [read_dat(path, height=8, width=12) for path in sorted((tmp_path / "root/train/walk/spike").glob("*.dat"))]
    np.testing.assert_array_equal(np.concatenate(found), stream)
    shutil.copytree(source / "walk", source / "val" / "walk")
    log = "sequence,frame,t0,t1,spikes\nwalk,0,2,9,0\nwalk,2,20,30,0\n"
    (source / "val" / "alignment.csv").write_text(log)
    run(source, tmp_path / "logged", layout="folders")
    rows = [(row.sequence, row.t0, row.t1, row.spikes) for row in read_alignment(tmp_path / "logged" / "val")]
    assert rows == [("walk@f0", 2, 9, stream[2:9].sum()), ("walk@f2", 20, 30, stream[20:30].sum())]
    assert "no line for frame 1" in read_dropped(tmp_path / "logged" / "val")[0].reason


def test_numbers_tell_of_missing_frames(tmp_path: Path) -> None:
    """Catches clips across frames that were taken out of all folders, and numbers by eights taken for gaps."""
    source = tmp_path / "source"
    for name, numbers in (("cut", (0, 1, 4, 5)), ("eights", (8, 16, 24))):
        for number in numbers:
            for kind in ("blur", "sharp"):
                save(source / name / kind / f"{number}.png", picture(number + 10 * len(kind)))
            save(source / name / "spike" / f"{number}.dat", spikes(number, 8, ratio=1))
    write_config(source, StreamConfig(16, 24))
    run(source, tmp_path / "root", "--split", "val", layout="folders")
    assert sequence_names(tmp_path / "root" / "val") == ["cut@0", "cut@4", "eights"]
    assert [row.t0 for row in read_alignment(tmp_path / "root" / "val")] == [0, 8, 16, 24, 0, 8, 16]
    assert not (tmp_path / "root" / "statistics.json").exists()


def test_a_real_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a real camera's file read upside down, and grey pictures taken without being asked for."""
    source = tmp_path / "source"
    sharp = read_picture(REAL / "sharp_151.png")[..., :1]
    for kind in ("blur", "sharp"):
        (source / "s" / kind).mkdir(parents=True)
        cv2.imwrite(str(source / "s" / kind / "0.png"), sharp[..., 0])
    (source / "s" / "spike").mkdir()
    stream = next(REAL.glob("*.dat"))
    shutil.copy(stream, source / "s" / "spike" / "0.dat")
    write_config(source, StreamConfig(250, 400))
    with pytest.raises(InputError, match=r"8-bit RGB picture, found mode L \(--grey takes such pictures\)"):
        run(source, tmp_path / "root", layout="folders", bins=32)
    assert not (tmp_path / "root").exists()
    run(source, tmp_path / "root", "--grey", layout="folders", bins=32)
    error = capsys.readouterr().err
    assert "1 sharp picture identical to the blurry one" in error and "upside down" not in error
    (record,) = Journal(tmp_path / "root").records.values()
    assert record.alignment > 0.9
    assert read_picture(tmp_path / "root/train/s/sharp/000000.png").shape == (250, 400, 3)
    # The same stream the other way round follows another scene, unless somebody says so.
    flipped = read_dat(stream, height=250, width=400)[:, ::-1]
    write_dat(source / "s" / "spike" / "0.dat", np.ascontiguousarray(flipped))
    run(source, tmp_path / "wrong", "--grey", layout="folders", bins=32)
    assert "do not follow its pictures" in capsys.readouterr().err
    for name, link in (("copied", ()), ("linked", ("--link",))):
        run(source, tmp_path / name, "--grey", "--flip-spikes", *link, layout="folders", bins=32)
        assert "do not follow its pictures" not in capsys.readouterr().err
        assert (tmp_path / name / "train/s/spike/000000.dat").read_bytes() == stream.read_bytes()
        check(tmp_path / name)


def cut(path: Path) -> None:
    """Ends a stream in the middle of a frame."""
    path.write_bytes(path.read_bytes()[:-5])


BLUR = f"GOPRO_Large/train/{TRAIN}/blur_gamma/000001.png"
SHARP = f"GOPRO_Large/train/{TRAIN}/sharp/000001.png"
STREAM = f"GOPRO_Large_spike_seq/train/{TRAIN}/spike/1.dat"


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        (STREAM, cut, "a whole number of spike frames of 12 bytes (8x12), found 187 bytes"),
        (
            STREAM,
            lambda path: write_dat(path, spikes(0, 15)),
            "expected 16 stream frames in the window, found 15 of 8x12",
        ),
        (
            STREAM,
            lambda path: write_dat(path, spikes(0, 16, ratio=1)),
            "expected 16 stream frames in the window, found 64",
        ),
        (STREAM, lambda path: path.write_bytes(bytes(192)), "spikes at some times and not at others, found 0 at every"),
        (STREAM, lambda path: path.write_bytes(b"\xff" * 192), "spikes at some times and not at others, found 1 at"),
        (STREAM, lambda path: path.write_bytes(b""), "the file is empty"),
        (STREAM, Path.unlink, "to hold 1, found no stream"),
        (BLUR, Path.unlink, "to hold 1, found no blurry picture"),
        (SHARP, Path.unlink, "to hold 1, found no sharp picture"),
        (
            SHARP,
            lambda path: cv2.imwrite(str(path), np.zeros((16, 24, 3), np.uint16)),
            "8-bit RGB picture, found mode RGB;16",
        ),
        (
            SHARP,
            lambda path: cv2.imwrite(str(path), np.zeros((16, 24), np.uint16)),
            "8-bit RGB picture, found mode I;16",
        ),
        (BLUR, lambda path: cv2.imwrite(str(path), np.zeros((16, 24), np.uint8)), "found mode L (--grey takes such"),
        (
            SHARP,
            lambda path: save(path, np.zeros((8, 8, 3), np.uint8)),
            "a picture of 16x24 as the sequence's first, found 8x8",
        ),
        (BLUR, lambda path: path.write_text("no picture"), "expected a picture, cannot decode"),
        (BLUR, lambda path: path.write_bytes(path.read_bytes()[:-200]), "expected a picture, cannot decode"),
    ],
)
def test_what_does_not_fit_is_left_out_with_its_reason(
    tmp_path: Path, file: str, damage: Callable[[Path], Any], reason: str
) -> None:
    """Catches damaged and misaligned frames that are used, a whole run lost to one file, and clips across the gap."""
    source, root = write_gopro(tmp_path / "source"), tmp_path / "root"
    damage(source / file)
    run(source, root)
    (row,) = read_dropped(root / "train")
    assert (row.sequence, row.frame) == (TRAIN, "1") and reason in row.reason and "\n" not in row.reason
    assert Path(file).name in row.reason or "to hold 1" in row.reason
    assert sequence_names(root / "train") == [f"{TRAIN}@0", f"{TRAIN}@2"]
    assert [(r.sequence, r.frame, r.t0) for r in read_alignment(root / "train")] == [
        (f"{TRAIN}@0", 0, 0),
        (f"{TRAIN}@2", 0, 32),
        (f"{TRAIN}@2", 1, 48),
    ]
    assert read_statistics(root, bins=4).windows == 3
    check(root)
    before = contents(root)
    run(source, root)
    assert contents(root) == before


def test_names_without_pictures(tmp_path: Path) -> None:
    """Catches a stream that belongs to nothing and is matched by its place instead of its name."""
    source, root = write_gopro(tmp_path / "source"), tmp_path / "root"
    save(source / "GOPRO_Large_spike_seq/train" / TRAIN / "spike" / "9.dat", spikes(9, GOPRO_STEPS))
    save(source / "GOPRO_Large_spike_seq/train/GOPR0009_02_00/spike/0.dat", spikes(9, GOPRO_STEPS))
    run(source, root)
    rows = [(row.sequence, row.frame) for row in read_dropped(root / "train")]
    assert rows == [(TRAIN, "9"), ("GOPR0009_02_00", "0")]
    assert all("no blurry picture and no sharp picture" in row.reason for row in read_dropped(root / "train"))


def test_the_second_run_does_nothing_and_a_third_only_what_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches work that is done again, and a changed source that is not noticed."""
    source, root = write_gopro(tmp_path / "source"), tmp_path / "root"
    run(source, root)
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    run(source, root)
    assert "nothing to do: 4 frames" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times
    write_dat(source / STREAM, spikes(77, GOPRO_STEPS))
    done: list[str] = []

    def prepare_and_record(job: frame_job.FrameJob) -> FrameRecord:
        done.append(job.frame.name)
        return frame_job.prepare_frame(job)

    monkeypatch.setattr(preparation, "prepare_frame", prepare_and_record)
    run(source, root)
    assert done == ["1"]
    assert read_alignment(root / "train")[1].spikes == spikes(77, GOPRO_STEPS).sum()
    check(root)


def fail_to_copy(source: Path, target: Path) -> None:
    """Writes half of a file."""
    target.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    raise OSError(28, "No space left on device", str(target))


def fail_to_write(array: FrameArray, index: int, frame: np.ndarray) -> None:
    """Writes nothing."""
    raise OSError(28, "No space left on device")


def fail_to_append(journal: Journal, record: object) -> None:
    """Writes half of a line."""
    with journal._path.open("a") as file:
        file.write('{"split": "tra')
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "failure"),
    [
        (frame_job.shutil, "copyfile", fail_to_copy),
        (FrameArray, "write", fail_to_write),
        (Journal, "append", fail_to_append),
    ],
)
@pytest.mark.parametrize("calls", [0, 4])
def test_a_full_disk_leaves_nothing_that_is_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, failure: Callable[..., None], calls: int
) -> None:
    """Catches half-written files that a later run or a training believes, and work that is lost."""
    source, root = write_gopro(tmp_path / "source"), tmp_path / "root"
    original, count = getattr(owner, name), iter(range(100))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *arguments: (failure if next(count) >= calls else original)(*arguments))
        with pytest.raises(
            InputError, match=r"stopped: .*No space left on device.* the same command continues"
        ) as caught:
            run(source, root)
    assert "\n" not in str(caught.value)
    for use in (lambda: FolderDataset(root, "train", ClipSpec(frames=1, bins=4)), lambda: check(root)):
        with pytest.raises(InputError, match="preparation was interrupted"):
            use()
    run(source, root)
    check(root)
    run(source, tmp_path / "at_once")
    assert contents(root) == contents(tmp_path / "at_once")


def test_one_preparation_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two processes that clear each other's files away, and what a killed one has left that stays for ever."""
    source, root = write_gopro(tmp_path / "source"), tmp_path / "root"

    def meanwhile(job: frame_job.FrameJob) -> FrameRecord:
        with pytest.raises(InputError, match="another process at work"):
            run(source, root)
        return frame_job.prepare_frame(job)

    leftover = root / "train" / TRAIN / "blur" / ".000001.0123abcd.partial.png"
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "prepare_frame", fail_to_write)
        with pytest.raises(TypeError):
            run(source, root)
        leftover.parent.mkdir(parents=True)
        leftover.write_text("half a picture")
        patch.setattr(preparation, "prepare_frame", meanwhile)
        run(source, root)
    assert not leftover.exists()
    check(root)


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """Catches a failing write of tensorstore itself that goes unnoticed: the system refuses files above 600 bytes."""
    source, root = write_gopro(tmp_path / "source"), tmp_path / "root"
    with files_up_to(600), pytest.raises(InputError, match="the same command continues"):
        run(source, root, "--link", bins=16)  # links: the arrays are the first to be written
    assert not any(path.name.endswith(".0.0.0") for path in root.rglob("*"))
    run(source, root, "--link", bins=16)
    check(root)


def test_too_little_space_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches hours of work that cannot end well."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        InputError, match=r"expected space on the disk: about [\d.]+ kB for 5 frames .*1\.0 kB are free"
    ):
        run(write_gopro(tmp_path / "source"), tmp_path / "root")
    assert not list((tmp_path / "root").rglob("*.png"))


def test_spikes_that_are_all_alike(tmp_path: Path) -> None:
    """Catches statistics with a standard deviation of 0, by which everything would be divided."""
    source, root = write_gopro(tmp_path / "source"), tmp_path / "root"
    regular = np.zeros((GOPRO_STEPS, 8, 12), np.uint8)
    regular[::2] = 1
    for stream in source.glob("GOPRO_Large_spike_seq/train/*/spike/*.dat"):
        write_dat(stream, regular)
    with pytest.raises(InputError, match="expected spikes that differ, found a standard deviation of 0"):
        run(source, root, bins=8)
    assert not (root / "statistics.json").exists()
    with pytest.raises(InputError, match="preparation was interrupted"):
        FolderDataset(root, "train", ClipSpec(frames=1, bins=8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "{tmp}/none"), "folder of the published data set, found none"),
        (("--output", "{tmp}/source"), "apart from the source"),
        (("--output", "{tmp}/foreign"), "something else: .*foreign"),
        (("--crop", "17"), "can use none of .*short side of at least 17, found 16x24"),
        (("--spike-size", "5x7"), r"--spike-size 8x12, as config\.yaml says .*, found 5x7: .*spike_seq/config\.yaml"),
        (("--blur", "blur"), "folders blur of blurry pictures, found none"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, options: tuple[str, str], message: str) -> None:
    """Catches a wrong folder or option that ends in a traceback, or destroys what is there."""
    source = write_gopro(tmp_path / "source", train=1, test=1)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("years of work")
    before = contents(tmp_path / "foreign"), contents(source)
    with pytest.raises(InputError, match=message) as caught:
        run(source, tmp_path / "root", *(option.format(tmp=tmp_path) for option in options))
    assert "\n" not in str(caught.value)
    assert (contents(tmp_path / "foreign"), contents(source)) == before


SOURCE, LAYOUT = ["--source", "in"], ["--layout", "gopro"]
# Every option that needs others to have an effect, and what the message says is missing; the rest have one always.
WITHOUT_EFFECT: dict[str, tuple[list[str], str]] = {
    "--layout": (["gopro"], "--source"),
    "--link": ([], "--source"),
    "--no-picture-tiles": ([], "--source"),
    "--blur": (["blur"], "--source"),
    "--spike-size": (["4x8"], "--source"),
    "--spike-offset": (["0"], "--source"),
    "--spike-margin": (["0"], "--source"),
    "--flip-spikes": ([], "--source"),
    "--grey": ([], "--source"),
    "--crop": (["1"], "--source"),
    "--bins": (["32"], "--source or --tfds"),
    "--tfds-format": (["array_record"], "--tfds"),
    "--split": (["train"], "--source"),
    "--picture-tiles": ([], "--source"),
    "--list": (["list.txt"], "--source"),
    "--partition": (["REDS4"], "--source"),
}
ALWAYS = {"--help", "--source", "--output", "--check-only", "--tfds", "--workers", "--progress", "--quiet", "--verbose"}


@pytest.mark.parametrize("option", WITHOUT_EFFECT)
def test_an_option_without_effect_is_refused(option: str, tmp_path: Path) -> None:
    """Catches an option, also a new one or one with its default's value, that is accepted and does nothing."""
    known = {action.option_strings[-1] for action in build_parser()._actions}
    assert known == {*WITHOUT_EFFECT, *ALWAYS}
    value, needed = WITHOUT_EFFECT[option]
    with pytest.raises(InputError, match=f"expected {needed}.* with {option}, found none"):
        main(["--output", str(tmp_path / "root"), "--check-only", option, *value])
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*SOURCE, *LAYOUT, "--split", "val"], "expected --layout folders.* with --split, found none"),
        ([*SOURCE, *LAYOUT, "--tfds-format", "tfrecord"], "expected --tfds with --tfds-format, found none"),
        (["--check-only", *SOURCE, *LAYOUT], "expected --check-only or --source, found both"),
        (["--check-only", "--tfds", "out"], "expected --check-only or --tfds, found both"),
        (["--layout", "gopr"], "--layout: expected one of gopro, x4k, folders, reds, .*did you mean 'gopro'"),
        ([*SOURCE, "--layout", "folder"], "did you mean 'folders'"),
    ],
)
def test_options_that_do_not_fit_together(options: list[str], message: str, tmp_path: Path) -> None:
    """Catches options that contradict each other, and a mistyped layout that is found only after other mistakes."""
    with pytest.raises(InputError, match=message):
        main(["--output", str(tmp_path / "root"), *options])


@pytest.mark.slow
def test_processes_and_links_give_the_same(tmp_path: Path) -> None:
    """Catches results that depend on the number of processes, arrays that two of them make at once, copied links."""
    source = write_gopro(tmp_path / "source")
    run(source, tmp_path / "one")
    run(source, tmp_path / "two", "--workers", "2", "--link", "--no-picture-tiles")
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    without = {name for name in one if "/blur.zarr/" in name or "/sharp.zarr/" in name} | {"dataset.json"}
    assert {name: one[name] for name in one if name not in without} == {
        name: two[name] for name in two if name != "dataset.json"
    }
    linked = tmp_path / "two" / "train" / TRAIN / "spike" / "000001.dat"
    assert os.path.samefile(linked, source / STREAM)
    main(["--output", str(tmp_path / "two"), "--check-only", "--workers", "2"])
