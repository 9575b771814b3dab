"""Files and folders that appear whole or not at all.

Everything is written under a temporary name beside its target and renamed at the end, so that an interrupted or failing
run leaves nothing half-written behind under a name that a reader would believe.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikejax.errors import InputError
from spikejax.io.disk_space import full_disk_named
from spikejax.io.paths import AnyPath, copy_file, has_owners_and_modes, is_remote, user_path
from spikejax.io.places import PARTIAL, entries, fill_folder, hidden_sibling, is_filled_in_place, resolved


def _temporary_sibling(path: Path) -> Path:
    # The suffix stays last: writers such as cv2.imwrite and numpy.save choose the format by it.
    return hidden_sibling(path.with_suffix(""), f".{secrets.token_hex(4)}{PARTIAL}{path.suffix}")


@contextmanager
def atomic_write(path: AnyPath) -> Iterator[Path]:
    """Yields a temporary path to write to, which replaces `path` when the block ends without an exception.

    Args:
        path: the file to write; missing parent folders are made, an existing file, or a link, is replaced.

    Yields:
        A path in the same folder (of a file in a bucket, in a folder for temporary files), with the same suffix, that
        does not exist yet. The block must create it.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory(prefix="spikejax_") as folder:
            written = Path(folder) / Path(path).name
            yield written
            copy_file(written, user_path(path))
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(target)
    try:
        with full_disk_named(target):
            yield temporary
        _open_to_readers(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _open_to_readers(written: Path) -> None:
    """Gives a file that its owner alone may read the mode that new files have there.

    Libraries that write a temporary file of their own and rename it, as safetensors does, leave it with mode 600.
    """
    if not has_owners_and_modes() or stat.S_IMODE(written.stat().st_mode) & ~stat.S_IRWXU:
        return
    # Of a file that is made now: the umask cannot be read without changing it for all threads.
    fresh = _temporary_sibling(written)
    fresh.touch()
    try:
        written.chmod(stat.S_IMODE(fresh.stat().st_mode))
    finally:
        fresh.unlink()


@contextmanager
def atomic_directory(path: str | os.PathLike[str], *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty temporary folder, renamed to `path` when the block ends without an exception.

    Args:
        path: the folder to make, or a link to it; missing parents are made.
        replace: whether a folder that exists already, and is not empty, gives way to the new one. It stays in place
            until the new one is whole.

    Yields:
        The temporary folder, beside `path` or, where that is filled in place, in it (see `spikejax.io.places`).

    Raises:
        InputError: `path` exists (as a file, or as a folder that is not empty) and `replace` is off.
    """
    target = resolved(path)
    refuse_existing(target, replace=replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_sibling(target / "new" if is_filled_in_place(target) else target)
    temporary.mkdir()
    try:
        with full_disk_named(target):
            yield temporary
        move_folder(temporary, target, replace=replace)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_folder(finished: Path, target: Path, *, replace: bool, last: str = "") -> None:
    """Renames a finished folder to `target`, or moves what is in it there if it lies in it.

    Args:
        finished: the folder.
        target: a resolved path.
        replace: whether a folder that is there gives way.
        last: the name of the file that is moved last, where files are moved.

    Raises:
        InputError: as `refuse_existing` does.
    """
    refuse_existing(target, replace=replace)  # the work may have taken hours
    if finished.is_relative_to(target):
        fill_folder(finished, target, replace=replace, last=last)
        return
    if not target.exists():
        os.replace(finished, target)
        return
    outgoing = _temporary_sibling(target)
    os.replace(target, outgoing)
    os.replace(finished, target)
    shutil.rmtree(outgoing)


def refuse_existing(target: Path, *, replace: bool) -> None:
    """Raises `InputError` if writing a folder at `target` would destroy something that nobody asked to replace."""
    if target.exists() and not target.is_dir():
        raise InputError(f"expected a folder to write to, found a file: {target}")
    if not replace and target.is_dir() and entries(target):
        raise InputError(f"expected a new or empty folder, found one with files in it: {target}")


def write_text(path: AnyPath, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all; what is none, as bytes of some files' names, is escaped."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
