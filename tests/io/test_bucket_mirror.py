"""A folder on a disk that stands for one in a bucket; here for another one on the disk, reached as buckets are."""

import stat
from pathlib import Path

import pytest
from etils import epath

from spikejax.io import bucket_mirror
from spikejax.io.bucket_mirror import BucketMirror, disk_folder


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> epath.Path:
    """A folder that is no `Path`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bucket" / "run" / "tensorboard").mkdir(parents=True)
    return epath.Path(tmp_path / "bucket" / "run")


def test_what_lies_in_the_bucket_is_what_counts(remote: epath.Path) -> None:
    """Catches a run that goes on with what an earlier process left here, or without what is in the bucket."""
    (remote / "metrics.jsonl").write_text("in the bucket")
    (remote / "tensorboard" / "events").write_bytes(b"\0\1")
    (remote / "config.json").write_text("{}")
    mirror = BucketMirror(remote)
    mirror.folder.mkdir(parents=True)
    (mirror.folder / "metrics.jsonl").write_text("on the disk")
    (mirror.folder / "left").write_text("on the disk")
    mirror.fetch(["metrics.jsonl", "tensorboard", "wandb.json"])
    files = {str(path.relative_to(mirror.folder)): path.read_bytes() for path in mirror.folder.rglob("*.*")}
    assert files == {"metrics.jsonl": b"in the bucket"}
    assert (mirror.folder / "tensorboard" / "events").read_bytes() == b"\0\1"
    assert mirror.folder.name == "run" and not (mirror.folder / "left").exists()


def test_what_has_changed_is_sent(remote: epath.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a point that never arrives, a file that is not finished in the bucket, and all sent at every save."""
    (remote / "metrics.jsonl").write_text("1\n")
    (remote / "tensorboard" / "events").write_text("1")
    mirror = BucketMirror(remote)
    mirror.fetch(["metrics.jsonl", "tensorboard"])
    sent: list[str] = []
    copy_file = bucket_mirror.copy_file
    monkeypatch.setattr(
        bucket_mirror, "copy_file", lambda path, target: (sent.append(path.name), copy_file(path, target))
    )
    with (mirror.folder / "metrics.jsonl").open("a") as log:
        log.write("2\n")
    (mirror.folder / "pictures").mkdir()
    (mirror.folder / "pictures" / "a.png").write_bytes(b"\x89")
    (mirror.folder / ".a.partial").write_text("half")
    (remote / "pictures").mkdir()
    mirror.send()
    mirror.send()
    assert sent == ["metrics.jsonl", "a.png"]
    assert (remote / "metrics.jsonl").read_text() == "1\n2\n"
    assert (remote / "pictures" / "a.png").read_bytes() == b"\x89"
    assert not (remote / ".a.partial").exists()


def test_the_disk_folder_is_the_users_alone(remote: epath.Path, tmp_path: Path) -> None:
    """Catches a folder that others may read, one that two buckets share, and a copy of what is on a disk already."""
    folder = disk_folder(remote)
    assert folder.is_relative_to(tmp_path / "cache") and folder == disk_folder(remote)
    assert folder != disk_folder(remote / "other")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert disk_folder(tmp_path) == tmp_path
