"""Data sets of pictures without spikes: what is found in them, what is refused, and that nothing is copied."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image

from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.degradation import Degradation
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.errors import InputError
from spikejax.io import pictures
from spikejax.io.box import Box
from spikejax.io.tiled_arrays import FrameArray
from spikejax.prepare import main
from tests.data.lmdb_files import pack_folders
from tests.data.prepared import contents
from tests.data.published import write_gopro as write_gopro_with_spikes
from tests.data.published_pictures import IMITATIONS, VIMEO, Imitation, enlarge, picture, prepare, remove_one

DEGRADATIONS = {"noise": Degradation("noise", 1, (10.0, 10.0)), "interpolation": Degradation("interpolation")}


def open_split(imitation: Imitation, root: Path, split: str) -> FolderDataset:
    """A split, with its input read or made."""
    degradation = DEGRADATIONS.get(imitation.made, Degradation("none", imitation.scale))
    return FolderDataset(root, split, ClipSpec(frames=2, degradation=degradation))


@pytest.fixture(params=IMITATIONS)
def imitation(request: pytest.FixtureRequest) -> Imitation:
    """Each of the layouts."""
    return IMITATIONS[request.param]


def test_a_layout(imitation: Imitation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches sequences in the wrong split or left out, other pictures, and pictures that were copied."""
    source, root = tmp_path / "source", tmp_path / "root"
    imitation.write(source)
    prepare(imitation, source, root)
    assert f"prepared {sum(imitation.splits[next(iter(imitation.splits))].values())} frames" in capsys.readouterr().err
    found = {
        split: {run.name: len(run.frames) for run in open_split(imitation, root, split).runs}
        for split in ("train", "val", "test")
        if (root / split).is_dir()
    }
    assert found == imitation.splits
    assert {path.suffix for path in root.rglob("*") if path.is_file()} <= {".json", ".lock", ""}
    prepare(imitation, source, root)
    assert "nothing to do: " in capsys.readouterr().err
    check(root)


def check(root: Path) -> None:
    """Verifies what was prepared."""
    main(["--output", str(root), "--check-only", "--workers", "1"])


@pytest.mark.parametrize("name", ["reds4", "gopro", "davis", "vimeo90k"])
def test_tiles_are_the_pictures(name: str, tmp_path: Path) -> None:
    """Catches tiles of other pictures, a val that has none of its own, and tiles that need the published files."""
    imitation, source, root = IMITATIONS[name], tmp_path / "source", tmp_path / "root"
    imitation.write(source)
    prepare(imitation, source, tmp_path / "links")
    prepare(imitation, source, root, "--picture-tiles")
    check(root)
    linked = {split: open_split(imitation, tmp_path / "links", split) for split in imitation.splits}
    box = Box(8, 16, 16, 24)
    expected = {split: [dataset[0], dataset.read(len(dataset) - 1, box)] for split, dataset in linked.items()}
    source.rename(tmp_path / "moved")
    for split, clips in expected.items():
        dataset = open_split(imitation, root, split)
        for clip, read in zip(clips, (dataset[0], dataset.read(len(dataset) - 1, box)), strict=True):
            np.testing.assert_array_equal(clip["sharp"], read["sharp"])
            np.testing.assert_array_equal(clip["input"], read["input"])
    with pytest.raises(InputError, match=r"expected the published pictures, found none \(if it was moved, .*source"):
        open_split(imitation, tmp_path / "links", next(iter(imitation.splits)))


def test_input_and_sharp_belong_together(tmp_path: Path) -> None:
    """Catches the input of another frame or sequence, in particular where the frames are called otherwise."""
    for name in ("reds smaller, as published", "vid4", "vimeo90k"):
        source, root = tmp_path / name / "source", tmp_path / name / "root"
        IMITATIONS[name].write(source)
        prepare(IMITATIONS[name], source, root)
        for split in IMITATIONS[name].splits:
            dataset = open_split(IMITATIONS[name], root, split)
            for index in range(len(dataset)):
                clip = dataset[index]
                np.testing.assert_array_equal(clip["sharp"][:, ::4, ::4], clip["input"])


