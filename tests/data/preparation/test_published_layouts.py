"""Tests of finding the frames of published data sets: which files belong together, by their names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spikejax.data.preparation.published_layouts import (
    LAYOUTS,
    LayoutChoices,
    SourceFrame,
    SourceSequence,
    find_published,
)
from spikejax.errors import InputError
from tests.data.published import GOPRO_STEPS, picture, rename_gopro, save, spikes, write_gopro, write_x4k

LAYOUT = '''
from spikejax.data.preparation.published_layouts import SourceFrame, PublishedDataset, SourceSequence

def find(source, choices):
    """Files NAME_b.png, NAME_s.png and NAME.dat, side by side."""
    names = sorted(path.stem for path in source.glob("*.dat"))
    frames = tuple(
        SourceFrame(n, name, source / f"{name}_b.png", source / f"{name}_s.png", source / f"{name}.dat")
        for n, name in enumerate(names)
    )
    return PublishedDataset((SourceSequence(choices.split, "all", frames, ratio=2),))
'''


def sequences(layout: str, source: Path, *, split: str = "train") -> dict[str, SourceSequence]:
    """The sequences by split and name."""
    published = find_published(layout, source, LayoutChoices(split=split))
    return {f"{sequence.split}/{sequence.name}": sequence for sequence in published.sequences}


def test_gopro(tmp_path: Path) -> None:
    """Catches a test split that is not ours to validate on, times that are not those of the files' numbers."""
    found = sequences("gopro", write_gopro(tmp_path, first=3))
    assert found.keys() == {"train/GOPR0001_02_00", "val/GOPR0002_02_01"}
    train = found["train/GOPR0001_02_00"]
    assert (train.steps, train.ratio) == (GOPRO_STEPS, None)
    assert [(frame.number, frame.t0) for frame in train.frames] == [(n, n * GOPRO_STEPS) for n in range(3, 7)]
    assert all(frame.problem == "" and frame.window is None for frame in train.frames)
    # The folder of the pictures alone may be named, too.
    assert sequences("gopro", tmp_path / "GOPRO_Large") == found


def test_blurs_of_gopro(tmp_path: Path) -> None:
    """Catches linear and gamma blur mixed up silently, and a folder that is asked for and is not there."""
    write_gopro(tmp_path / "both", blurs=("blur", "blur_gamma"))
    with pytest.raises(InputError, match="--blur blur or --blur blur_gamma, as both are there"):
        find_published("gopro", tmp_path / "both", LayoutChoices())
    published = find_published("gopro", tmp_path / "both", LayoutChoices(blur="blur"))
    assert published.blur == "blur"
    assert {frame.blur.parent.name for frame in published.sequences[0].frames if frame.blur} == {"blur"}
    assert find_published("gopro", write_gopro(tmp_path / "one"), LayoutChoices()).blur == "blur_gamma"
    with pytest.raises(InputError, match="expected folders blur of blurry pictures, found none"):
        find_published("gopro", tmp_path / "one", LayoutChoices(blur="blur"))


def test_renamed_gopro(tmp_path: Path) -> None:
    """Catches the renamed folders not found, sharp and blurry pictures exchanged, and a file that only one has."""
    source = rename_gopro(write_gopro(tmp_path, test=2, first=47))
    save(source / "GOPRO_Large/test_GT_blurred/GOPR0009_02_00/000003.png", picture(9))
    published = find_published("gopro", source, LayoutChoices())
    assert published.blur == "GT_blurred"
    found = {f"{sequence.split}/{sequence.name}": sequence for sequence in published.sequences}
    assert found.keys() == {"train/GOPR0001_02_00", "val/GOPR0002_02_01", "val/GOPR0009_02_00"}
    frame = found["val/GOPR0002_02_01"].frames[1]
    assert (frame.blur, frame.sharp, frame.stream, frame.t0) == (
        source / "GOPRO_Large/test_GT_blurred/GOPR0002_02_01/000048.png",
        source / "GOPRO_Large/test_GT/GOPR0002_02_01/000048.png",
        source / "GOPRO_Large_spike_seq/test/GOPR0002_02_01/spike/48.dat",
        48 * GOPRO_STEPS,
    )
    (lonely,) = found["val/GOPR0009_02_00"].frames
    named = "test_GT_blurred/GOPR0009_02_00, test_GT/GOPR0009_02_00 and GOPR0009_02_00/spike"
    assert lonely.problem == f"expected {named} to hold 3, found no sharp picture and no stream"
    save(source / "GOPRO_Large/train/GOPR0001_02_00/blur/000047.png", picture(9))
    with pytest.raises(InputError, match="--blur blur or --blur GT_blurred, as both are there"):
        find_published("gopro", source, LayoutChoices())


