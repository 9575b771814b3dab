"""A folder on a disk that stands for one in a bucket: for files that grow, of which a bucket has no notion.

They are written here, and sent whole whenever somebody says so. What lies in the bucket is what counts: a process that
goes on fetches it from there, whatever an earlier one has left here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from spikejax.io.paths import UserPath, copy_file, user_cache


def disk_folder(folder: UserPath) -> Path:
    """The folder in the user's cache for what belongs to a folder in a bucket; a folder on a disk is its own.

    That is below spikejax/buckets there (see `user_cache`); only the user may read it.
    """
    if isinstance(folder, Path):
        return folder
    base = user_cache()
    own = base / "spikejax" / "buckets" / hashlib.sha256(os.fspath(folder).encode()).hexdigest()[:16]
    for path in (base / "spikejax", own.parent, own):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return own


class BucketMirror:
    """The files of a folder in a bucket that are written on a disk.

    Attributes:
        folder: on the disk; of the same name.
    """

    def __init__(self, remote: UserPath) -> None:
        self._remote = remote
        self.folder = disk_folder(remote) / "mirror" / remote.name
        self._sent: dict[Path, tuple[int, int]] = {}

    def fetch(self, names: Iterable[str]) -> None:
        """Replaces what is here by the files and folders of these names that are there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for name in names:
            self._fetch(self._remote / name, self.folder / name)
        self._sent = self._state()

    def send(self) -> None:
        """Sends the files that have changed; hidden ones are not finished, and stay."""
        state = self._state()
        for path, status in state.items():
            if self._sent.get(path) != status:
                copy_file(path, self._remote / path.relative_to(self.folder).as_posix())
        self._sent = state

    def _fetch(self, source: UserPath, target: Path) -> None:
        if source.is_dir():
            target.mkdir(parents=True)
            for entry in source.iterdir():
                self._fetch(entry, target / entry.name)
        elif source.exists():
            copy_file(source, target)

    def _state(self) -> dict[Path, tuple[int, int]]:
        """(Bytes, time of writing) of every file, taken before any is sent: what is added meanwhile goes next time."""
        state = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(self.folder).parts):
                status = path.stat()
                state[path] = (status.st_size, status.st_mtime_ns)
        return state