def test_frames_of_a_list(tmp_path: Path) -> None:
    """Catches a list's first frame or number of frames that is not taken, and one that reaches test as well."""
    source = tmp_path / "source"
    IMITATIONS["gopro renamed"].write(source)
    prepare(IMITATIONS["gopro renamed"], source, tmp_path / "root")
    (run,) = open_split(IMITATIONS["gopro renamed"], tmp_path / "root", "train").runs
    assert run.stems == ("000048", "000049", "000050", "000051")


def test_other_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a list that is named and not taken, and a split of it that follows from its name alone."""
    source, lists = tmp_path / "source", tmp_path / "mine.txt"
    IMITATIONS["vimeo90k"].write(source)
    lists.write_text("00001/0266 7 (64,96,3)\n")
    prepare(
        IMITATIONS["vimeo90k"], source, tmp_path / "root", "--list", f"val={lists}", str(source / "sep_trainlist.txt")
    )
    assert "1 of 4 sequences are in no list" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "root").iterdir() if path.is_dir()) == ["train", "val"]
    with pytest.raises(InputError, match=r"expected a list of sequences, found no file: none\.txt"):
        prepare(IMITATIONS["vimeo90k"], source, tmp_path / "other", "--list", "none.txt")


def test_names_that_differ_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches pairs by order that nobody hears of, and a line for each of thousands."""
    source = tmp_path / "source"
    IMITATIONS["vid4"].write(source)
    (source / "BIx4" / "city").rename(source / "BIx4" / "town")
    (source / "BIx4" / "calendar").rename(source / "BIx4" / "almanac")
    prepare(IMITATIONS["vid4"], source, tmp_path / "root")
    notes = [line for line in capsys.readouterr().err.splitlines() if "pair up by their order" in line]
    assert notes == [
        "note: sequences pair up by their order: almanac of BIx4/SEQUENCE with calendar of GT/SEQUENCE, ...",
        "note: pictures pair up by their order: BIx4/almanac/Frame 0.png with GT/calendar/00000000.png, ...",
    ]


