"""A bucket without a server: a folder of the disk that is reached as buckets are, and counts what it is asked."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from spikejax.io import bucket_listing, paths, tiled_arrays


class FakeBucket:
    """What fsspec's packages are asked for, by the names that they have there.

    Attributes:
        folder: what stands for the bucket.
        requests: (method, path) of all that was asked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str]] = []

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:
        """Every file whose path begins like this one, as servers look for it."""
        assert detail
        wanted = self._asked("find", path)
        files = [file for file in self.folder.parent.rglob("*") if file.is_file()]
        keys = {file: file.relative_to(self.folder.parent).as_posix() for file in files}
        scheme = path.partition("://")[0]
        return {
            f"{scheme}://{key}": {"size": file.stat().st_size}
            for file, key in keys.items()
            if str(file).startswith(str(wanted))
        }

    def cat_file(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """A file, or a range of it."""
        return self._asked("read", path).read_bytes()[start:end]

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return self._asked("exists", path).exists()

    def isdir(self, path: str) -> bool:
        """Whether there is such a folder."""
        return self._asked("isdir", path).is_dir()

    def listdir(self, path: str, *, detail: bool) -> list[str]:
        """What is in a folder."""
        assert not detail
        return [f"{path}/{entry.name}" for entry in self._asked("listdir", path).iterdir()]

    def get(self, sources: list[str], targets: list[str]) -> None:
        """Copies files to a disk."""
        for source, target in zip(sources, targets, strict=True):
            shutil.copyfile(self._asked("get", source), target)

    def put(self, sources: list[str], targets: list[str]) -> None:
        """Copies files into the bucket."""
        for source, target in zip(sources, targets, strict=True):
            path = self._asked("put", target)
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)

    def rm_file(self, path: str) -> None:
        """Removes a file, and the folders that are empty then: a bucket has none."""
        file = self._asked("rm", path)
        file.unlink()
        for folder in file.parents:
            if folder == self.folder or any(folder.iterdir()):
                break
            folder.rmdir()

    def rm(self, paths: list[str]) -> None:
        """Removes files."""
        for path in paths:
            self.rm_file(path)

    def open(self, path: str, mode: str) -> io.IOBase:
        """A file."""
        file = self._asked("open", path)
        if "w" in mode:
            file.parent.mkdir(parents=True, exist_ok=True)
        return file.open(mode)

    def _asked(self, method: str, path: str) -> Path:
        self.requests.append((method, path))
        scheme, _, name = path.partition("://")
        assert scheme in ("gs", "s3"), path
        return self.folder.parent / name


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeBucket:
    """The bucket gs://bucket, which is s3://bucket as well."""
    files = FakeBucket(tmp_path / "buckets" / "bucket")
    files.folder.mkdir(parents=True)
    monkeypatch.setattr(epath.gpath, "_is_tf_installed", lambda: False)  # with it etils would read buckets
    monkeypatch.setattr(paths, "reach_bucket", lambda scheme, name: None)
    monkeypatch.setattr(bucket_listing, "file_system", lambda scheme: files)
    monkeypatch.setattr(type(epath.backend.fsspec_backend), "fs", lambda backend, path: files)
    monkeypatch.setattr(
        tiled_arrays, "array_store", lambda url: {"driver": "file", "path": str(files._asked("array", url))}
    )
    return files
