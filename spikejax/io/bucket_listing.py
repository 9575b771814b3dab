"""Folders in buckets that are read many times: one listing says all that lies in them, and files are read at one go.

A path on a disk is asked again and again whether it is there; in a bucket every such question is a request of some 50
ms. So whoever is about to look at thousands of files asks for their list first.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from spikejax.io.buckets import file_system
from spikejax.io.paths import AnyPath, UserPath, is_remote, orbax_stores_at, scheme_of, temporary_copy, user_path


class ListedPath(os.PathLike[str]):
    """A path in a bucket below a folder that was listed; has those methods of `Path` that reading a data set needs.

    What is there, and how large, the listing says: what has been written since is not seen.
    """

    def __init__(self, url: str, sizes: Mapping[str, int], folders: Mapping[str, list[str]]) -> None:
        """Takes the path and the listing that it shares with all others below the folder.

        Args:
            url: of the path.
            sizes: bytes of every file, by its URL.
            folders: the names in every folder, by its URL.
        """
        self._url = url
        self._sizes = sizes
        self._folders = folders

    def __truediv__(self, name: str) -> ListedPath:
        return ListedPath(f"{self._url}/{name}", self._sizes, self._folders)

    def __fspath__(self) -> str:
        return self._url

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"ListedPath({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListedPath) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self._url).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self._url).stem

    @property
    def suffix(self) -> str:
        """Of the name, with its dot."""
        return PurePosixPath(self._url).suffix

    @property
    def parent(self) -> ListedPath:
        """The folder that it is in."""
        return ListedPath(self._url.rpartition("/")[0], self._sizes, self._folders)

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return self._url in self._sizes

    def is_dir(self) -> bool:
        """Whether there are objects below it."""
        return self._url in self._folders

    def exists(self) -> bool:
        """Whether it is one of both."""
        return self.is_file() or self.is_dir()

    def iterdir(self) -> Iterator[ListedPath]:
        """Yields what is in the folder, sorted; raises FileNotFoundError if there is no folder."""
        if not self.is_dir():
            raise FileNotFoundError(self._url)
        return (self / name for name in self._folders[self._url])

    def size(self) -> int:
        """Bytes of the file; raises FileNotFoundError if there is none."""
        if not self.is_file():
            raise FileNotFoundError(self._url)
        return self._sizes[self._url]

    def read_bytes(self, start: int = 0, stop: int | None = None) -> bytes:
        """The file, or its bytes from `start` to `stop`, by one request; raises FileNotFoundError if there is none."""
        if not self.is_file():
            raise FileNotFoundError(self._url)
        part = {} if (start, stop) == (0, None) else {"start": start, "end": stop}
        return _system_of(self._url).cat_file(self._url, **part)

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file as text."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "r", *, encoding: str = "utf-8", newline: str | None = None) -> Any:
        """The file, read before it is opened; modes are "r" and "rb"."""
        content = io.BytesIO(self.read_bytes())
        return content if mode == "rb" else io.TextIOWrapper(content, encoding, newline=newline)


# What a data set is read from.
DataPath: TypeAlias = Path | ListedPath


def listed(path: AnyPath) -> DataPath:
    """A path on a disk as it was given; one in a bucket with all that lies below it, listed 1000 objects a request.

    Raises:
        InputError: there is no such bucket, or no way to it.
    """
    if isinstance(path, ListedPath):
        return path
    if not is_remote(path):
        return Path(path)
    root = os.fspath(user_path(path)).rstrip("/")
    scheme = str(scheme_of(root))
    found = file_system(scheme).find(root, detail=True)
    sizes: dict[str, int] = {}
    folders: dict[str, set[str]] = {}
    for key, entry in found.items():
        url = key if "://" in key else f"{scheme}://{key}"
        # Some programs make an empty object "FOLDER/" to stand for a folder.
        if not url.startswith(f"{root}/") and url != root or url.endswith("/"):
            continue
        sizes[url] = entry["size"]
        while url != root:
            folder, _, name = url.rpartition("/")
            names = folders.setdefault(folder, set())
            if name in names:
                break
            names.add(name)
            url = folder
    return ListedPath(root, sizes, {folder: sorted(names) for folder, names in folders.items()})


def file_size(path: AnyPath) -> int:
    """Bytes of a file; raises FileNotFoundError if there is none."""
    return path.size() if isinstance(path, ListedPath) else os.stat(path).st_size


def fetch_folder(source: AnyPath, target: Path) -> None:
    """Copies all that lies below a folder in a bucket to a disk, many files at a time."""
    files = dict(_files_below(source))
    files_here = {url: target / path for url, path in files.items()}
    for path in files_here.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    if files_here:
        _system_of(source).get(list(files_here), [str(path) for path in files_here.values()])


@contextmanager
def as_orbax_reads(folder: UserPath) -> Iterator[UserPath]:
    """Yields a folder itself if orbax can read it, or else a copy on a disk, which is gone afterwards."""
    if orbax_stores_at(folder):
        yield folder
        return
    with temporary_copy(folder, fetch_folder) as copy:
        yield copy


def send_folder(source: Path, target: AnyPath) -> None:
    """Copies all files below a folder on a disk into a bucket, many at a time."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    urls = [f"{os.fspath(target)}/{path.relative_to(source).as_posix()}" for path in files]
    _system_of(target).put([str(path) for path in files], urls)


def remove_folder(folder: AnyPath, *, first: str) -> None:
    """Removes all that lies below a folder in a bucket, if anything does; before all else the file called `first`."""
    files = [url for url, path in _files_below(folder) if path != first]
    begin = f"{os.fspath(folder)}/{first}"
    system = _system_of(folder)
    if system.exists(begin):
        system.rm_file(begin)
    if files:
        system.rm(files)


def _files_below(folder: AnyPath) -> Iterator[tuple[str, str]]:
    """Yields the URL of every file below a folder in a bucket, and its path from there."""
    root = os.fspath(folder)
    paths = [listed(folder)]
    while paths:
        path = paths.pop()
        if path.is_dir():
            paths += path.iterdir()
        elif path.is_file():
            yield str(path), str(path).removeprefix(f"{root}/")


def _system_of(path: AnyPath) -> Any:
    return file_system(str(scheme_of(path)))