WRONG: dict[str, tuple[str, Callable[[Path], object], tuple[str, ...], str]] = {
    "a partition's sequence is missing": (
        "reds",
        lambda source: remove_tree(source / "train/train_sharp/011"),
        (),
        r"expected sequences 000, 011, 015, 020 of REDS4, found no 011 \(--partition published .*source",
    ),
    "two inputs": (
        "reds",
        lambda source: None,
        ("--blur",),
        "expected --blur blur or sharp_bicubic, the network's input, as more than one is there: .*source",
    ),
    "an input of one split alone": (
        "reds",
        lambda source: remove_tree(source / "val/val_blur"),
        (),
        "expected blur beside val/val_sharp/SEQUENCE, as the first split has, found none: .*source",
    ),
    "a sequence of the sharp pictures alone": (
        "reds4",
        lambda source: remove_tree(source / "sharp_bicubic/015"),
        (),
        "expected the same sequences as GT/SEQUENCE and sharp_bicubic/SEQUENCE, found 4 and 3, 015 is in the first",
    ),
    "fewer pictures of a sequence": (
        "gopro renamed",
        lambda source: remove_one(source / "test_GT_blurred/GOPR0384_11_00"),
        (),
        "expected as many pictures of a sequence in both folders, found 5 in test_GT/GOPR0384_11_00 and 4 in test_GT_",
    ),
    "an input that is no fraction of the sharp picture": (
        "dvd",
        lambda source: [enlarge(path) for path in (source / "quantitative_datasets/IMG_0003/GT").iterdir()],
        (),
        "expected sharp pictures a whole number of times as large as the input, found 65x97 in .*IMG_0003/GT and 64x96",
    ),
    "a picture of another size": (
        "davis",
        lambda source: enlarge(source / "DAVIS/JPEGImages/480p/bear/00002.jpg"),
        (),
        "expected pictures of 64x96 as the sequence's first, found 65x97: .*bear/00002.jpg",
    ),
    "a file that is no picture": (
        "set8",
        lambda source: (source / "tractor/00001.png").write_bytes(b""),
        (),
        "expected a picture, cannot decode .*tractor/00001.png",
    ),
    "more than 8 bits": (
        "set8",
        lambda source: Image.fromarray(np.zeros((64, 96), np.uint16)).save(source / "tractor/00001.png"),
        (),
        "expected a picture with 8 bits a channel, found mode 'I;16': .*tractor/00001.png",
    ),
    "a list that names what is not there": (
        "vimeo90k",
        lambda source: (source / "sep_testlist.txt").write_text("00001/0266\n00001/0999\n"),
        (),
        r"expected the sequence 00001/0999 of a list \(.*sep_testlist.txt, line 2\), found none: .*source",
    ),
    "no lists": (
        "vimeo90k",
        lambda source: [(source / f"sep_{name}list.txt").unlink() for name in ("train", "test")],
        (),
        "expected the lists sep_trainlist.txt and sep_testlist.txt, found none",
    ),
    "a list of something else": (
        "vimeo90k",
        lambda source: (source / "sep_testlist.txt").write_text("00001/0266\nim1.png of 7\n"),
        (),
        "expected SEQUENCE or SEQUENCE COUNT .*, found 'im1.png of 7' in line 2: .*sep_testlist.txt",
    ),
    "a sequence in two splits": (
        "vimeo90k",
        lambda source: (source / "sep_testlist.txt").write_text("00001/0002\n"),
        (),
        "expected each sequence in one split, found 00001/0002 in train as well: .*sep_testlist.txt, line 1",
    ),
    "frames of a list that are not there": (
        "gopro renamed",
        lambda source: (source / "meta_info_GoPro_GT.txt").write_text("GOPR0372_07_00 4 (64,96,3) 49\n"),
        (),
        "expected frames 49 to 52 of GOPR0372_07_00, found 3 of them: .*meta_info_GoPro_GT.txt, line 1",
    ),
    "a size of a list that is another": (
        "gopro renamed",
        lambda source: (source / "meta_info_GoPro_GT.txt").write_text("GOPR0372_07_00 4 (720,1280,3) 48\n"),
        (),
        "expected pictures of 720x1280, found 64x96 in .*train_GT/GOPR0372_07_00: .*meta_info_GoPro_GT.txt, line 1",
    ),
    "another scale": (
        "vid4",
        lambda source: [enlarge_twice(path) for path in (source / "BIx4/city").iterdir()],
        (),
        "expected an input of one scale, found sharp pictures 4 times as large in calendar and 2 times in city",
    ),
    "no sharp pictures": (
        "pairs",
        lambda source: [(source / split / "GT").rename(source / split / "truth") for split in ("train", "val", "test")],
        (),
        "expected sharp pictures as GT/SEQUENCE or gt/SEQUENCE or .*, found none: .*source",
    ),
}


