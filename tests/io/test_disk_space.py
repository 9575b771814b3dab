"""What may still be written, on a disk and within a quota."""

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from spikejax.io import mounts
from spikejax.io.disk_space import free_bytes, full_disk_named, full_disk_words, is_full_disk

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")


def test_the_disk_of_a_folder_that_is_to_be_made(tmp_path: Path) -> None:
    """Catches a traceback where the folder is not there yet."""
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("form", ["errno", "words of a library", "cause", "context"])
def test_a_full_disk_is_known_in_every_form(number: int, form: str) -> None:
    """Catches a quota, or a limit of a file's size, that is taken for a bug, and one that a library has wrapped."""
    words = os.strerror(number)
    error: Exception = OSError(number, "translated", "/disk/file")
    if form == "words of a library":
        error = ValueError(f"Error writing chunk: {words} [/x/y]")
    elif form in ("cause", "context"):
        inner, error = error, RuntimeError("saving failed")
        setattr(error, f"__{form}__", inner)
    assert is_full_disk(error)
    assert full_disk_words(error) == (words if form == "words of a library" else f"{words}: /disk/file")


def test_other_errors_are_no_full_disk() -> None:
    """Catches a bug that is said to be a full disk, and a chain of errors that goes in a circle."""
    error, other = OSError(errno.EACCES, os.strerror(errno.EACCES)), ValueError("a bug")
    error.__context__, other.__context__ = other, error
    assert not is_full_disk(error) and not is_full_disk(None)


@pytest.mark.parametrize(("own", "named"), [(None, "/disk/out"), ("/other/file", "/other/file")])
def test_a_full_disk_has_a_name(own: str | None, named: str) -> None:
    """Catches a full disk of which nobody knows which one it is, and another file than the one that failed."""
    with pytest.raises(OSError, match=named) as caught, full_disk_named(Path("/disk/out")):
        raise OSError(errno.ENOSPC, "full", own)
    assert caught.value.filename == named
    with pytest.raises(OSError, match="no such") as other, full_disk_named(Path("/disk/out")):
        raise OSError(errno.ENOENT, "no such")
    assert other.value.filename is None


@linux
@pytest.mark.parametrize(("kind", "limit", "used", "left"), [(0, 4096, 10, 4096 * 1024 - 10), (1, 1, 4096, 0)])
def test_a_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, limit: int, used: int, left: int) -> None:
    """Catches a limit in the wrong unit, one of groups that is not asked for, and a negative rest."""

    class Libc:
        def quotactl(self, command: Any, device: bytes, owner: int, quota: Any) -> int:
            assert command.value & 0xFFFFFFFF in (0x80000700, 0x80000701) and device == b"/dev/sda1"
            if command.value & 1 != kind:
                return -1
            assert owner == (os.getuid(), os.getgid())[kind]
            quota._obj.hard_limit, quota._obj.used = limit, used
            return 0

    device = os.stat(tmp_path).st_dev
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 - ext4 /dev/sda1 rw\nnonsense\n")
    monkeypatch.setattr(mounts, "_MOUNTS", table)
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: Libc())
    assert free_bytes(tmp_path) == left


@linux
def test_disks_without_quotas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a disk that has none, or a network disk, taken for a full one."""
    for lines in ("", "22 1 0:9999 / / rw - nfs server:/a rw"):
        (tmp_path / "mountinfo").write_text(lines)
        monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "mountinfo")
        assert free_bytes(tmp_path) > 0
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "none")
    assert free_bytes(tmp_path) > 0
