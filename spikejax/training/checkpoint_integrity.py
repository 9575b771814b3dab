"""What disks do to checkpoints: damage, and no space left."""

import logging
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from spikejax.errors import InputError, one_line
from spikejax.io.disk_space import free_bytes, is_full_disk, says_full_disk
from spikejax.io.json_files import read_json, write_json
from spikejax.io.paths import UserPath

# Hidden, so that nobody takes it for a part of the checkpoint. It moves, and goes, with the folder.
_SUMS = ".sums.json"
_BYTES_AT_ONCE = 2**24
_CLOSED_LOOP = "Event loop is closed"


def write_sums(folder: Path) -> None:
    """Writes the length and checksum of every file in the subfolders of `folder` into it."""
    write_json(folder / _SUMS, _sums(folder))


def damage(folder: UserPath) -> str | None:
    """What is wrong with a folder that `write_sums` was called on, None if nothing is.

    Of a folder without sums nothing is known.
    """
    try:
        expected = read_json(folder / _SUMS)
    except InputError as error:
        return str(error)
    if expected is None or not isinstance(folder, Path):
        return None
    actual = _sums(folder)
    for name in sorted(expected.keys() | actual.keys()):
        if name not in actual:
            return f"the file {name} is missing"
        if expected.get(name) != actual[name]:
            return f"the file {name} is not as it was written"
    return None


@contextmanager
def full_disk_explained() -> Iterator[None]:
    """Turns an error of the block, or function, that comes from a full disk into an `InputError`.

    The threads that orbax saves in log such an error with its traceback, several times; they are kept from it. So are
    those of the array storage below, which answer to an event loop that the first error has closed.
    """
    logger = logging.getLogger("absl")  # orbax's
    logger.addFilter(_says_something_else)
    hooks = sys.excepthook, sys.unraisablehook
    sys.excepthook, sys.unraisablehook = _without_closed_loops(*hooks)
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            logger.removeFilter(_says_something_else)
            sys.excepthook, sys.unraisablehook = hooks
            raise
        raise InputError(
            "no space left on the disk; checkpoints are whole and the same command continues from them "
            f"({type(error).__name__}: {one_line(error)})"
        ) from error  # the filters stay: threads that still save end with the process
    logger.removeFilter(_says_something_else)
    sys.excepthook, sys.unraisablehook = hooks


def check_space(folder: UserPath, needed: int) -> None:
    """Raises InputError if less than `needed` bytes are free where `folder` is, or will be made."""
    if not isinstance(folder, Path):  # a bucket has room
        return
    free = free_bytes(folder)
    if free < needed:
        raise InputError(f"expected {needed / 1e6:,.1f} MB free for checkpoints, found {free / 1e6:,.1f} MB: {folder}")


def _sums(folder: Path) -> dict[str, list[int]]:
    """[bytes, CRC-32] by file, of those in subfolders: orbax's own beside them change until the very end."""
    files = sorted(path for path in folder.glob("*/**/*") if path.is_file())
    return {str(path.relative_to(folder)): [path.stat().st_size, _checksum(path)] for path in files}


def _checksum(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while block := file.read(_BYTES_AT_ONCE):
            total = zlib.crc32(block, total)
    return total


def _without_closed_loops(
    uncaught: Callable[..., Any], unraisable: Callable[..., Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The hooks that print what nobody catches, but not that a loop is closed: what closed it is said."""

    def is_closed_loop(error: BaseException | None) -> bool:
        return isinstance(error, RuntimeError) and str(error) == _CLOSED_LOOP

    def print_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not is_closed_loop(error):
            uncaught(kind, error, traceback)

    def print_unraisable(event: Any) -> None:
        if not is_closed_loop(event.exc_value):
            unraisable(event)

    return print_uncaught, print_unraisable


def _says_something_else(record: logging.LogRecord) -> bool:
    """Whether a line of a log is about anything but a full disk."""
    error = record.exc_info[1] if record.exc_info else None
    return not is_full_disk(error) and not says_full_disk(record.getMessage())