def remove_tree(folder: Path) -> None:
    """Removes a folder of folders of pictures."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def enlarge_twice(path: Path) -> None:
    """Makes a picture twice as large."""
    with Image.open(path) as small:
        large = small.resize((2 * small.width, 2 * small.height), Image.Resampling.NEAREST)
    large.save(path)


@pytest.mark.parametrize("case", WRONG)
def test_one_wrong_entry(case: str, tmp_path: Path) -> None:
    """Catches a wrong entry that goes by unseen, or is found only when training reads it."""
    name, spoil, options, message = WRONG[case]
    imitation, source, root = IMITATIONS[name], tmp_path / "source", tmp_path / "root"
    imitation.write(source)
    spoil(source)
    if options == ("--blur",):
        imitation = Imitation(imitation.layout, imitation.write, imitation.splits)
    with pytest.raises(InputError, match=message):
        prepare(imitation, source, root)
    assert not root.exists()


def test_gopro_with_spikes_stays_one_with_spikes(tmp_path: Path) -> None:
    """Catches spikes that are there and not counted."""
    source = write_gopro_with_spikes(tmp_path / "source")
    main(["--layout", "gopro", "--source", str(source), "--output", str(tmp_path / "root"), "--bins", "4"])
    assert (tmp_path / "root" / "statistics.json").exists() and not list((tmp_path / "root").rglob("index.json"))


@pytest.mark.parametrize(
    ("layout", "options", "message"),
    [
        ("reds", ["--bins", "8"], "expected a data set with spikes with --bins"),
        ("reds", ["--spike-size", "8x12"], "expected a data set with spikes with --spike-size"),
        ("folders", ["--picture-tiles"], "expected a data set without spikes with --picture-tiles"),
        ("dvd", ["--partition", "REDS4"], "expected --layout reds with --partition"),
        ("vimeo90k", ["--split", "val"], "expected --layout folders, davis or pairs, .* with --split"),
    ],
)
def test_options_without_an_effect(layout: str, options: list[str], message: str, tmp_path: Path) -> None:
    """Catches an option that is taken and has no effect."""
    arguments = ["--layout", layout, "--source", str(tmp_path), "--output", str(tmp_path / "root"), *options]
    with pytest.raises(InputError, match=message):
        main(arguments)


def test_what_was_not_asked_of_the_data(tmp_path: Path) -> None:
    """Catches spikes or an input that are asked of a data set that has none, said in terms of something else."""
    source, root = tmp_path / "source", tmp_path / "root"
    IMITATIONS["davis"].write(source)
    prepare(IMITATIONS["davis"], source, root)
    with pytest.raises(InputError, match="expected a data set with spikes, found one of pictures alone: .*train"):
        FolderDataset(root, "train", ClipSpec(frames=2, bins=4))
    with pytest.raises(InputError, match="expected an input of the network, found sharp pictures alone"):
        FolderDataset(root, "train", ClipSpec(frames=2))
    with pytest.raises(InputError, match="expected runs of at least 5 usable frames, found none .*: 4 frames, fewer"):
        FolderDataset(root, "train", ClipSpec(frames=5, degradation=DEGRADATIONS["noise"]))
    with pytest.raises(InputError, match="short side 64 of 64x96 below the crop 70"):
        FolderDataset(root, "train", ClipSpec(frames=2, crop=70, degradation=DEGRADATIONS["noise"]))
    prepare(IMITATIONS["vid4"], *written("vid4", tmp_path), "--picture-tiles")
    with pytest.raises(InputError, match="sharp pictures 2 times as large as the .*, found them 4 times as large"):
        FolderDataset(tmp_path / "vid4 root", "test", ClipSpec(frames=2, degradation=Degradation("none", 2)))


def written(name: str, folder: Path) -> tuple[Path, Path]:
    """An imitation's source and a root for it."""
    IMITATIONS[name].write(folder / f"{name} source")
    return folder / f"{name} source", folder / f"{name} root"


