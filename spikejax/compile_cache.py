"""Where compiled programs are kept between runs; the only place that decides it.

What lies there is native code, which JAX loads and runs without asking where it came from. So it is kept in the user's
own cache folder, never among files that people give to each other, such as a run's workdir, a folder of weights or the
folder of a file of weights.

The user's own folder is cut back when a command starts: the programs that were used last stay, up to a number of bytes.
JAX has an option for this (`jax_compilation_cache_max_size`), but it takes a lock for each program, and fails in a
folder that was filled without it; where somebody sets it, it is JAX's affair.

JAX writes a program in place and never again. So one that a killed process, or a full disk, cut short is removed when
a command starts; otherwise every later run would warn of it, and compile it again.

Who may write to it, Linux and macOS say by owners and modes. Windows does not: there the folder lies in the user's
profile, which the system keeps others out of.
"""

import argparse
import contextlib
import os
import re
import stat
import sys
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

from spikejax.cli import byte_count
from spikejax.errors import InputError
from spikejax.io.paths import AnyPath, has_owners_and_modes, is_remote, user_cache

_OWN_MODE = 0o700
# Room for hundreds: those of the tests' small networks have up to 13 MB each on a CPU.
SIZE_VARIABLE, _SIZE = "SPIKEJAX_COMPILE_CACHE_SIZE", "10G"
# JAX's names, and the first byte of what zlib compresses, which JAX does where the package zstandard is not installed.
_ENTRY, _ZLIB = re.compile(r".+-[0-9a-f]{64}-cache"), b"\x78"
# Its time is that of the last look for programs that were cut short.
_CHECKED = ".checked"
# What was written so lately may still be written by another process; what is older than a day and was never looked at,
# would take long.
_SETTLED_SECONDS, _LOOKED_AT_SECONDS = 10.0, 86400.0
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def add_compile_cache(parser: argparse.ArgumentParser) -> None:
    """Adds --compile-cache, which `use_compile_cache` takes."""
    parser.add_argument(
        "--compile-cache",
        metavar="DIR",
        help="keep compiled programs in DIR, which nobody else may write to: what lies there is run "
        "(default: JAX_COMPILATION_CACHE_DIR, else spikejax/compiled in your cache folder, where "
        f"{SIZE_VARIABLE}, {_SIZE} by default, says how much is kept)",
    )


def use_compile_cache(folder: str | None, *, apart_from: Iterable[AnyPath | None]) -> None:
    """Lets JAX find programs that an earlier run compiled, and keep those of this one.

    If the user's own cache folder cannot be trusted or written to, one line says so and every program is compiled.

    Args:
        folder: what --compile-cache says. None: where JAX_COMPILATION_CACHE_DIR says (empty: nowhere), else the user's
            own cache folder.
        apart_from: the workdir and weights that are used, within or beside which the cache must not lie; None and ""
            name nothing.

    Raises:
        InputError: `folder` is within or beside `apart_from`, is no folder, or others may write to it.
    """
    import jax  # after the command line has been read: it takes a second

    given = [Path(path).absolute() for path in apart_from if path and not is_remote(path)]
    if folder is not None:
        chosen = _make_named_folder(folder, given)
        jax.config.update("jax_compilation_cache_dir", str(chosen))
        remove_cut_short(chosen)
        return
    named = jax.config.values["jax_compilation_cache_dir"]
    if named == "" or (named is not None and is_remote(named)):  # a bucket is JAX's affair, its name no path
        return
    try:
        chosen = make_own_folder() if named is None else Path(named)
        _check_apart(chosen, given)
    except (InputError, OSError, RuntimeError) as error:
        print(f"spikejax: compiled programs are not kept: {error}", file=sys.stderr)
        jax.config.update("jax_compilation_cache_dir", None)
    else:
        jax.config.update("jax_compilation_cache_dir", str(chosen))
        if named is None:
            cut_back(chosen, _kept_bytes())
        remove_cut_short(chosen)


def folder_in_use() -> Path | None:
    """Where JAX keeps compiled programs; None where it keeps none, or not on a disk of this machine."""
    import jax

    named = jax.config.values["jax_compilation_cache_dir"]
    if not named or is_remote(named) or not jax.config.values["jax_enable_compilation_cache"]:
        return None
    return Path(named)


def given_file(name: str, *, option: str, apart_from: Iterable[AnyPath | None]) -> Path:
    """The file of compiled code that an option names.

    Args:
        name: what the option says.
        option: its name.
        apart_from: see `use_compile_cache`.

    Raises:
        InputError: the file lies where somebody may have given it away with a run or with weights.
    """
    file = Path(name).absolute()
    try:
        _check_apart(file, [Path(path).absolute() for path in apart_from if path and not is_remote(path)])
    except InputError as error:
        raise InputError(f"{option}: {error}") from error
    return file


