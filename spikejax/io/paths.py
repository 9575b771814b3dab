"""What a user's path leads to: this machine's disks, or a bucket of Google Cloud Storage, gs://BUCKET/FOLDER.

A path with a scheme is no local path, though `Path` would make the folder ./gs:/BUCKET/FOLDER of it, without a word.
Whoever takes a path from a user asks here. What reads whole files, and what orbax stores, may lie in a bucket; what
needs a lock, a file that grows, a mapped file or a decoder that seeks lies on a disk.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from etils import epath

from spikejax.errors import InputError, one_line
from spikejax.extras import require

AnyPath = str | os.PathLike[str]
# A path of a bucket has the methods of `Path`; objects in it appear whole, or not at all.
UserPath: TypeAlias = Path | epath.Path

# Of two letters at least: C:/ is a drive. One slash is enough, as `Path` makes one of two.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
_EXTRAS = {"gs": "gcs"}


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
    if scheme_of(path) not in (None, *_EXTRAS):
        owner = f"{what}: " if what else ""
        raise InputError(f"{owner}expected a path on this machine's disks, or gs://BUCKET/..., found {path}")


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
    _reach_bucket(scheme, url.split("/")[2])
    return epath.Path(url)


def is_remote(path: AnyPath) -> bool:
    """Whether a path leads to a bucket."""
    return scheme_of(path) is not None


@contextmanager
def as_local_file(path: UserPath) -> Iterator[Path]:
    """Yields a file itself, or a copy of one in a bucket, which is gone afterwards: for what seeks in a file."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="spikejax_") as folder:
        copy = Path(folder) / path.name
        copy_file(path, copy)
        yield copy


def copy_file(source: UserPath, target: UserPath) -> None:
    """Copies a file into a bucket, where it appears whole in place of the one that is there, or out of one."""
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 2**24)


@contextmanager
def _without_tracebacks(package: str) -> Iterator[None]:
    """Within it a package does not log the errors that it raises as well."""
    logger = logging.getLogger(package)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@functools.cache
def _reach_bucket(scheme: str, bucket: str) -> None:
    require(_EXTRAS[scheme], f"{scheme}://{bucket}")
    # Where TensorFlow is installed etils would read buckets with it, and import it for that.
    os.environ.setdefault("EPATH_USE_TF", "false")
    import fsspec.config
    import gcsfs

    # What orbax stores it stores past fsspec, which would go on listing what it has seen.
    fsspec.config.conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)
    try:
        with _without_tracebacks(gcsfs.__name__):
            there = bool(bucket) and epath.Path(f"{scheme}://{bucket}").exists()
    except Exception as error:  # no network, no credentials, no permission: each layer below has classes of its own
        raise InputError(
            f"expected a bucket that can be read, found {type(error).__name__} ({one_line(error)}): {scheme}://{bucket}"
        ) from error
    if not there:
        raise InputError(f"expected a bucket that can be read, found none: {scheme}://{bucket}")