def test_an_index_opens_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a start that looks at every header or folder: of 64,612 sequences it took many minutes."""
    source, root = written("vimeo90k", tmp_path)
    prepare(IMITATIONS["vimeo90k"], source, root)
    opened = []

    def no_picture(path: object) -> object:
        opened.append(path)
        raise AssertionError(f"opened {path}")

    monkeypatch.setattr(pictures, "open_picture", no_picture)
    for folder in ("sequences", "BDx4"):
        for name in VIMEO:
            (source / folder / name).rename(source / f"{folder} {name.replace('/', ' ')}")
    dataset = open_split(IMITATIONS["vimeo90k"], root, "train")
    assert (len(dataset), dataset.size(0)) == (12, (64, 96, 1))
    assert dataset.window_name(11) == "00001_0002/im6-im7" and not opened


def test_an_index_that_is_damaged(tmp_path: Path) -> None:
    """Catches a traceback for an index that was cut, or is of a later version."""
    source, root = written("pairs", tmp_path)
    prepare(IMITATIONS["pairs"], source, root)
    index = root / "train" / "index.json"
    whole = index.read_text()
    for text, message in (
        (whole[:-20], "expected an index that spikejax.prepare wrote, found a damaged one: .*index.json"),
        ("[]", "found a damaged one"),
        (whole.replace('"format":1', '"format":2'), "expected an index of format 1, found 2: .*index.json"),
    ):
        index.write_text(text)
        with pytest.raises(InputError, match=message):
            FolderDataset(root, "train", ClipSpec(frames=2))


def test_a_preparation_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches half of the tiles that are trained on, work that is done twice, and a result that depends on the stop."""
    source, root = written("pairs", tmp_path)
    prepare(IMITATIONS["pairs"], source, tmp_path / "whole", "--picture-tiles")
    write, written_frames = FrameArray.write, []

    def stop_at_the_tenth(array: FrameArray, index: int, frame: np.ndarray) -> None:
        written_frames.append(index)
        if len(written_frames) == 10:
            raise KeyboardInterrupt
        write(array, index, frame)

    monkeypatch.setattr(FrameArray, "write", stop_at_the_tenth)
    with pytest.raises(KeyboardInterrupt):
        prepare(IMITATIONS["pairs"], source, root, "--picture-tiles")
    with pytest.raises(InputError, match="found one whose preparation was interrupted"):
        FolderDataset(root, "train", ClipSpec(frames=2))
    with pytest.raises(InputError, match=r"expected a data set with picture_arrays False, found one with .* True"):
        prepare(IMITATIONS["pairs"], source, root)
    prepare(IMITATIONS["pairs"], source, root, "--picture-tiles")
    assert len(written_frames) == 10 + 24 - 9
    assert {name: text for name, text in contents(root).items() if "lock" not in name} == {
        name: text for name, text in contents(tmp_path / "whole").items() if "lock" not in name
    }


def test_an_output_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback, or a line about JSON, for an output that is a file, below one, or only read."""
    source, root = written("pairs", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder to write to, found a file: .*file"):
        prepare(IMITATIONS["pairs"], source, tmp_path / "file")
    with pytest.raises(InputError, match="expected a place to write to, found Not a directory: .*root"):
        prepare(IMITATIONS["pairs"], source, tmp_path / "file" / "root")

    def refuse(path: Path, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", refuse)
        with pytest.raises(InputError, match="expected a place to write to, found Permission denied: .*root"):
            prepare(IMITATIONS["pairs"], source, root)
    assert not root.exists()
    prepare(IMITATIONS["pairs"], source, root)

    def acquire(lock: filelock.FileLock) -> None:
        refuse(Path(lock.lock_file))

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(InputError, match="expected a place to write to, found Permission denied: .*root"):
        prepare(IMITATIONS["pairs"], source, root)


def test_two_at_once(tmp_path: Path) -> None:
    """Catches two preparations that write into each other's output."""
    source, root = written("pairs", tmp_path)
    prepare(IMITATIONS["pairs"], source, root)
    with filelock.FileLock(root / ".prepare.lock"):
        with pytest.raises(InputError, match="expected to work alone, found another process at work: .*root"):
            prepare(IMITATIONS["pairs"], source, root)


