"""Small imitations of data sets without spikes, with their published names, depths, list files and formats."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from spikejax.io.pictures import read_picture, write_picture
from spikejax.prepare import main
from tests.data.published import save

HEIGHT, WIDTH = 64, 96


@dataclass(frozen=True)
class Imitation:
    """A data set as published or as renamed.

    Attributes:
        layout: its name for `prepare`.
        write: writes it to a folder.
        splits: what each split has in the end: sequences by their number of frames.
        scale: size of the sharp pictures / size of the input.
        blur: the input that is chosen; None = there is but one.
        made: how the input is made where none is there.
        options: further ones of `prepare`.
    """

    layout: str
    write: Callable[[Path], None]
    splits: dict[str, dict[str, int]]
    scale: int = 1
    blur: str | None = None
    made: str = "none"
    options: tuple[str, ...] = ()


def picture(seed: int, scale: int = 1) -> np.ndarray:
    """Random pixels, enlarged so that a smaller picture resembles them."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    return cv2.resize(small, (WIDTH // scale, HEIGHT // scale), interpolation=cv2.INTER_NEAREST)


def write_sequence(folder: Path, names: Iterable[str], *, seed: int, scale: int = 1) -> None:
    """Pictures of these names; those of one seed show the same."""
    for number, name in enumerate(names):
        save(folder / name, picture(1000 * seed + number, scale))


def numbered(count: int, *, digits: int = 8, first: int = 0, suffix: str = ".png") -> list[str]:
    """Names such as 00000000.png."""
    return [f"{number:0{digits}d}{suffix}" for number in range(first, first + count)]


def write_pairs(
    sharp: Path, blur: Path | None, sequences: Sequence[str], names: Sequence[str], *, scale: int = 1, seed: int = 0
) -> None:
    """Sequences below two roots, the second `scale` times smaller."""
    for number, name in enumerate(sequences):
        write_sequence(sharp / name, names, seed=seed + number)
        if blur is not None:
            write_sequence(blur / name, names, seed=seed + number, scale=scale)


def write_reds(source: Path) -> None:
    """REDS as its archives unpack: blurry and smaller pictures, training and validation splits."""
    for split, sequences in (("train", ("000", "001", "011", "015", "020")), ("val", ("000", "001"))):
        root = source / split
        write_pairs(root / f"{split}_sharp", root / f"{split}_blur", sequences, numbered(4))
        write_pairs(root / f"{split}_sharp", root / f"{split}_sharp_bicubic" / "X4", sequences, numbered(4), scale=4)


def write_reds4(source: Path) -> None:
    """The test set REDS4 as VRT publishes it."""
    write_pairs(source / "GT", source / "sharp_bicubic", ("000", "011", "015", "020"), numbered(4), scale=4)
    write_pairs(source / "GT", source / "blur", ("000", "011", "015", "020"), numbered(4))


def write_gopro(source: Path) -> None:
    """GoPro as published, with both kinds of blur and with numbers that begin anywhere."""
    for split, name, first in (("train", "GOPR0372_07_00", 47), ("test", "GOPR0384_11_00", 1)):
        for kind in ("sharp", "blur", "blur_gamma"):
            folder = source / "GOPRO_Large" / split / name / kind
            write_sequence(folder, numbered(4, digits=6, first=first), seed=len(kind))
    (source / "GOPRO_Large" / "train" / "GOPR0372_07_00" / "frames X offset X.txt").write_text("")


def write_renamed(source: Path) -> None:
    """GoPro or DVD as restoration frameworks rename them, with a list of the training frames."""
    for split, name in (("train", "GOPR0372_07_00"), ("train", "GOPR0372_07_01"), ("test", "GOPR0384_11_00")):
        names = numbered(5, digits=6, first=47)
        write_pairs(source / f"{split}_GT", source / f"{split}_GT_blurred", (name,), names, seed=len(split))
    (source / "meta_info_GoPro_GT.txt").write_text("GOPR0372_07_00 4 (64,96,3) 000048\n")


def write_dvd(source: Path) -> None:
    """DVD as published: two folders within each sequence, JPEG."""
    for name in ("720p_240fps_1", "IMG_0003"):
        folder = source / "quantitative_datasets" / name
        write_pairs(folder / "GT", folder / "input", (".",), numbered(4, digits=5, suffix=".jpg"))


def write_davis(source: Path) -> None:
    """DAVIS 2017 as published, JPEG, with its lists."""
    names = numbered(4, digits=5, suffix=".jpg")
    write_pairs(source / "DAVIS" / "JPEGImages" / "480p", None, ("bear", "bike-packing", "unlisted"), names)
    lists = source / "DAVIS" / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("bear\n")
    (lists / "val.txt").write_text("bike-packing\n")


VIMEO = ("00001/0001", "00001/0002", "00001/0266")


