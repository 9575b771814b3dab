"""Whether two paths hold the same, without reading all of it: for a run that goes on with what another has left."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator

from spikejax.io.paths import AnyPath, is_remote

_ENDS = 2**20  # bytes that are read at each end of a file


def contents_of(path: AnyPath) -> str:
    """A text that is the same for the same contents, however the path is spelt: of a file, a folder or a pattern.

    Of a file count the size and a hash of the first and the last megabyte; where that is not all of it, the time of its
    last change too. Of the files of a folder count names, sizes and times, and the ends of the first and the last one.
    What lies in a bucket is known by its path.
    """
    if is_remote(path):
        return os.fspath(path)
    if os.path.isfile(path):
        return _of_file(os.fspath(path))
    files = list(_files(os.fspath(path)))
    checksum = hashlib.sha256()
    for name, file in files:
        status = os.stat(file)
        checksum.update(f"{name!a} {status.st_size} {status.st_mtime_ns}\n".encode())
    for _, file in files[:1] + files[-1:]:
        checksum.update(_of_file(file).encode())
    return f"{len(files)} files, sha256 {checksum.hexdigest()[:16]}"


def _of_file(path: str) -> str:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        checksum = hashlib.sha256(file.read(_ENDS))
        file.seek(max(file.tell(), status.st_size - _ENDS))
        checksum.update(file.read(_ENDS))
    changed = f", changed at {status.st_mtime_ns / 1e9:.9f}" if status.st_size > 2 * _ENDS else ""
    return f"{status.st_size} bytes{changed}, sha256 {checksum.hexdigest()[:16]}"


def _files(path: str) -> Iterator[tuple[str, str]]:
    """Yields the name within the folder, and the path, of each file; sorted."""
    if not os.path.isdir(path):
        yield from sorted((os.path.basename(file), file) for file in glob.glob(path) if os.path.isfile(file))
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            yield os.path.relpath(file, path), file