def test_a_source_that_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches an index that is never written again, and tiles of sequences that are gone or have other frames."""
    source, root = written("pairs", tmp_path)
    for options in ((), ("--picture-tiles",)):
        out = root / str(len(options))
        prepare(IMITATIONS["pairs"], source, out, *options)
    for kind in ("GT", "LQ"):
        remove_one(source / "train" / kind / "clip0")
        (source / "val" / kind / "clip1").rename(source / "val" / kind / "clip9")
    for options in ((), ("--picture-tiles",)):
        out = root / str(len(options))
        prepare(IMITATIONS["pairs"], source, out, *options)
        assert "prepared 3 frames in 1 sequence of train" in capsys.readouterr().err
        assert [run.name for run in open_split(IMITATIONS["pairs"], out, "val").runs] == ["clip9"]
        assert not (out / "val" / "clip1").exists()
        check(out)


def test_moved_pictures_are_prepared_again(tmp_path: Path) -> None:
    """Catches a data set that can never be used again once its pictures were moved."""
    source, root = written("pairs", tmp_path)
    prepare(IMITATIONS["pairs"], source, root)
    (tmp_path / "disk").mkdir()
    moved = source.rename(tmp_path / "disk" / source.name)
    prepare(IMITATIONS["pairs"], moved, root)
    assert json.loads((root / "val" / "index.json").read_text())["published"] == str(moved)
    assert len(open_split(IMITATIONS["pairs"], root, "val")) == 3


def test_check_only_reads_everything(tmp_path: Path) -> None:
    """Catches damage that is found only when training comes to it."""
    source, root = written("pairs", tmp_path)
    prepare(IMITATIONS["pairs"], source, root, "--picture-tiles")
    picture_file = source / "val" / "GT" / "clip1" / "00000002.png"
    Image.fromarray(picture(77)).save(picture_file)
    with pytest.raises(InputError, match=r"found 1 problem: frame 2 of .*sharp.zarr is not .*clip1/00000002.png"):
        check(root)
    os.truncate(picture_file, 60)
    with pytest.raises(InputError, match="found 1 problem: .*cannot decode"):
        check(root)


def test_links_are_followed(tmp_path: Path) -> None:
    """Catches sequences that are links to another disk, as those who have no room make them."""
    source, root = tmp_path / "source", tmp_path / "root"
    IMITATIONS["vimeo90k"].write(tmp_path / "disk")
    for path in ("sequences", "BDx4"):
        for name in (*VIMEO, "00096/0936"):
            (source / path / name).parent.mkdir(parents=True, exist_ok=True)
            (source / path / name).symlink_to(tmp_path / "disk" / path / name)
    for name in ("sep_trainlist.txt", "sep_testlist.txt"):
        (source / name).symlink_to(tmp_path / "disk" / name)
    prepare(IMITATIONS["vimeo90k"], source, root)
    assert len(open_split(IMITATIONS["vimeo90k"], root, "train").runs) == 2


# Folders of each imitation that frameworks pack.
PACKED = {
    "reds smaller, as published": [
        *("train/train_sharp", "train/train_sharp_bicubic", "val/val_sharp", "val/val_sharp_bicubic"),
    ],
    "gopro renamed": ["train_GT", "train_GT_blurred"],
    "vid4": ["GT"],
}


@pytest.mark.needs("lmdb")
@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("options", [(), ("--picture-tiles",)])
def test_databases(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """Catches an LMDB that is not taken in the place of the folder, or read as something else than its pictures."""
    imitation, source = IMITATIONS[name], tmp_path / "source"
    imitation.write(source)
    prepare(imitation, source, tmp_path / "folders")
    expected = {split: open_split(imitation, tmp_path / "folders", split) for split in imitation.splits}
    clips = {split: [dataset[index] for index in range(len(dataset))] for split, dataset in expected.items()}
    for folder in PACKED[name]:
        path = source / folder
        if path.name.endswith("bicubic"):  # without the folder of the factor
            (path / "X4").rename(source / "X4")
            path.rmdir()
            (source / "X4").rename(path)
        pack_folders(path)
    root = tmp_path / "root"
    prepare(imitation, source, root, *options)
    check(root)
    for split, wanted in clips.items():
        dataset = open_split(imitation, root, split)
        assert len(dataset) == len(wanted)
        for index, clip in enumerate(wanted):
            for key in ("input", "sharp"):
                np.testing.assert_array_equal(dataset[index][key], clip[key])


@pytest.mark.needs("lmdb")
def test_a_database_that_was_cut(tmp_path: Path) -> None:
    """Catches damage that shows only in training, or ends the process."""
    source, root = written("gopro renamed", tmp_path)
    for name in ("train_GT", "train_GT_blurred"):
        pack_folders(source / name)
    data = source / "train_GT_blurred.lmdb" / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(InputError, match=r"bytes of data.mdb, found \d+, a file that was cut: .*GT_blurred.lmdb"):
        prepare(IMITATIONS["gopro renamed"], source, root)
    assert not root.exists()
