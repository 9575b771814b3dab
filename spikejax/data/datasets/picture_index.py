"""The index of a split without spikes: where the pictures of each sequence are, and how large, written once.

A data set of pictures alone stays where it is published; what `spikejax.prepare` writes is ROOT/SPLIT/index.json. With
it a split is opened without a look at any folder or header, so that tens of thousands of short sequences are open in
seconds.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.bucket_listing import DataPath
from spikejax.io.lmdb_pictures import SUFFIX, LmdbPicture, is_lmdb
from spikejax.io.pictures import PicturePath

INDEX = "index.json"
_FORMAT = 1


@dataclass(frozen=True)
class PictureFolder:
    """The pictures of a sequence.

    Attributes:
        path: of their folder, from the published data set; a folder of an LMDB is NAME.lmdb/FOLDER.
        names: of the files, in the order of time.
    """

    path: str
    names: tuple[str, ...]

    def file(self, base: Path, number: int) -> PicturePath:
        """A picture, as something to read; `base` is the published data set."""
        database, mark, within = self.path.partition(f"{SUFFIX}/")
        if mark and _holds_lmdb(base / f"{database}{SUFFIX}"):
            return LmdbPicture(base / f"{database}{SUFFIX}", f"{within}/{self.names[number]}")
        return base / self.path / self.names[number]


@dataclass(frozen=True)
class IndexedSequence:
    """A sequence of an index.

    Attributes:
        name: a folder's.
        height: of the sharp pictures.
        width: likewise.
        sharp: the sharp pictures.
        blur: the network's input, a picture for each sharp one; None = it is made of the sharp ones.
    """

    name: str
    height: int
    width: int
    sharp: PictureFolder
    blur: PictureFolder | None


@dataclass(frozen=True)
class PictureIndex:
    """The sequences of a split.

    Attributes:
        published: folder of the published data set, absolute.
        scale: size of the sharp pictures / size of the input.
        arrays: the folder, beside the split's own, where the pictures are in tiles; None = they are read where they
            were published.
        sequences: in their order.
    """

    published: str
    scale: int
    arrays: str | None
    sequences: tuple[IndexedSequence, ...]


def write_index(split_folder: Path, index: PictureIndex) -> bool:
    """Writes a split's index; returns whether it is another one than before."""
    # Most sequences call their frames alike: the names are kept once.
    numbers: dict[tuple[str, ...], int] = {}
    rows = []
    for sequence in index.sequences:
        folders = []
        for folder in (sequence.sharp, sequence.blur):
            if folder is not None:
                folders += [folder.path, numbers.setdefault(folder.names, len(numbers))]
        rows.append([sequence.name, sequence.height, sequence.width, *folders])
    content = {
        "format": _FORMAT,
        "published": index.published,
        "scale": index.scale,
        "arrays": index.arrays,
        "names": [list(names) for names in numbers],
        "sequences": rows,
    }
    path = split_folder / INDEX
    text = json.dumps(content, separators=(",", ":")).replace('],["', '],\n["') + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True


def read_index(split_folder: DataPath) -> PictureIndex | None:
    """A split's index; None if it has none; raises `InputError` if it is damaged or of another format."""
    path = split_folder / INDEX
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise InputError(f"expected an index of format {_FORMAT}, found {content['format']!r}: {path}")
        names = [tuple(entry) for entry in content["names"]]
        sequences = tuple(_sequence(row, names) for row in content["sequences"])
        return PictureIndex(content["published"], content["scale"], content["arrays"], sequences)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"expected an index that spikejax.prepare wrote, found a damaged one: {path}") from error


def _sequence(row: list[Any], names: list[tuple[str, ...]]) -> IndexedSequence:
    name, height, width, *folders = row
    sharp, *blur = (PictureFolder(folders[at], names[folders[at + 1]]) for at in range(0, len(folders), 2))
    return IndexedSequence(name, height, width, sharp, blur[0] if blur else None)


@functools.lru_cache(maxsize=64)
def _holds_lmdb(folder: Path) -> bool:
    return is_lmdb(folder)
