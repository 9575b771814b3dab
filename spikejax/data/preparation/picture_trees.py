"""Sequences of pictures below a folder, or in an LMDB, by a pattern that says where their names stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spikejax.data.datasets.picture_index import PictureFolder
from spikejax.io.frame_source import natural_key
from spikejax.io.lmdb_pictures import SUFFIX, is_lmdb, lmdb_entries
from spikejax.io.paths import walk_folders
from spikejax.io.pictures import PICTURE_SUFFIXES


@dataclass(frozen=True)
class PictureTree:
    """Where sequences are: `PREFIX/*/SUFFIX`, the star standing for a sequence, which may be folders within folders.

    Attributes:
        prefix: the folder of all sequences; "" = the published data set itself. PREFIX.lmdb is taken as well.
        suffix: the folder of pictures within each sequence; "" = the sequence's own.
    """

    prefix: str
    suffix: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.prefix, "SEQUENCE", self.suffix)))

    def is_in(self, base: Path) -> bool:
        """Whether there is such a tree, without a look at all sequences."""
        if self.suffix:
            return any((base / self.prefix).glob(f"*/{self.suffix}"))
        return (base / self.prefix).is_dir() or is_lmdb(base / f"{self.prefix}{SUFFIX}")

    def sequences(self, base: Path) -> dict[str, SourceFolder]:
        """The sequences by their names, in natural order.

        Raises:
            InputError: an LMDB is damaged.
        """
        database = base / f"{self.prefix}{SUFFIX}"
        if self.prefix and not self.suffix and not (base / self.prefix).is_dir() and is_lmdb(database):
            return _in_order(_in_database(database, f"{self.prefix}{SUFFIX}"))
        return _in_order(self._in_folders(base))

    def _in_folders(self, base: Path) -> dict[str, SourceFolder]:
        root = base / self.prefix
        folders = {}
        for folder, files in walk_folders(root, left_out=SUFFIX):
            names = [name for name in files if Path(name).suffix.lower() in PICTURE_SUFFIXES]
            where = folder.relative_to(root)
            if names and (not self.suffix or (where.name == self.suffix and where.parent.parts)):
                sequence = where.parent if self.suffix else where
                within = (Path(self.prefix) / where).as_posix()
                folders[sequence.as_posix()] = SourceFolder(
                    PictureFolder(within, tuple(sorted(names, key=natural_key)))
                )
        folders.pop(".", None)  # pictures beside the sequences, such as a preview
        return folders


@dataclass(frozen=True)
class SourceFolder:
    """The pictures of a sequence as published.

    Attributes:
        pictures: where they are.
        size: height and width, where that is known without their headers.
    """

    pictures: PictureFolder
    size: tuple[int, int] | None = None


def _in_database(database: Path, within: str) -> dict[str, SourceFolder]:
    names: dict[str, list[str]] = {}
    sizes: dict[str, set[tuple[int, int]]] = {}
    for entry in lmdb_entries(database):
        sequence, _, name = entry.name.rpartition("/")
        names.setdefault(sequence, []).append(name)
        sizes.setdefault(sequence, set()).add(entry.size)
    return {
        sequence: SourceFolder(
            PictureFolder(f"{within}/{sequence}", tuple(sorted(own, key=natural_key))),
            # Where sizes differ the headers are read, which name the pictures.
            next(iter(sizes[sequence])) if len(sizes[sequence]) == 1 else None,
        )
        for sequence, own in names.items()
    }


def _in_order(folders: dict[str, SourceFolder]) -> dict[str, SourceFolder]:
    order = sorted(folders, key=lambda name: [natural_key(part) for part in name.split("/")])
    return {name: folders[name] for name in order}
