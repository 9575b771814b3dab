"""Checkpoints in a bucket that orbax cannot write to, here a folder of the disk that is reached as buckets are."""

from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
import pytest

from spikejax.config.files import whole_steps
from spikejax.io.paths import UserPath, user_path
from spikejax.training import checkpoint_mirror
from spikejax.training.checkpoint_integrity import damage
from spikejax.training.checkpoint_manager import folder_of, open_manager
from tests.fake_bucket import FakeBucket


@pytest.fixture
def remote(bucket: FakeBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserPath:
    """A folder of checkpoints."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return user_path("s3://bucket/run/checkpoints/last")


def save(remote: UserPath, *steps: int) -> None:
    """Saves some, of which the last two are kept; each has its number as a parameter."""
    with open_manager(remote, "params", max_to_keep=2) as manager:
        for step in steps:
            params = {"a": np.full(100, step, np.float32)}
            manager.save(step, args=ocp.args.Composite(params=ocp.args.StandardSave(params)))


def restored(remote: UserPath) -> dict[int, float]:
    """What a process that only reads finds in each, as far as it is not damaged."""
    values: dict[int, float] = {}
    with open_manager(remote, "params", create=False) as manager:
        for step in manager.all_steps():
            if damage(folder_of(manager) / str(step)) is None:
                wanted = ocp.args.Composite(params=ocp.args.StandardRestore({"a": np.zeros(100, np.float32)}))
                values[step] = float(manager.restore(step, args=wanted).params["a"][7])
    return values


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_kept_is_in_the_bucket_and_nowhere_else(remote: UserPath, bucket: FakeBucket, tmp_path: Path) -> None:
    """Catches a checkpoint that stays on the disk, one that is never removed, and a run that begins again."""
    save(remote, 1, 2, 3)
    assert whole_steps(remote) == [2, 3] and restored(remote) == {2: 2.0, 3: 3.0}
    assert files_in(tmp_path / "cache") == []
    save(remote, 4)  # on whatever machine: the disk has nothing
    assert whole_steps(remote) == [3, 4] and restored(remote) == {3: 3.0, 4: 4.0}
    assert sorted(path.name for path in (bucket.folder / "run" / "checkpoints" / "last").iterdir()) == ["3", "4"]


def test_a_checkpoint_that_was_sent_by_half_is_none(remote: UserPath, bucket: FakeBucket, tmp_path: Path) -> None:
    """Catches half a checkpoint that a run continues from, and one whose files are mixed with another's."""
    save(remote, 1, 2)
    half = bucket.folder / "run" / "checkpoints" / "last" / "2"
    (half / "commit_success.txt").unlink()
    (half / "params" / "left").write_text("")
    assert whole_steps(remote) == [1] and restored(remote) == {1: 1.0}
    save(remote)
    assert not half.exists()
    save(remote, 2)
    assert restored(remote) == {1: 1.0, 2: 2.0} and not (half / "params" / "left").exists()


def test_damage_in_the_bucket_is_seen(remote: UserPath, bucket: FakeBucket) -> None:
    """Catches sums that are not sent along with the files that they are of."""
    save(remote, 1, 2)
    folder = bucket.folder / "run" / "checkpoints" / "last" / "2" / "params"
    largest = max(files_in(folder), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    assert restored(remote) == {1: 1.0}


def test_the_last_object_is_the_mark(remote: UserPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a mark that is there before the files, when the process is killed while it sends them."""

    def broken(source: Path, target: Any) -> None:
        raise ConnectionError("reset")

    save(remote, 1)
    monkeypatch.setattr(checkpoint_mirror, "send_folder", broken)
    with pytest.raises(ConnectionError):
        save(remote, 1 + 1)
    assert whole_steps(remote) == [1]


def test_a_reader_leaves_a_writer_alone(remote: UserPath) -> None:
    """Catches an evaluation that empties the folder on the disk in which a run keeps its checkpoints."""
    save(remote, 1)
    with open_manager(remote, "params", max_to_keep=2) as manager:
        assert restored(remote) == {1: 1.0}
        assert (folder_of(manager) / "1").is_dir()


def test_many_hosts_are_refused(remote: UserPath, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches hosts that each keep their part of a checkpoint on a disk of their own."""
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ValueError, match="expected one process for checkpoints in such a bucket, found 2: s3://"):
        open_manager(remote, "params")
