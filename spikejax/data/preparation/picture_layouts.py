"""Data sets of pictures without spikes: where they are, as published and as restoration frameworks rename them.

A row says where the sharp pictures of a split are, and where each kind of degraded pictures that may become the
network's input. The first row of a split that is there is taken. To add a layout: a line in `PICTURE_LAYOUTS`.

    gopro     {train,test}/SEQUENCE/{sharp,blur,blur_gamma}   {train,test}_GT, {train,test}_GT_blurred
    dvd       quantitative_datasets/SEQUENCE/{GT,input}       likewise
    reds      {train,val}/{train,val}_{sharp,blur,blur_comp,sharp_bicubic/X4,blur_bicubic/X4}/SEQUENCE
              the same without the first folder, *_with_val, and the test set REDS4 as GT, sharp_bicubic and blur
    davis     JPEGImages/{480p,Full-Resolution}/SEQUENCE      train_GT, test_GT, or sequences alone
    vimeo90k  sequences/SEQUENCE/im1.png                      GT, BIx4, BDx4, vimeo_septuplet_{matlab,BD}LRx4/sequences
    pairs     [{train,val,test}/]GT/SEQUENCE, and beside it any other folder: the input

NAME.lmdb is taken in the place of each folder NAME.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spikejax.data.datasets.layout import SPLITS, TEST_SPLIT, TRAINING_SPLIT
from spikejax.data.preparation.picture_lists import SequenceList, split_of
from spikejax.data.preparation.picture_trees import PictureTree
from spikejax.errors import InputError
from spikejax.io.lmdb_pictures import SUFFIX, is_lmdb

# Kinds of input by the trees where they may be, of which the first that is there is taken.
Inputs = Mapping[str, tuple[PictureTree, ...]]


@dataclass(frozen=True)
class PictureRoots:
    """Where the pictures of a split are.

    Attributes:
        split: that they belong to; None = lists say it.
        sharp: the sharp pictures.
        inputs: kinds of degraded pictures.
    """

    split: str | None
    sharp: PictureTree
    inputs: Inputs = field(default_factory=dict)


@dataclass(frozen=True)
class PictureLayout:
    """An arrangement of a data set.

    Attributes:
        roots: where pictures are; made of the data set's folder for the kind that has names of anybody's choice.
        bases: folders below the source that all of it may lie in.
        lists: files that say which sequence belongs to which split, where they lie with the data.
        test: sequences that are the test split where neither folders nor lists say it.
        needs_lists: whether the data cannot be used without lists.
    """

    roots: tuple[PictureRoots, ...]
    bases: tuple[str, ...] = ("",)
    lists: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    needs_lists: bool = False


def _tree(path: str) -> PictureTree:
    """The tree of a path such as train/*/sharp."""
    prefix, _, suffix = path.partition("*")
    return PictureTree(prefix.rstrip("/"), suffix.lstrip("/"))


def _inputs(**kinds: str | tuple[str, ...]) -> Inputs:
    paths = {kind: (own,) if isinstance(own, str) else own for kind, own in kinds.items()}
    return {kind: tuple(map(_tree, own)) for kind, own in paths.items()}


def _renamed(*splits: str) -> tuple[PictureRoots, ...]:
    """As frameworks rename sets of blurry and sharp pictures."""
    return tuple(
        PictureRoots(split, _tree(f"{split}_GT/*"), _inputs(GT_blurred=f"{split}_GT_blurred/*")) for split in splits
    )


def _gopro(split: str) -> PictureRoots:
    kinds = _inputs(blur=f"{split}/*/blur", blur_gamma=f"{split}/*/blur_gamma")
    return PictureRoots(split, _tree(f"{split}/*/sharp"), kinds)


def _reds(split: str, folder: str, *, ending: str = "") -> PictureRoots:
    """REDS in folders that begin with the name of a published part, and end alike."""

    def smaller(kind: str) -> tuple[str, ...]:
        return tuple(f"{folder}_{kind}{ending}{scale}/*" for scale in ("/X4", ""))

    kinds = _inputs(
        blur=f"{folder}_blur{ending}/*",
        blur_comp=f"{folder}_blur_comp{ending}/*",
        sharp_bicubic=smaller("sharp_bicubic"),
        blur_bicubic=smaller("blur_bicubic"),
    )
    return PictureRoots(split, _tree(f"{folder}_sharp{ending}/*"), kinds)


_REDS4_TEST = PictureRoots(
    TEST_SPLIT,
    _tree("GT/*"),
    _inputs(blur="blur/*", sharp_bicubic=("sharp_bicubic/X4/*", "sharp_bicubic/*")),
)
_SMALLER_VIMEO = _inputs(
    BIx4=("BIx4/sequences/*", "BIx4/*", "vimeo_septuplet_matlabLRx4/sequences/*"),
    BDx4=("BDx4/sequences/*", "BDx4/*", "vimeo_septuplet_BDLRx4/sequences/*"),
)
# The sequences of DVD that papers test on.
_DVD10 = (
    "720p_240fps_2",
    *(f"IMG_{number:04d}" for number in (3, 21, 30, 31, 32, 33, 37, 39, 49)),
)
# What a folder of sharp pictures may be called, of the layout of anybody's choice.
_SHARP_NAMES = ("GT", "gt", "sharp", "HR", "target")