@pytest.mark.parametrize("layout", ["x4k", "folders"])
def test_blurs_of_other_layouts(layout: str, tmp_path: Path) -> None:
    """Catches a --blur that is taken and has no effect."""
    write_x4k(tmp_path)
    with pytest.raises(InputError, match="expected --blur with --layout gopro only, found --blur blur"):
        find_published(layout, tmp_path, LayoutChoices(blur="blur"))


def test_streams_that_are_numbered_otherwise(tmp_path: Path) -> None:
    """Catches an offset in the wrong direction, one that is passed over, and a stream that belongs to no picture."""
    for number in (6, 7):
        for kind in ("blur", "sharp"):
            save(tmp_path / "s" / kind / f"{number:06d}.png", picture(number))
    for number in (18, 19, 20):
        save(tmp_path / "s/spike" / f"{number:06d}.dat", spikes(number, 8))
    choices = LayoutChoices(spike_offset=13, spike_margin=2)
    (found,) = find_published("folders", tmp_path, choices).sequences
    streams = {frame.name: frame.stream and frame.stream.name for frame in found.frames}
    assert streams == {"5": "000018.dat", "6": "000019.dat", "7": "000020.dat"}
    assert [frame.name for frame in found.frames if frame.problem] == ["5"]
    assert {frame.margin for frame in found.frames} == {2}
    gopro = write_gopro(tmp_path / "gopro", train=2, first=3)
    (train, _) = find_published("gopro", gopro, LayoutChoices(spike_offset=1, spike_margin=2)).sequences
    assert [(frame.name, frame.stream and frame.stream.name, frame.margin) for frame in train.frames] == [
        ("2", "3.dat", 2),
        ("3", "4.dat", 2),
        ("4", None, 2),
    ]
    for layout, source in (("x4k", write_x4k(tmp_path / "x4k")), ("folders", tmp_path / "one")):
        if layout == "folders":
            for number in (0, 1):
                save(source / "s" / "blur" / f"{number}.png", picture(number))
            save(source / "s/spike/100.dat", spikes(0, 16))
        for one in (LayoutChoices(spike_offset=1), LayoutChoices(spike_margin=1)):
            with pytest.raises(InputError, match="expected .*--spike-offset and --spike-margin"):
                find_published(layout, source, one)
    save(tmp_path / "s/spike/first.dat", spikes(0, 8))
    with pytest.raises(InputError, match=r"numbers as the streams' names with --spike-offset, found .*first\.dat"):
        find_published("folders", tmp_path, LayoutChoices(spike_offset=1))


def test_x4k(tmp_path: Path) -> None:
    """Catches windows that are not the 33 frames of the name, another sharp picture than the middle, hidden gaps."""
    write_x4k(tmp_path)
    (tmp_path / "val_blurry_33/Type1/TEST01/0033_0065.png").unlink()
    save(tmp_path / "val_blurry_33/Type1/TEST01/title.png", picture(0))
    found = sequences("x4k", tmp_path)
    assert found.keys() == {"train/002_occ", "val/Type1_TEST01"}
    windows = [frame.window for frame in found["train/002_occ"].frames]
    assert windows == [(0, 33), (33, 66), (66, 99)]
    sharp = [frame.sharp.name for frame in found["train/002_occ"].frames if frame.sharp is not None]
    assert sharp == ["0016.png", "0049.png", "0082.png"]
    first, last, title = found["val/Type1_TEST01"].frames
    assert (first.number, last.number) == (0, 1)  # one distance is all there is, and so the usual one
    assert title.problem.startswith("expected a name A_B.png, the first and last of 33 frames")


