"""Turns a published data set of pictures without spikes into one that is opened and read fast.

Pictures stay where they are, and an index of every split says where (see `picture_index`); or they are written once
more in compressed tiles, of which training reads the crops alone. May be stopped at any time and started again.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spikejax.data.datasets.layout import (
    BLUR_ARRAY,
    SHARP_ARRAY,
    SPLITS,
    TEST_SPLIT,
    TRAINING_SPLIT,
    UNFINISHED,
    VALIDATION_SPLIT,
)
from spikejax.data.datasets.picture_index import (
    INDEX,
    IndexedSequence,
    PictureFolder,
    PictureIndex,
    read_index,
    write_index,
)
from spikejax.data.preparation.output_root import begin, check_apart, check_continues, working_alone
from spikejax.data.preparation.picture_selection import PictureChoices, SourceSequence, select_pictures
from spikejax.data.preparation.picture_trees import SourceFolder
from spikejax.data.preparation.workers import run_parallel
from spikejax.errors import InputError
from spikejax.io.disk_space import free_bytes
from spikejax.io.pictures import is_eight_bit, picture_header, read_picture
from spikejax.io.tiled_arrays import FrameArray, compressed_size, create_frames, frame_file
from spikejax.progress import byte_text, count_text, with_progress

_PREPARED_BY = "spikejax.prepare, pictures without spikes"
# Folders whose headers a worker reads at a time.
_FOLDERS_AT_ONCE = 64
# Pictures that the expected disk use is measured on.
_MEASURED = 6

PrintLine = Callable[[str], None]
PictureSize = tuple[int, int]


@dataclass(frozen=True)
class PictureSettings:
    """What is made of a published data set of pictures.

    Attributes:
        layout: a name of `PICTURE_LAYOUTS`.
        choices: what the layout leaves open.
        tiles: whether pictures are written in compressed tiles; or else they are read where they are.
    """

    layout: str
    choices: PictureChoices = PictureChoices()
    tiles: bool = False


@dataclass(frozen=True)
class TileJob:
    """A picture to write in tiles.

    Attributes:
        base: the published data set.
        folder: the pictures of its sequence.
        number: among them.
        size: height and width of all of them.
        array: to write to.
    """

    base: Path
    folder: PictureFolder
    number: int
    size: PictureSize
    array: Path


def prepare_pictures(
    source: Path, root: Path, settings: PictureSettings, *, workers: int, print_line: PrintLine
) -> None:
    """Prepares a data set.

    Args:
        source: the published data set.
        root: the folder to write; one that the same settings have begun is continued.
        settings: what to make.
        workers: processes; fewer than 2 = this one.
        print_line: shows a line to the user.

    Raises:
        InputError: the source is not of the layout, something in it does not fit together or is damaged, the root is
            something else, or there is too little space.
    """
    check_apart(source, root)
    selected = select_pictures(settings.layout, source, settings.choices)
    for note in selected.notes:
        print_line(f"note: {note}")
    description = {
        "source": _PREPARED_BY,
        "layout": settings.layout,
        "published": source.resolve().name,
        "blur": selected.blur,
        "picture_arrays": settings.tiles,
    }
    check_continues(root, description)
    base = selected.base.resolve()
    sequences, scale = _measured(base, selected.sequences, workers)
    begin(root, description)  # only now, so that other settings may be tried where these have come to nothing
    with working_alone(root):
        changed = _is_other(root, base, sequences)
        written = _write_tiles(root, base, sequences, scale, workers, print_line) if settings.tiles else 0
        for line in _write_indices(root, str(base), scale, sequences, settings.tiles):
            print_line(line)
        (root / UNFINISHED).unlink()
    frames = {split: sum(len(own.sharp.names) for own in part) for split, part in sequences.items()}
    amount = " and ".join(
        f"{count_text(count, 'frame')} in {count_text(len(sequences[split]), 'sequence')} of {split}"
        for split, count in frames.items()
    )
    print_line(f"{'prepared' if changed or written else 'nothing to do:'} {amount} in {root}")


def _measured(
    base: Path, sequences: Sequence[SourceSequence], workers: int
) -> tuple[dict[str, list[IndexedSequence]], int]:
    """The sequences of each split with their sizes, and how many times larger than the input sharp pictures are.

    Raises:
        InputError: pictures of a sequence, or the scales of two, differ; a list says another size; or one is damaged.
    """
    folders = [folder for own in sequences for folder in (own.sharp, own.blur) if folder is not None]
    sizes = dict(zip((folder.pictures.path for folder in folders), _sizes(base, folders, workers), strict=True))
    indexed: dict[str, list[IndexedSequence]] = {}
    scales: dict[int, SourceSequence] = {}
    for own in sequences:
        height, width = sizes[own.sharp.pictures.path]
        if own.listed is not None and own.listed.size not in (None, (height, width)):
            raise InputError(
                f"expected pictures of {_by(own.listed.size)}, found {_by((height, width))} in "
                f"{base / own.sharp.pictures.path}: {own.listed.where}"
            )
        blur = None if own.blur is None else own.blur.pictures
        scales.setdefault(1 if blur is None else _scale(base, own, (height, width), sizes[blur.path]), own)
        indexed.setdefault(str(own.split), []).append(
            IndexedSequence(own.name, height, width, own.sharp.pictures, blur)
        )
    if len(scales) > 1:
        (one, first), (other, second) = list(scales.items())[:2]
        raise InputError(
            f"expected an input of one scale, found sharp pictures {one} times as large in {first.key} and "
            f"{other} times in {second.key}: {base}"
        )
    return {split: indexed[split] for split in SPLITS if split in indexed}, next(iter(scales))


def _scale(base: Path, sequence: SourceSequence, sharp: PictureSize, blur: PictureSize) -> int:
    scale = sharp[0] // blur[0]
    if not scale or (blur[0] * scale, blur[1] * scale) != sharp:
        assert sequence.blur is not None
        raise InputError(
            f"expected sharp pictures a whole number of times as large as the input, found {_by(sharp)} in "
            f"{sequence.sharp.pictures.path} and {_by(blur)} in {sequence.blur.pictures.path}: {base}"
        )
    return scale


def _by(size: PictureSize | None) -> str:
    return "unknown size" if size is None else f"{size[0]}x{size[1]}"


# ---- Headers ----


def _sizes(base: Path, folders: Sequence[SourceFolder], workers: int) -> Iterator[PictureSize]:
    """Yields the size of the pictures of each folder, by the headers of all of them unless it is known."""
    unknown = list(dict.fromkeys(folder.pictures for folder in folders if folder.size is None))
    tasks = [(base, tuple(unknown[at : at + _FOLDERS_AT_ONCE])) for at in range(0, len(unknown), _FOLDERS_AT_ONCE)]
    sizes: dict[PictureFolder, PictureSize] = {}
    answers = run_parallel(_sizes_of, tasks, workers if len(tasks) > 1 else 1)
    total = sum(len(folder.names) for folder in unknown)
    for answer in with_progress(answers, "reading headers", total=total, unit="picture", size=_pictures):
        sizes.update(answer)
    for folder in folders:
        yield folder.size or sizes[folder.pictures]


def _pictures(answer: dict[PictureFolder, PictureSize]) -> int:
    return sum(len(folder.names) for folder in answer)


def _sizes_of(task: tuple[Path, tuple[PictureFolder, ...]]) -> dict[PictureFolder, PictureSize]:
    base, folders = task
    return {folder: _common_size(base, folder) for folder in folders}


def _common_size(base: Path, folder: PictureFolder) -> PictureSize:
    common: PictureSize | None = None
    for number in range(len(folder.names)):
        path = folder.file(base, number)
        mode, size = picture_header(path)
        if not is_eight_bit(mode):
            raise InputError(f"expected a picture with 8 bits a channel, found mode {mode!r}: {path}")
        common = common or size
        if size != common:
            raise InputError(f"expected pictures of {_by(common)} as the sequence's first, found {_by(size)}: {path}")
    assert common is not None, "a folder without pictures is no sequence"
    return common


# ---- Tiles ----


def _jobs(root: Path, base: Path, sequences: dict[str, list[IndexedSequence]], scale: int) -> Iterator[TileJob]:
    """Yields the pictures that are not in tiles yet."""
    for split, part in sequences.items():
        for own in part:
            pairs = [(own.sharp, SHARP_ARRAY, 1)] + ([] if own.blur is None else [(own.blur, BLUR_ARRAY, scale)])
            for folder, name, smaller in pairs:
                array, size = root / split / own.name / name, (own.height // smaller, own.width // smaller)
                for number in range(len(folder.names)):
                    if not frame_file(array, number).exists():
                        yield TileJob(base, folder, number, size, array)


def _write_tiles(
    root: Path, base: Path, sequences: dict[str, list[IndexedSequence]], scale: int, workers: int, print_line: PrintLine
) -> int:
    """Writes what is missing, and returns how many pictures that were; folders of other sequences are removed."""
    _remove_stale(root, sequences)
    _array.cache_clear()  # of another data set that this process has written
    jobs = list(_jobs(root, base, sequences, scale))
    if not jobs:
        return 0
    measured = jobs[:: max(1, len(jobs) // _MEASURED)][:_MEASURED]
    size = sum(compressed_size(read_picture(job.folder.file(base, job.number))) for job in measured)
    needed, free = size * len(jobs) / len(measured), free_bytes(root)
    text = (
        f"about {byte_text(needed)} for {count_text(len(jobs), 'picture')} in tiles, {byte_text(free)} are free: {root}"
    )
    if needed > free:
        raise InputError(f"expected space on the disk: {text}")
    print_line(f"will write {text}")
    try:
        for _ in with_progress(run_parallel(_write_tile, jobs, workers), "preparing", total=len(jobs), unit="picture"):
            pass
    except OSError as error:
        raise InputError(f"stopped: {error}; what is done is kept, the same command continues: {root}") from error
    return len(jobs)


def _write_tile(job: TileJob) -> None:
    path = job.folder.file(job.base, job.number)
    picture = read_picture(path)
    if picture.shape[:2] != job.size:
        raise InputError(f"expected a picture of {_by(job.size)}, found {_by(picture.shape[:2])}: {path}")
    _array(job.array, (len(job.folder.names), *picture.shape)).write(job.number, picture)


@functools.lru_cache(maxsize=8)
def _array(path: Path, shape: tuple[int, int, int, int]) -> FrameArray:
    """The array of a sequence; opening it takes longer than writing a small picture."""
    return create_frames(path, shape)


def _remove_stale(root: Path, sequences: dict[str, list[IndexedSequence]]) -> None:
    """Removes the tiles of sequences that are there no longer, or were made of other pictures."""
    known = {root / split / own.name: own for split, part in sequences.items() for own in part}
    former = _former(root)
    for split in SPLITS:
        for folder in (root / split).glob("[!.]*/"):
            own, before = known.get(folder), former.get((split, folder.name))
            if own is None or (before is not None and before != own):
                shutil.rmtree(folder)


# ---- Indices ----


def _former(root: Path) -> dict[tuple[str, str], IndexedSequence]:
    """The sequences of the indices that are there."""
    indices = {split: read_index(root / split) for split in SPLITS}
    return {(split, own.name): own for split, index in indices.items() if index for own in index.sequences}


def _is_other(root: Path, base: Path, sequences: dict[str, list[IndexedSequence]]) -> bool:
    """Whether the indices have to be written anew."""
    for split, part in sequences.items():
        index = read_index(root / split)
        if index is None or index.published != str(base) or index.sequences != tuple(part):
            return True
    return False


def _write_indices(
    root: Path, published: str, scale: int, sequences: dict[str, list[IndexedSequence]], tiles: bool
) -> Iterable[str]:
    """Writes the index of every split; yields what the user should know."""
    for split in SPLITS:
        own = split
        if split == VALIDATION_SPLIT and split not in sequences and TRAINING_SPLIT in sequences:
            # Training has to be validated on something.
            own = TEST_SPLIT
            if own not in sequences:
                yield "note: there is no val, which training validates on (--list val=FILE names its sequences)"
        if own in sequences:
            if own != split:
                yield f"note: no validation split is published: val is the test split, {len(sequences[own])} sequences"
            arrays = f"{own}" if tiles else None
            write_index(root / split, PictureIndex(published, scale, arrays, tuple(sequences[own])))
        else:
            (root / split / INDEX).unlink(missing_ok=True)