def make_own_folder() -> Path:
    """The folder in the user's cache folder (see `user_cache`), made with mode 700 if there is none.

    Raises:
        InputError: the folder, or the one it lies in, is another user's, or others may write to it.
        OSError: it cannot be made.
        RuntimeError: there is no home folder.
    """
    base = user_cache()
    base.mkdir(mode=_OWN_MODE, parents=True, exist_ok=True)
    for parent in (base.resolve(), *base.resolve().parents):
        mode = parent.stat().st_mode if has_owners_and_modes() else 0
        # Whoever may write to a folder may put another in the place of one below it, unless the folder is sticky.
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise InputError(f"expected a cache folder below folders that not everybody writes to, found {parent}")
    own = base / "spikejax"
    for folder in (own, own / "compiled"):
        folder.mkdir(mode=_OWN_MODE, exist_ok=True)
        check_only_the_user_writes(folder)
    return own / "compiled"


def cut_back(folder: Path, size: int) -> None:
    """Removes the files below a folder that were used longest ago until the rest has at most `size` bytes.

    A process that is about to read one of them compiles its program again.
    """
    files: list[tuple[float, int, Path]] = []
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except OSError:  # another process has removed it
            continue
        if stat.S_ISREG(status.st_mode):
            # Disks that note no access have the time of writing.
            files.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    for _, length, path in sorted(files, key=lambda file: file[0], reverse=True):
        size -= length
        if size < 0:
            with contextlib.suppress(OSError):  # another process has removed it
                path.unlink()


def remove_cut_short(folder: Path) -> None:
    """Removes compiled programs of which only a part was written, of those that were written since the last look.

    Files that are not JAX's are left alone, and so is what cannot be read or removed.
    """
    now, stamp = time.time(), folder / _CHECKED
    with contextlib.suppress(OSError):
        since = stamp.stat().st_mtime if stamp.exists() else now - _LOOKED_AT_SECONDS
        for path in folder.iterdir():
            if _ENTRY.fullmatch(path.name) and since <= path.stat().st_mtime <= now - _SETTLED_SECONDS:
                with contextlib.suppress(OSError):
                    if _is_cut_short(path):
                        path.unlink()
        stamp.touch()
        os.utime(stamp, (now - _SETTLED_SECONDS,) * 2)


def _is_cut_short(path: Path) -> bool:
    unpacked = zlib.decompressobj()
    with path.open("rb") as file:
        if (part := file.read(2**20))[:1] not in (b"", _ZLIB):
            return False
        try:
            while part:
                unpacked.decompress(part)
                part = file.read(2**20)
        except zlib.error:
            return True
    return not unpacked.eof


def _kept_bytes() -> int:
    text = os.environ.get(SIZE_VARIABLE) or _SIZE
    try:
        return byte_count(text)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"{SIZE_VARIABLE}: {error}") from error


def _make_named_folder(name: str, apart_from: Iterable[Path]) -> Path:
    """The folder that --compile-cache names, made with mode 700 if there is none."""
    folder = Path(name).absolute()
    try:
        _check_apart(folder, apart_from)
        folder.mkdir(mode=_OWN_MODE, parents=True, exist_ok=True)
        check_only_the_user_writes(folder.resolve())
    except (InputError, OSError) as error:
        raise InputError(f"--compile-cache: {error}") from error
    return folder


def _check_apart(folder: Path, apart_from: Iterable[Path]) -> None:
    """Raises InputError for a cache in a folder that somebody may have given away."""
    for path in apart_from:
        given, around = path.resolve(), (folder.resolve(), *folder.resolve().parents)
        if given.is_file():  # it came with its folder
            given = given.parent
            if _holds_home(given):  # which nobody was given: there what lies right beside the file counts
                around = around[:2]
        if given in around:
            raise InputError(f"expected a folder outside of {given}, since what lies in it is run, found {folder}")


def _holds_home(folder: Path) -> bool:
    try:
        home = Path.home().resolve()
    except RuntimeError:
        return False
    return folder == home or folder in home.parents


def check_only_the_user_writes(path: Path) -> None:
    """Raises InputError for a folder or file that is another user's, or that others may write to."""
    if not has_owners_and_modes():
        return
    what = "folder" if path.is_dir() else "file"
    # Of a link, both: who made it decides where it leads.
    status = path.stat()
    owners = {path.lstat().st_uid, status.st_uid}
    if others := owners - {os.geteuid()}:
        raise InputError(f"expected a {what} of user {os.geteuid()}, found one of user {min(others)}: {path}")
    if status.st_mode & _OTHERS_MAY_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        raise InputError(f"expected a {what} that only its owner may write to, found mode {mode:o}: {path}")
