"""The data set's layout on disk: the names of its folders, files and columns, written and read in one place.

ROOT/dataset.json                            where the data came from (informative)
ROOT/statistics.json                         of the training split's voxels (see `statistics`)
ROOT/{train,val,test}/alignment.csv          a line per frame: its window [t0, t1) of the stream and its spike count
ROOT/{train,val,test}/dropped.csv            a line per frame that cannot be used, with the reason
ROOT/{train,val,test}/origins.csv            a line per frame: the published files that it was made of
ROOT/{train,val,test}/SEQUENCE/blur/000000.png  8-bit RGB; not needed where the input is made (see `degradation`)
                              /sharp/000000.png the middle of the exposure
                              /spike/000000.dat the spikes of the exposure; spike/config.yaml says their size
                              /spike_vox.zarr   optional cache: counts [t,h,w,k] in compressed tiles (see `arrays`)
                              /blur.zarr, /sharp.zarr   optional cache: the pictures, likewise
                              /spike_vox/000000.npy     older cache: (K, H, W) float32 counts
ROOT/{train,val,test}/index.json             of a data set without spikes, instead: where its pictures are (see
                                             `picture_index`)
ROOT/prepared.jsonl                          what `spikejax.prepare` has done (see `journal`)
ROOT/UNFINISHED                              there while `spikejax.prepare` writes: what is there is not yet whole
ROOT/.prepare.lock                           locked while a preparation is at work
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from spikejax.errors import InputError, one_line
from spikejax.io.atomic import atomic_write
from spikejax.io.bucket_listing import listed
from spikejax.io.damage import DAMAGED_TABLE
from spikejax.io.json_files import read_json, write_json
from spikejax.io.paths import AnyPath

LAYOUT_FORMAT = 1
SPLITS = ("train", "val", "test")
TRAINING_SPLIT, VALIDATION_SPLIT, TEST_SPLIT = SPLITS
BLUR, SHARP, SPIKE, SPIKE_VOXELS = "blur", "sharp", "spike", "spike_vox"
# The same as arrays in tiles.
VOXEL_ARRAY, BLUR_ARRAY, SHARP_ARRAY = "spike_vox.zarr", "blur.zarr", "sharp.zarr"
DESCRIPTION, STATISTICS, ALIGNMENT, DROPPED = "dataset.json", "statistics.json", "alignment.csv", "dropped.csv"
ORIGINS, UNFINISHED = "origins.csv", "UNFINISHED"


@dataclass(frozen=True)
class AlignedFrame:
    """A line of the alignment log.

    Attributes:
        sequence: the sequence's folder.
        frame: the frame's number among the sequence's frames, from 0.
        t0: first step of its exposure window, counted from the start of the sequence's stream.
        t1: the step after its last one.
        spikes: number of spikes in the window, over all pixels.
    """

    sequence: str
    frame: int
    t0: int
    t1: int
    spikes: int


@dataclass(frozen=True)
class DroppedFrame:
    """A line of the log of what cannot be used.

    Attributes:
        sequence: the sequence's folder.
        frame: the frame's file name without suffix, or "*" for all of the sequence.
        reason: what was expected and what was found.
    """

    sequence: str
    frame: str
    reason: str


@dataclass(frozen=True)
class FrameOrigin:
    """A line of the log of what frames were made of.

    Attributes:
        sequence: the sequence's folder.
        frame: the frame's number among the sequence's frames, from 0.
        blur, sharp, stream: the files.
    """

    sequence: str
    frame: int
    blur: str
    sharp: str
    stream: str


_Row = TypeVar("_Row", AlignedFrame, DroppedFrame, FrameOrigin)


def write_alignment(split_folder: AnyPath, rows: Iterable[AlignedFrame]) -> None:
    """Writes a split's alignment log."""
    _write_rows(Path(split_folder) / ALIGNMENT, AlignedFrame, rows)


def read_alignment(split_folder: AnyPath) -> list[AlignedFrame]:
    """A split's alignment log; empty if there is none (published data sets come without).

    Raises:
        InputError: the file has other columns, or something else than numbers in them.
    """
    path = listed(split_folder) / ALIGNMENT
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        with _damage_named(reader, "whole numbers", path):
            if tuple(reader.fieldnames or ()) != _columns(AlignedFrame):
                expected = ",".join(_columns(AlignedFrame))
                raise InputError(f"expected columns {expected}, found {reader.fieldnames}: {path}")
            return [
                AlignedFrame(row["sequence"], *(int(row[column]) for column in ("frame", "t0", "t1", "spikes")))
                for row in reader
            ]


def read_dropped(split_folder: AnyPath) -> list[DroppedFrame]:
    """A split's log of what cannot be used; empty if there is none."""
    path = Path(split_folder) / DROPPED
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        with _damage_named(reader, f"columns {','.join(_columns(DroppedFrame))}", path):
            return [DroppedFrame(row["sequence"], row["frame"], row["reason"]) for row in reader]


@contextmanager
def _damage_named(reader: csv.DictReader, expected: str, path: AnyPath) -> Iterator[None]:
    """Turns what goes wrong with a table into a line."""
    try:
        yield
    except InputError:
        raise
    except DAMAGED_TABLE as error:
        raise InputError(f"expected {expected}, found {one_line(error)} in line {reader.line_num}: {path}") from error


def write_dropped(split_folder: AnyPath, rows: Iterable[DroppedFrame]) -> None:
    """Writes a split's log of what cannot be used."""
    _write_rows(Path(split_folder) / DROPPED, DroppedFrame, rows)


def write_origins(split_folder: AnyPath, rows: Iterable[FrameOrigin]) -> None:
    """Writes a split's log of what frames were made of."""
    _write_rows(Path(split_folder) / ORIGINS, FrameOrigin, rows)


def write_description(root: AnyPath, description: Mapping[str, Any]) -> None:
    """Writes dataset.json: the format's number and where the data came from."""
    write_json(Path(root) / DESCRIPTION, {"format": LAYOUT_FORMAT, **description})


def read_description(root: AnyPath) -> dict[str, Any] | None:
    """What dataset.json says, None if there is none; raises `InputError` if it is damaged or of another format."""
    description = read_json(Path(root) / DESCRIPTION)
    if description is not None and description.get("format") != LAYOUT_FORMAT:
        other = description.get("format")
        raise InputError(f"expected a data set of format {LAYOUT_FORMAT}, found {other!r}: {Path(root) / DESCRIPTION}")
    return description


def _columns(row: type[AlignedFrame] | type[DroppedFrame] | type[FrameOrigin]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(row))


def _write_rows(path: Path, kind: type[_Row], rows: Iterable[_Row]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _columns(kind), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def sequence_names(split_folder: AnyPath, *, part: str = BLUR) -> Sequence[str]:
    """The sequences of a split, sorted: the folders in it that hold a folder called `part`, of blurry pictures."""
    split = listed(split_folder)
    if not split.is_dir():
        return []
    return sorted(
        folder.name for folder in split.iterdir() if not folder.name.startswith(".") and (folder / part).is_dir()
    )