def test_x4k_gap(tmp_path: Path) -> None:
    """Catches a clip across a window that is missing: it is not as far as the others."""
    write_x4k(tmp_path, length=5)
    (tmp_path / "train_blurry_33/002/occ/0066_0098.png").unlink()
    assert [frame.number for frame in sequences("x4k", tmp_path)["train/002_occ"].frames] == [0, 1, 3, 4]


def test_folders_of_a_split_and_without(tmp_path: Path) -> None:
    """Catches sequences in the wrong split, and empty folders that end in a traceback."""
    for split in ("train", "test"):
        save(tmp_path / "split" / split / "a" / "blur" / "0.png", picture(0))
    assert sequences("folders", tmp_path / "split").keys() == {"train/a", "val/a"}
    for kind in ("blur", "sharp", "spike"):
        (tmp_path / "plain" / "empty" / kind).mkdir(parents=True)
    found = sequences("folders", tmp_path / "plain", split="val")
    assert found == {"val/empty": SourceSequence("val", "empty", ())}


@pytest.mark.parametrize(
    ("names", "numbers"),
    [(("0", "1", "4", "5"), [0, 1, 3, 4]), (("8", "16", "24"), [0, 1, 2]), (("f0", "f3", "f9"), [0, 1, 2])],
)
def test_numbers_of_plain_folders(tmp_path: Path, names: tuple[str, ...], numbers: list[int]) -> None:
    """Catches frames on both sides of a gap that pass for neighbours, and numbers by eights taken for gaps."""
    for name in names:
        save(tmp_path / "s" / "blur" / f"{name}.png", picture(0))
    assert [frame.number for frame in sequences("folders", tmp_path)["train/s"].frames] == numbers


def test_missing_files_are_named(tmp_path: Path) -> None:
    """Catches a frame that vanishes because only one of its files is there, and leading zeros that part its files."""
    save(tmp_path / "s" / "blur" / "007.png", picture(0))
    save(tmp_path / "s" / "spike" / "7.dat", spikes(0, 8))
    save(tmp_path / "s" / "sharp" / "8.png", picture(0))
    seven, eight = sequences("folders", tmp_path)["train/s"].frames
    assert seven.problem == "expected s/blur, s/sharp and s/spike to hold 7, found no sharp picture"
    assert eight.problem == "expected s/blur, s/sharp and s/spike to hold 8, found no blurry picture and no stream"
    save(tmp_path / "s" / "blur" / "7.png", picture(1))
    with pytest.raises(InputError, match=r"one file per frame, found both 007\.png and 7\.png"):
        sequences("folders", tmp_path)


def test_a_layout_of_the_users(tmp_path: Path) -> None:
    """Catches a published layout that needs a change of the package."""
    (tmp_path / "layout.py").write_text(LAYOUT)
    for name in ("x", "y"):
        save(tmp_path / "source" / f"{name}.dat", spikes(0, 8))
    found = sequences(f"{tmp_path / 'layout.py'}:find", tmp_path / "source", split="val")
    assert [frame.name for frame in found["val/all"].frames] == ["x", "y"]
    assert isinstance(found["val/all"].frames[0], SourceFrame)


@pytest.mark.parametrize(
    ("layout", "prepare", "message"),
    [
        ("goproo", Path.mkdir, "--layout: expected one of gopro, x4k, folders or FILE.py:NAME, .*did you mean 'gopro'"),
        ("gopro", lambda path: None, "expected the folder of the published data set, found none"),
        ("gopro", Path.mkdir, "expected folders GOPRO_Large and GOPRO_Large_spike_seq, found no GOPRO_Large"),
        ("x4k", Path.mkdir, "expected folders train_blurry_33 or val_blurry_33, found none"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, layout: str, prepare: Callable[[Path], None], message: str) -> None:
    """Catches a misspelt layout or a wrong folder that is taken for an empty data set."""
    prepare(tmp_path / "source")
    with pytest.raises(InputError, match=message):
        find_published(layout, tmp_path / "source", LayoutChoices())
    assert list(LAYOUTS) == ["gopro", "x4k", "folders"]
