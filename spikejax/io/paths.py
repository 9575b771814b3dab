"""What a user's path leads to: this machine's disks, or a bucket, gs://BUCKET/FOLDER or s3://BUCKET/FOLDER.

A path with a scheme is no local path, though `Path` would make the folder ./gs:/BUCKET/FOLDER of it, without a word.
Whoever takes a path from a user asks here. What reads whole files, and what orbax stores, may lie in a bucket; what
needs a lock, a file that grows, a mapped file or a decoder that seeks lies on a disk.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from etils import epath

from spikejax.errors import InputError
from spikejax.io.buckets import KINDS, reach_bucket

AnyPath = str | os.PathLike[str]
# A path of a bucket has the methods of `Path`; objects in it appear whole, or not at all.
UserPath: TypeAlias = Path | epath.Path

# Of two letters at least: C:/ is a drive. One slash is enough, as `Path` makes one of two.
HUB_SCHEME = "hf"  # of networks in the Hugging Face Hub, which `spikejax.hub` fetches
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")


def walk_folders(root: AnyPath, *, left_out: str = "") -> Iterator[tuple[Path, list[str]]]:
    """Every folder at and below `root` with the names of its files, hidden ones left out; links are followed.

    A link that leads back to a folder that it lies in is not: that has no end.

    Args:
        root: a folder.
        left_out: the end of the names of folders that are not entered, if any.
    """
    for path, inner, names in os.walk(root, followlinks=True):
        folder = Path(path)
        inner[:] = [name for name in inner if not name.startswith(".") and not _leads_back(folder, name)]
        if left_out:
            inner[:] = [name for name in inner if not name.endswith(left_out)]
        yield folder, [name for name in names if not name.startswith(".")]


def _leads_back(folder: Path, name: str) -> bool:
    """Whether an entry of a folder is a link to the folder or to one that it lies in."""
    entry = folder / name
    return entry.is_symlink() and folder.resolve().is_relative_to(entry.resolve())


def scheme_of(path: AnyPath) -> str | None:
    """What stands before :// in a path, such as "gs"; None in a path on this machine's disks."""
    match = _SCHEME.match(os.fspath(path))
    return match and match[1].lower()


def local_only(path: AnyPath, *, what: str = "") -> Path:
    """A path on this machine's disks, as it was given.

    Args:
        path: from a user.
        what: it is of, such as an option, for the message.

    Raises:
        InputError: it leads elsewhere.
    """
    if scheme_of(path) is not None:
        owner = f"{what}: " if what else ""
        raise InputError(f"{owner}expected a path on this machine's disks (copy it, or mount the bucket), found {path}")
    return Path(path)


def check_scheme(path: AnyPath, *, what: str = "") -> None:
    """Raises InputError for a path that is neither on a disk nor in a bucket of a kind that can be read."""
    if scheme_of(path) not in (None, *KINDS):
        owner = f"{what}: " if what else ""
        buckets = " or ".join(f"{scheme}://BUCKET/..." for scheme in KINDS)
        raise InputError(f"{owner}expected a path on this machine's disks, or {buckets}, found {path}")


def check_network_path(path: AnyPath, *, what: str = "") -> None:
    """Raises InputError for a path that is none of a network: neither of this machine, nor in a bucket or the hub."""
    if scheme_of(path) != HUB_SCHEME:
        check_scheme(path, what=what)


def user_path(path: AnyPath, *, what: str = "") -> UserPath:
    """An absolute path on this machine's disks, or one in a bucket.

    Args:
        path: from a user.
        what: it is of, such as an option, for the message.

    Raises:
        InputError: it is of another kind; its extra is not installed; or there is no such bucket, or no way to it.
    """
    check_scheme(path, what=what)
    scheme = scheme_of(path)
    if scheme is None:
        return Path(path).absolute()
    url = _SCHEME.sub(f"{scheme}://", os.fspath(path), count=1)
    reach_bucket(scheme, url.split("/")[2])
    return epath.Path(url)


def as_path(path: AnyPath) -> UserPath:
    """A path on this machine's disks as it was given, or one in a bucket, see `user_path`."""
    return Path(path) if scheme_of(path) is None else user_path(path)


def is_remote(path: AnyPath) -> bool:
    """Whether a path leads to a bucket."""
    return scheme_of(path) is not None


def has_owners_and_modes() -> bool:
    """Whether the system says by owners and modes who may write to a folder: Linux and macOS do, Windows does not."""
    return hasattr(os, "geteuid")


def user_cache() -> Path:
    """The user's own cache folder, of this and all other programs: $XDG_CACHE_HOME, else ~/.cache or %LOCALAPPDATA%.

    Raises:
        RuntimeError: there is no home folder.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # a relative path is to be ignored, says the XDG base directory specification
        return named
    return Path.home() / ".cache" if has_owners_and_modes() else Path(os.environ.get("LOCALAPPDATA", Path.home()))


def orbax_stores_at(path: UserPath) -> bool:
    """Whether orbax writes and reads there by itself."""
    scheme = scheme_of(path)
    return scheme is None or KINDS[scheme].orbax


@contextmanager
def as_local_file(path: UserPath) -> Iterator[Path]:
    """Yields a file itself, or a copy of one in a bucket, which is gone afterwards: for what seeks in a file."""
    if isinstance(path, Path):
        yield path
        return
    with temporary_copy(path, copy_file) as copy:
        yield copy


@contextmanager
def temporary_copy(path: UserPath, copy: Callable[[UserPath, Path], None]) -> Iterator[Path]:
    """Yields what `copy` makes of a file or folder in a bucket on this machine's disks, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="spikejax_") as folder:
        target = Path(folder) / path.name
        copy(path, target)
        yield target


def copy_file(source: UserPath, target: UserPath) -> None:
    """Copies a file into a bucket, where it appears whole in place of the one that is there, or out of one."""
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 2**24)
