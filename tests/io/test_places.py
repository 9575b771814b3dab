"""Where outputs come to lie; tests/inference/test_resumable_output.py has what is written there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spikejax.errors import InputError
from spikejax.io import mounts
from spikejax.io.atomic import atomic_directory
from spikejax.io.places import check_can_be_written, hidden_sibling, is_mount_point

MOUNTED = """
import sys
from pathlib import Path
from spikejax.io.atomic import atomic_directory
from spikejax.io.places import is_mount_point
for name, mount in (("tmpfs", True), ("bind", True), ("plain", False)):
    assert is_mount_point(Path(name).resolve()) == mount, name
    for content in "ab":
        with atomic_directory(name, replace=True) as folder:
            (folder / content).write_text(content)
    assert [path.name for path in Path(name).iterdir()] == ["b"], name
    assert is_mount_point(Path(name).resolve()) == mount, name
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="Linux alone has namespaces")
def test_real_mount_points(tmp_path: Path) -> None:
    """Catches a folder of the same disk that is mounted elsewhere, which `ismount` does not see, and any renaming."""
    names = "mkdir tmpfs bind plain other && mount -t tmpfs none tmpfs && mount --bind other bind || exit 77"
    command = f"cd '{tmp_path}' && {names}; exec {sys.executable} -c '{MOUNTED}'"
    done = subprocess.run(["unshare", "-Urm", "bash", "-c", command], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip("this machine lets nobody mount")
    assert done.returncode == 0, done.stderr


def test_mount_points_with_blanks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a list of mounts that is not read as the kernel writes it."""
    (tmp_path / "a b").mkdir()
    lines = tmp_path / "mountinfo"
    lines.write_text(f"36 35 0:43 / {tmp_path}/a\\040b rw,relatime - ext4 /dev/vda rw\n\nnonsense\n")
    monkeypatch.setattr(mounts, "_MOUNTS", lines)
    assert is_mount_point(tmp_path / "a b") and not is_mount_point(tmp_path)
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "none")
    assert not is_mount_point(tmp_path / "a b") and is_mount_point(Path("/"))


def test_a_hidden_name_is_never_too_long(tmp_path: Path) -> None:
    """Catches a name that the disk takes, whose temporary one it does not."""
    for length in (1, 240, 255):
        hidden_sibling(tmp_path / ("x" * length), ".partial").mkdir()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("kind", ["link", "dangling link", "working folder", "empty"])
def test_a_folder_made_where_a_path_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Catches a link that is replaced by a folder, and `.` that has no name."""
    place, path = tmp_path / "place", tmp_path / "path"
    if kind != "dangling link":
        place.mkdir()
    if "link" in kind:
        path.symlink_to(place)
    elif kind == "working folder":
        monkeypatch.chdir(place)
        path = Path()
    else:
        path = place
    for replace in (False, True):
        with atomic_directory(path, replace=replace) as folder:
            (folder / f"{replace}").write_text("")
            assert folder.is_relative_to(place) or folder.parent == place.parent
    assert [file.name for file in place.iterdir()] == ["True"]
    assert path.is_symlink() == ("link" in kind)


@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_a_place_that_nobody_can_write_to(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a mistake that shows after the work, as a traceback."""
    (tmp_path / "file").write_text("")
    if kind == "read-only":  # root may write all the same

        def touch(self: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
            raise PermissionError(13, os.strerror(13))

        monkeypatch.setattr(Path, "touch", touch)
    with pytest.raises(InputError, match="expected a place to write to, found (Not a directory|Permission denied)"):
        check_can_be_written(tmp_path / "file" / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
