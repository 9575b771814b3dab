"""Damaged files and full disks."""

import errno
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikejax.errors import InputError
from spikejax.training import checkpoint_integrity
from spikejax.training.checkpoint import Checkpoints


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


def test_a_full_disk_leaves_no_traceback_of_a_closed_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches pages of tracebacks around the line of a full disk, and silence about other errors of threads."""
    shown: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, traceback: shown.append(str(error)))
    monkeypatch.setattr(sys, "unraisablehook", lambda event: shown.append(str(event.exc_value)))
    before = sys.excepthook, sys.unraisablehook
    with pytest.raises(InputError, match="no space left"), checkpoint_integrity.full_disk_explained():
        for error in (
            RuntimeError("Event loop is closed"),
            RuntimeError("another"),
            ValueError("Event loop is closed"),
        ):
            sys.excepthook(type(error), error, None)
            sys.unraisablehook(SimpleNamespace(exc_value=error))  # type: ignore[arg-type]
        raise OSError(errno.ENOSPC, "No space left on device")
    assert shown == ["another", "another", "Event loop is closed", "Event loop is closed"]
    sys.excepthook, sys.unraisablehook = before
    with checkpoint_integrity.full_disk_explained():
        pass
    assert (sys.excepthook, sys.unraisablehook) == before


def test_saves_are_finished_where_a_run_fails() -> None:
    """Catches threads of a save that run into the interpreter's end, and print tracebacks behind the one line."""
    waited: list[str] = []

    class Manager:
        """Notes that it is waited for; its save fails."""

        def __init__(self, name: str) -> None:
            self.name = name

        def wait_until_finished(self) -> None:
            """Fails as the disk does."""
            waited.append(self.name)
            raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = Checkpoints.__new__(Checkpoints)
    checkpoints._last, checkpoints._best = Manager("last"), Manager("best")  # type: ignore[assignment]
    with pytest.raises(InputError, match="what failed"), checkpoints.finishing():
        raise InputError("what failed")
    assert waited == ["last", "best"]
    with checkpoints.finishing():
        pass
    assert waited == ["last", "best"]