def write_vimeo(source: Path) -> None:
    """Vimeo-90K as published, with the smaller pictures of frameworks beside it and a sequence that no list names."""
    names = [f"im{number}.png" for number in range(1, 8)]
    for kind in ("BIx4", "BDx4"):
        write_pairs(source / "sequences", source / kind, (*VIMEO, "00096/0936"), names, scale=4)
    (source / "sep_trainlist.txt").write_text("00001/0001\n00001/0002\n")
    (source / "sep_testlist.txt").write_text("00001/0266\n\n")


def write_vid4(source: Path) -> None:
    """Vid4 as VRT's test sets have it: three folders, the input's names other than those of the sharp pictures."""
    for number, name in enumerate(("calendar", "city")):
        write_sequence(source / "GT" / name, numbered(4), seed=number)
        for kind in ("BIx4", "BDx4"):
            write_sequence(source / kind / name, [f"Frame {i}.png" for i in range(4)], seed=number, scale=4)


def write_splits(source: Path) -> None:
    """Two roots in every split, one clip each."""
    for number, split in enumerate(("train", "val", "test")):
        write_pairs(source / split / "GT", source / split / "LQ", (f"clip{number}",), numbered(4), seed=number)


def write_set8(source: Path) -> None:
    """Sequences without anything around them, as of Set8 and DAVIS-test."""
    write_pairs(source, None, ("tractor", "hypersmooth"), numbered(4, digits=5))


IMITATIONS = {
    "reds": Imitation(
        "reds",
        write_reds,
        {"train": {"001": 4, "240": 4, "241": 4}, "val": {"000": 4, "011": 4, "015": 4, "020": 4}},
        blur="blur",
    ),
    "reds smaller, as published": Imitation(
        "reds",
        write_reds,
        {"train": dict.fromkeys(("000", "001", "011", "015", "020"), 4), "val": {"000": 4, "001": 4}},
        scale=4,
        blur="sharp_bicubic",
        options=("--partition", "published"),
    ),
    "reds4": Imitation(
        "reds", write_reds4, {"test": dict.fromkeys(("000", "011", "015", "020"), 4)}, scale=4, blur="sharp_bicubic"
    ),
    "gopro": Imitation(
        "gopro",
        write_gopro,
        {"train": {"GOPR0372_07_00": 4}, "val": {"GOPR0384_11_00": 4}, "test": {"GOPR0384_11_00": 4}},
        blur="blur_gamma",
    ),
    "gopro renamed": Imitation(
        "gopro",
        write_renamed,
        {"train": {"GOPR0372_07_00": 4}, "val": {"GOPR0384_11_00": 5}, "test": {"GOPR0384_11_00": 5}},
    ),
    "dvd": Imitation(
        "dvd",
        write_dvd,
        {"train": {"720p_240fps_1": 4}, "val": {"IMG_0003": 4}, "test": {"IMG_0003": 4}},
    ),
    "dvd renamed": Imitation(
        "dvd",
        write_renamed,
        {"train": {"GOPR0372_07_00": 4}, "val": {"GOPR0384_11_00": 5}, "test": {"GOPR0384_11_00": 5}},
    ),
    "davis": Imitation("davis", write_davis, {"train": {"bear": 4}, "val": {"bike-packing": 4}}, made="noise"),
    "set8": Imitation(
        "davis", write_set8, {"test": {"hypersmooth": 4, "tractor": 4}}, made="noise", options=("--split", "test")
    ),
    "vimeo90k": Imitation(
        "vimeo90k",
        write_vimeo,
        {
            "train": {"00001_0001": 7, "00001_0002": 7},
            "val": {"00001_0266": 7},
            "test": {"00001_0266": 7},
        },
        scale=4,
        blur="BDx4",
    ),
    "vimeo90k, sharp alone": Imitation(
        "vimeo90k",
        write_vimeo,
        {
            "train": {"00001_0001": 7, "00001_0002": 7},
            "val": {"00001_0266": 7},
            "test": {"00001_0266": 7},
        },
        blur="none",
        made="interpolation",
    ),
    "vid4": Imitation(
        "pairs",
        write_vid4,
        {"test": {"calendar": 4, "city": 4}},
        scale=4,
        blur="BIx4",
        options=("--split", "test"),
    ),
    "pairs": Imitation("pairs", write_splits, {"train": {"clip0": 4}, "val": {"clip1": 4}, "test": {"clip2": 4}}),
}


def prepare(imitation: Imitation, source: Path, root: Path, *options: str) -> None:
    """Calls the entry point in this process, as for the imitation in `source`."""
    chosen = () if imitation.blur is None else ("--blur", imitation.blur)
    arguments = ["--layout", imitation.layout, "--source", str(source), "--output", str(root), "--workers", "1"]
    main([*arguments, *chosen, *imitation.options, *options])


def remove_one(folder: Path) -> Path:
    """Removes the last picture of a folder, and returns what it was."""
    path = sorted(folder.iterdir())[-1]
    path.unlink()
    return path


def enlarge(path: Path) -> None:
    """Makes a picture one row and column larger."""
    old = read_picture(path)
    write_picture(path, np.pad(old, ((0, 1), (0, 1), (0, 0)), mode="edge"))


def copy_tree(source: Path, target: Path) -> None:
    """Copies a folder."""
    shutil.copytree(source, target)
