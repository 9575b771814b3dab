"""Tests of atomic files and folders."""

import os
import stat
from pathlib import Path

import pytest

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_directory, atomic_write, write_text


def test_atomic_write_replaces_whole_files(tmp_path: Path) -> None:
    """Catches a target that is written in place, a changed suffix, and temporary files left behind."""
    target = tmp_path / "deep" / "a.png"
    for content in ("first", "second"):
        with atomic_write(target) as temporary:
            assert temporary.suffix == ".png" and temporary.parent == target.parent and not temporary.exists()
            temporary.write_text(content)
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == content
    assert [path.name for path in target.parent.iterdir()] == ["a.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_modes_of_new_files(tmp_path: Path, umask: int, mode: int) -> None:
    """Catches a file that its owner alone may read, since a library made it as a temporary file of its own."""
    before = os.umask(umask)
    try:
        for written_with in (0o600, 0o644 & ~umask):
            with atomic_write(tmp_path / "a.safetensors") as temporary:
                temporary.touch()
                temporary.chmod(written_with)
            assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == (
                mode if written_with == 0o600 else written_with
            )
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failing_blocks_leave_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """Catches half-written output after an error or Ctrl-C, and the loss of what was there before."""
    old = tmp_path / "old.txt"
    old.write_text("kept")
    with pytest.raises(error), atomic_write(old) as temporary:
        temporary.write_text("half")
        raise error
    with pytest.raises(error), atomic_directory(tmp_path / "folder") as temporary:
        (temporary / "half").write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"] and old.read_text() == "kept"


def test_atomic_directory_never_overwrites_unasked(tmp_path: Path) -> None:
    """Catches a folder with files that is lost or mixed with the new one, also when it appears during the work."""
    target = tmp_path / "data"
    target.mkdir()
    with atomic_directory(target) as temporary:  # an empty folder is nobody's loss
        (temporary / "a").write_text("1")
    with pytest.raises(InputError, match="new or empty folder"), atomic_directory(target):
        raise AssertionError("must be refused before the work")
    with atomic_directory(target, replace=True) as temporary:
        (temporary / "b").write_text("2")
        assert (target / "a").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "b"]
    with pytest.raises(InputError, match="files in it"), atomic_directory(tmp_path / "late") as temporary:
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "theirs").write_text("3")
    assert (tmp_path / "late" / "theirs").read_text() == "3"
    with pytest.raises(InputError, match="found a file"), atomic_directory(target / "b", replace=True):
        pass


def test_text_with_names_that_are_no_text(tmp_path: Path) -> None:
    """Catches a page that is lost since a file's name has a byte that is no UTF-8."""
    write_text(tmp_path / "a.html", f"caf{os.fsdecode(bytes([0xE9]))} ä")
    assert (tmp_path / "a.html").read_bytes() == b"caf\\udce9 " + "ä".encode()
