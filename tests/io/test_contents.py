"""Files that are the same, and files that are not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spikejax.io.contents import contents_of

LARGE = os.urandom(2**20) + bytes(2**20) + os.urandom(2**20)


def write(path: Path, content: bytes, time: int = 1000) -> None:
    """A file of that time."""
    path.write_bytes(content)
    os.utime(path, (time, time))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small file, a large one and a folder."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "small", b"abc")
    write(tmp_path / "large", LARGE)
    (tmp_path / "folder").mkdir()
    for name in ("1.png", "2.png", "3.png"):
        write(tmp_path / "folder" / name, name.encode())
    return tmp_path


@pytest.mark.parametrize("name", ["small", "large", "folder", "folder/*.png"])
def test_spellings_do_not_count(files: Path, name: str) -> None:
    """Catches ./in.mkv refused for in.mkv, and a link for what it leads to."""
    (files / "link").symlink_to(files, target_is_directory=True)
    spellings = (name, f"./{name}", str(files / name), f"link/{name}")
    assert len({contents_of(path) for path in spellings}) == 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("small", lambda files: write(files / "small", b"abd")),
        ("large", lambda files: write(files / "large", LARGE[:-1] + bytes([LARGE[-1] ^ 1]))),
        ("large", lambda files: write(files / "large", bytes([LARGE[0] ^ 1]) + LARGE[1:])),
        ("large", lambda files: write(files / "large", LARGE, 1001)),
        ("large", lambda files: write(files / "large", LARGE[:-1])),
        ("folder", lambda files: write(files / "folder" / "2.png", b"2.pnG", 1001)),
        ("folder", lambda files: (files / "folder" / "2.png").unlink()),
        ("folder", lambda files: (files / "folder" / "2.png").rename(files / "folder" / "4.png")),
        ("folder", lambda files: write(files / "folder" / "3.png", b"3.pnG")),
        ("folder/*.png", lambda files: write(files / "folder" / "4.png", b"")),
    ],
)
def test_other_contents_count(files: Path, name: str, change: Callable[[Path], object]) -> None:
    """Catches another film behind the same name."""
    before = contents_of(name)
    change(files)
    assert contents_of(name) != before


def test_a_small_file_that_was_copied(files: Path) -> None:
    """Catches the time of a file that is known whole."""
    before = contents_of("small")
    write(files / "small", b"abc", 2000)
    assert contents_of("small") == before


def test_a_bucket_is_known_by_its_path() -> None:
    """Catches a file on the disk that is looked for."""
    assert contents_of("gs://bucket/a") == "gs://bucket/a"
