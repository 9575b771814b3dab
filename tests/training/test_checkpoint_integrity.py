"""Damaged files and full disks."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from spikejax.errors import InputError
from spikejax.training import checkpoint_integrity


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with sums."""
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "array").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metadata").write_text("{}")
    checkpoint_integrity.write_sums(tmp_path)
    return tmp_path


def flip(path: Path) -> None:
    """Changes one bit."""
    contents = bytearray(path.read_bytes())
    contents[1000] ^= 1
    path.write_bytes(contents)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "data" / "metadata").unlink(), "the file data/metadata is missing"),
        (lambda folder: flip(folder / "params" / "array"), "the file params/array is not as it was written"),
        (lambda folder: (folder / "params" / "array").write_bytes(b""), "params/array is not as it was written"),
        (lambda folder: (folder / "data" / "more").write_text(""), "the file data/more is not as it was written"),
        (lambda folder: (folder / ".sums.json").write_text("{"), "expected JSON"),
    ],
)
def test_damage(folder: Path, harm: Callable[[Path], object], told: str) -> None:
    """Catches a file that was cut, changed, lost or added after it was written."""
    assert checkpoint_integrity.damage(folder) is None
    harm(folder)
    assert told in str(checkpoint_integrity.damage(folder))


def test_nothing_is_known_without_sums(tmp_path: Path) -> None:
    """Catches a checkpoint that an older version wrote and this one throws away."""
    assert checkpoint_integrity.damage(tmp_path) is None


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), ValueError("Error writing chunk: No space left on device [/x/y]")]
)
def test_full_disk_is_explained_wherever_it_shows(error: Exception) -> None:
    """Catches a full disk that a storage library reports in its own words, or as the cause of something else."""
    with (
        pytest.raises(InputError, match="no space left on the disk"),
        checkpoint_integrity.full_disk_explained(),
    ):
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("saving failed") from cause


def test_other_errors_stay() -> None:
    """Catches a bug that is shown as a full disk."""
    with pytest.raises(RuntimeError, match="a bug"), checkpoint_integrity.full_disk_explained():
        raise RuntimeError("a bug")


def test_space_is_checked_where_the_folder_will_be(tmp_path: Path) -> None:
    """Catches a run that finds out after hours, and a check that fails since the folder is not there yet."""
    checkpoint_integrity.check_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(InputError, match=r"expected 1,000,000,000,000\.0 MB free for checkpoints, found"):
        checkpoint_integrity.check_space(tmp_path / "not" / "yet", 10**18)


def test_a_full_disk_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Catches tracebacks that orbax's threads log of a full disk, and a log that keeps silent about other errors."""
    logger = logging.getLogger("absl")

    def log(error: Exception) -> None:
        try:
            raise error
        except Exception as raised:
            logger.error("saving: %s", raised, exc_info=True)

    with pytest.raises(InputError, match="no space left"), checkpoint_integrity.full_disk_explained():
        log(OSError(errno.ENOSPC, "No space left on device"))
        log(ValueError("tensorstore: No space left on device"))
        log(ValueError("another"))
        raise OSError(errno.ENOSPC, "No space left on device")
    assert [record.getMessage() for record in caplog.records] == ["saving: another"]
    logger.removeFilter(checkpoint_integrity._says_something_else)
    with checkpoint_integrity.full_disk_explained():
        pass
    log(OSError(errno.ENOSPC, "No space left on device"))
    assert len(caplog.records) == 2  # outside of a run it is nobody's business
