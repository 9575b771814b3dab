"""Where an output comes to lie, whatever its path is: a link, a mount point, `.`, a name as long as a disk allows.

Links are resolved first, so that what is written lies where they lead to and they stay. A new folder is made beside its
place and renamed, whole. A folder that cannot be renamed, since it is a mount point or one that a process is in, or
need not be, since there is nothing in it, is worked in from inside: what is finished is moved into it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

from spikejax.errors import InputError
from spikejax.io.mounts import mount_lines

PARTIAL = ".partial"
_LONGEST_NAME = 255  # bytes, of all file systems in use
# Of a new file system.
_OF_THE_DISK = "lost+found"


def resolved(path: str | os.PathLike[str]) -> Path:
    """The absolute path without links, also of what is not there yet; raises `InputError` where nothing can be."""
    real = Path(os.path.realpath(path))
    try:
        real.stat()
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, a file for a folder, links that lead in a circle
        raise InputError(f"expected a place to write to, found {error.strerror or error}: {path}") from error
    return real


def hidden_sibling(path: Path, ending: str) -> Path:
    """The path of a hidden file or folder beside `path`; the leading dot hides it from globs and folder readers."""
    name = f".{path.name}{ending}"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}{ending}"
    return path.with_name(name)


def entries(folder: Path) -> list[Path]:
    """What somebody has put into a folder: all but hidden files and what belongs to the disk."""
    return [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != _OF_THE_DISK]


def is_filled_in_place(folder: Path) -> bool:
    """Whether a resolved folder is worked in from inside: there is nothing in it, or it cannot be renamed."""
    return folder.is_dir() and (not entries(folder) or is_mount_point(folder) or _is_ours(folder))


def is_mount_point(folder: Path) -> bool:
    """Whether a resolved folder is one, also where another folder of the same disk is mounted there (Linux)."""
    if os.path.ismount(folder):
        return True
    points = (line.split(" ")[4] for line in mount_lines() if line.count(" ") > 4)
    return os.fspath(folder) in (re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), at) for at in points)


def _is_ours(folder: Path) -> bool:
    """Whether this process is in the folder, which would be gone for the shell that has started it."""
    try:
        return Path.cwd().is_relative_to(folder)
    except FileNotFoundError:
        return False


def check_can_be_written(path: Path) -> None:
    """Raises InputError unless a file can be made where a resolved path is, or in the nearest folder that is there."""
    nearest = next(folder for folder in path.parents if os.path.lexists(folder))
    probe = nearest / f".spikejax_{secrets.token_hex(4)}"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise InputError(f"expected a place to write to, found {error.strerror or error}: {path}") from error


def check_rename(work: Path, target: Path) -> None:
    """Tries what makes an output visible at the end on an empty file.

    Args:
        work: the folder with what is not finished.
        target: a resolved path that `work`, or a file in it, is renamed to. What is there already stays.

    Raises:
        InputError: it cannot be: the two lie on different disks, say, or the name is longer than the disk allows.
    """
    probe = work / f".spikejax_{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        goal = hidden_sibling(target, f".{secrets.token_hex(4)}{PARTIAL}") if target.exists() else target
        probe.touch()
        os.replace(probe, goal)
        goal.unlink()
    except OSError as error:
        probe.unlink(missing_ok=True)
        raise InputError(f"expected a place to write to, found {error.strerror or error}: {target}") from error


def fill_folder(finished: Path, target: Path, *, replace: bool, last: str = "") -> None:
    """Moves what is in a finished folder into one that is there, and removes the former.

    Args:
        finished: in `target`, or on the same disk.
        target: the folder.
        replace: whether what is in `target` gives way.
        last: the name of the file that says that all is there.
    """
    if replace:
        outgoing = hidden_sibling(target / "earlier", f".{secrets.token_hex(4)}{PARTIAL}")
        outgoing.mkdir()
        for path in entries(target):
            os.replace(path, outgoing / path.name)
    for path in sorted(finished.iterdir(), key=lambda path: path.name == last):
        os.replace(path, target / path.name)
    finished.rmdir()
    for path in target.glob(f".earlier.*{PARTIAL}"):  # also of a process that was killed here
        shutil.rmtree(path)