PICTURE_LAYOUTS: Mapping[str, PictureLayout] = {
    "reds": PictureLayout(
        (
            _reds("train", "train/train"),
            _reds("train", "train"),
            _reds("train", "train", ending="_with_val"),
            _reds("val", "val/val"),
            _reds("val", "val"),
            _REDS4_TEST,
        ),
        bases=("", "REDS"),
    ),
    "gopro": PictureLayout((_gopro("train"), _gopro("test"), *_renamed("train", "test")), bases=("", "GOPRO_Large")),
    "dvd": PictureLayout(
        (
            PictureRoots(None, _tree("quantitative_datasets/*/GT"), _inputs(input="quantitative_datasets/*/input")),
            *_renamed("train", "test"),
        ),
        bases=("", "DeepVideoDeblurring_Dataset"),
        test=_DVD10,
    ),
    "davis": PictureLayout(
        (
            PictureRoots(None, _tree("JPEGImages/480p/*")),
            PictureRoots(None, _tree("JPEGImages/Full-Resolution/*")),
            *_renamed("train", "test"),
            PictureRoots(None, _tree("*")),
        ),
        bases=("", "DAVIS"),
        lists=tuple(f"ImageSets/2017/{name}.txt" for name in ("train", "val", "test-dev")),
    ),
    "vimeo90k": PictureLayout(
        (
            PictureRoots(None, _tree("sequences/*"), _SMALLER_VIMEO),
            PictureRoots(None, _tree("vimeo_septuplet/sequences/*"), _SMALLER_VIMEO),
            PictureRoots(None, _tree("GT/*"), _SMALLER_VIMEO),
            PictureRoots(
                TRAINING_SPLIT, _tree("vimeo90k_train_GT_all/*"), _inputs(LR7frames="vimeo90k_train_LR7frames/*")
            ),
        ),
        bases=("", "vimeo_septuplet", "vimeo90k"),
        lists=tuple(
            f"{folder}{name}.txt" for folder in ("", "vimeo_septuplet/") for name in ("sep_trainlist", "sep_testlist")
        ),
        needs_lists=True,
    ),
    "pairs": PictureLayout(()),
}


def located(name: str, source: Path) -> tuple[PictureLayout, Path, list[PictureRoots]]:
    """A layout, the folder within the source that it begins in, and the rows of it that are there: one a split.

    Raises:
        InputError: none is.
    """
    layout = PICTURE_LAYOUTS[name]
    if not source.is_dir():
        raise InputError(f"expected the folder of the published data set, found none: {source}")
    bases = [source / own for own in layout.bases]
    # Sequences without a folder around them are those of a folder in which nothing else of the layout is.
    for base, bare in [*((base, False) for base in bases), *((base, True) for base in bases)]:
        present: dict[str | None, PictureRoots] = {}
        for row in layout.roots or _pairs(base):
            if bool(row.sharp.prefix) != bare and row.sharp.is_in(base):
                present.setdefault(row.split, row)
        chosen = [present[split] for split in (*SPLITS, None) if split in present]
        if chosen:
            return layout, base, [row for row in chosen if row.split is not None] or chosen
    expected = [str(row.sharp) for row in layout.roots] or [f"{name}/SEQUENCE" for name in _SHARP_NAMES]
    raise InputError(f"expected sharp pictures as {' or '.join(expected)}, found none: {source}")


def _pairs(base: Path) -> list[PictureRoots]:
    """The rows of a folder [SPLIT/]{GT,ANY}/SEQUENCE, whatever the names of the input's folders are."""
    rows = []
    for split in (*SPLITS, None):
        within = "" if split is None else f"{split}/"
        names = _folder_names(base / within)
        sharp = next((name for name in _SHARP_NAMES if name in names), None)
        if sharp is not None:
            kinds = {name: f"{within}{name}/*" for name in names if name != sharp and name not in SPLITS}
            rows.append(PictureRoots(split, _tree(f"{within}{sharp}/*"), _inputs(**kinds)))
    return [*rows, *_renamed(*SPLITS)]


def _folder_names(folder: Path) -> list[str]:
    """The names of the folders in a folder, those of LMDB without their suffix."""
    if not folder.is_dir():
        return []
    entries = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return list(dict.fromkeys(entry.name.removesuffix(SUFFIX) if is_lmdb(entry) else entry.name for entry in entries))


def lists_beside(layout: PictureLayout, base: Path) -> list[SequenceList]:
    """The lists that lie with the data."""
    paths = [path for name in layout.lists if (path := base / name).is_file()]
    paths += sorted(base.glob("meta_info_*.txt"))
    return [SequenceList(split_of(path), path) for path in paths]


def chosen_input(base: Path, rows: list[PictureRoots], wanted: str | None) -> str | None:
    """The kind of input that all rows have; None = none is there, or none is wanted.

    Args:
        base: folder of the data set.
        rows: of the splits that are there.
        wanted: by somebody; "none" = no kind; None = the one that is there.

    Raises:
        InputError: there are several, or a row has none of that kind.
    """
    if wanted == "none":
        return None
    present = [kind for kind, trees in rows[0].inputs.items() if any(tree.is_in(base) for tree in trees)]
    if wanted is None and len(present) > 1:
        raise InputError(
            f"expected --blur {' or '.join(present)}, the network's input, as more than one is there: {base}"
        )
    if wanted is not None and wanted not in present:
        raise InputError(f"expected --blur {' or '.join([*present, 'none'])}, found {wanted!r}: {base}")
    kind = wanted or next(iter(present), None)
    for row in rows if kind is not None else ():
        if not any(tree.is_in(base) for tree in row.inputs.get(kind or "", ())):
            raise InputError(f"expected {kind} beside {row.sharp}, as the first split has, found none: {base}")
    return kind


def input_tree(base: Path, row: PictureRoots, kind: str) -> PictureTree:
    """The tree of a kind of input that a row has."""
    return next(tree for tree in row.inputs[kind] if tree.is_in(base))
