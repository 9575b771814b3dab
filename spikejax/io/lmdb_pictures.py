"""Pictures in LMDB as restoration frameworks pack them, read in place.

A database is a folder NAME.lmdb of three files. `meta_info.txt` has a line "KEY (height,width,channels) level" for each
picture, KEY being SEQUENCE/FRAME.png; `data.mdb` has the bytes of the PNG by the key without its suffix, and `lock.mdb`
is not touched: a database that is only read needs no lock, and may lie where nobody can write.
"""

from __future__ import annotations

import functools
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from spikejax.errors import InputError
from spikejax.extras import require

if TYPE_CHECKING:
    import lmdb

SUFFIX = ".lmdb"
DATA_FILE, META_FILE = "data.mdb", "meta_info.txt"
_LINE = re.compile(r"(\S.*?) \((\d+),(\d+),(\d+)\)(?: \d+)?")
# What a PNG begins with: its signature, the length and name of its first chunk, width and height.
_SIGNATURE, _HEADER = b"\x89PNG\r\n\x1a\n", struct.Struct(">8s8xII")
# Databases that are open at a time: one each for training and validation, sharp pictures and input.
_OPEN = 32


@dataclass(frozen=True)
class LmdbPicture(os.PathLike[str]):
    """A picture in a database, with what reading a picture asks of a path.

    Attributes:
        database: the folder of the database.
        entry: as `meta_info.txt` names it, such as "000/00000000.png".
    """

    database: Path
    entry: str

    def __fspath__(self) -> str:
        return f"{self.database}/{self.entry}"

    def __str__(self) -> str:
        return self.__fspath__()

    @property
    def name(self) -> str:
        """The last part of the entry."""
        return PurePosixPath(self.entry).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.entry).stem

    @property
    def suffix(self) -> str:
        """Of the name, with its dot."""
        return PurePosixPath(self.entry).suffix

    def read_bytes(self) -> bytes:
        """The bytes of the picture's file; raises `InputError` if the database has none of it, or is damaged."""
        key = _key(self.entry)
        with _errors_in_one_line(self.database), _open(self.database).begin(buffers=False) as transaction:
            content = transaction.get(key)
        if content is None:
            raise InputError(f"expected the picture {key.decode()} that {META_FILE} names, found none: {self.database}")
        return content


@dataclass(frozen=True)
class LmdbEntry:
    """A line of `meta_info.txt`.

    Attributes:
        name: SEQUENCE/FRAME.png.
        size: height and width of the picture.
    """

    name: str
    size: tuple[int, int]


def is_lmdb(path: Path) -> bool:
    """Whether a path leads to a database; one whose files are incomplete counts."""
    return path.suffix == SUFFIX and path.is_dir() and any((path / name).exists() for name in (DATA_FILE, META_FILE))


def lmdb_entries(database: Path) -> list[LmdbEntry]:
    """The pictures of a database as its `meta_info.txt` says, once it is seen to be whole.

    Raises:
        InputError: the extra is missing; a file is, or is damaged; the two do not have equally many pictures, or one
            is no PNG of the size that is said.
    """
    require("lmdb", f"{database}")
    meta = database / META_FILE
    for file in (database / DATA_FILE, meta):
        if not file.is_file():
            raise InputError(f"expected {DATA_FILE} and {META_FILE} in an LMDB, found no {file.name}: {database}")
    try:
        lines = meta.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected lines KEY (height,width,channels) level, found {error}: {meta}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or "/" not in match[1]:
            expected = "SEQUENCE/FRAME.png (height,width,channels) level"
            raise InputError(f"expected {expected}, found {line.strip()!r} in line {number}: {meta}")
        if match[4] != "3":
            raise InputError(f"expected pictures of 3 channels, found {match[4]} in line {number}: {meta}")
        entries.append(LmdbEntry(match[1], (int(match[2]), int(match[3]))))
    with _errors_in_one_line(database):
        count = _open(database).stat()["entries"]
    if count != len(entries) or not count:
        raise InputError(
            f"expected as many pictures as {META_FILE} has lines ({len(entries)}), found {count}: {database}"
        )
    _check_headers(database, entries)
    return entries


def _check_headers(database: Path, entries: list[LmdbEntry]) -> None:
    """Sees that each entry is a PNG of its size, of which a page is read."""
    # In the order of the keys, which is about that of the file.
    with _errors_in_one_line(database), _open(database).begin(buffers=True) as transaction:
        for entry in sorted(entries, key=lambda entry: entry.name):
            content = transaction.get(_key(entry.name))
            if content is None:
                raise InputError(f"expected all pictures of {META_FILE}, found no {entry.name}: {database}")
            header = bytes(content[: _HEADER.size]).ljust(_HEADER.size, b"\0")
            signature, width, height = _HEADER.unpack(header)
            if signature != _SIGNATURE:
                raise InputError(f"expected PNG files, found {signature!r} at {entry.name}: {database}")
            if (height, width) != entry.size:
                said, found = "{}x{}".format(*entry.size), f"{height}x{width}"
                raise InputError(f"expected {said} as {META_FILE} says, found {found} at {entry.name}: {database}")


def _key(entry: str) -> bytes:
    return entry.removesuffix(PurePosixPath(entry).suffix).encode()


@functools.lru_cache(maxsize=_OPEN)
def _open(database: Path) -> lmdb.Environment:
    """The open database; once a process, as LMDB asks."""
    import lmdb  # when a data set has one: it is an extra

    # Without readahead: pictures are read in random order.
    environment = lmdb.open(os.fspath(database), readonly=True, lock=False, readahead=False, meminit=False)
    # The file is mapped, and a page that a cut file lacks would end the process without a word.
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    size = (database / DATA_FILE).stat().st_size
    if size < needed:
        environment.close()
        raise InputError(f"expected {needed} bytes of {DATA_FILE}, found {size}, a file that was cut: {database}")
    return environment


@contextmanager
def _errors_in_one_line(database: Path) -> Iterator[None]:
    """Within it, what LMDB reports is an `InputError`."""
    require("lmdb", f"{database}")
    import lmdb

    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise InputError(f"expected an LMDB of pictures, found a damaged one ({error}): {database}") from error
