"""One process at a time in an output or a workdir: a second one is refused, and does not write between its files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from spikejax.errors import InputError, one_line
from spikejax.io.disk_space import is_full_disk

LOCK = ".lock"


@contextmanager
def working_alone(lock: Path, place: Path) -> Iterator[None]:
    """Keeps other processes out for the time of the block; the system lets go when the process ends, however it ends.

    Where the disk has no locks, as some network disks, that is said and the block goes on.

    Args:
        lock: a file, which is made and stays; the block may remove it, with the folder that it is in.
        place: what is worked on, for the message.

    Raises:
        InputError: another process does the same, or the file cannot be made.
    """
    held = filelock.FileLock(lock, blocking=False)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except filelock.Timeout:
        raise InputError(f"expected to work alone, found another process at work: {place}") from None
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise InputError(f"expected a place to write to, found {error.strerror}: {lock}") from error
    except (NotImplementedError, OSError) as error:
        if is_full_disk(error):
            raise
        note = f"no locks on this disk ({one_line(error)}), let no other run work on {place}"
        print(f"spikejax: note: {note}", file=sys.stderr)
        yield
        return
    try:
        if not lock.exists():  # the one before us has finished between our opening it and its going
            raise InputError(f"expected to work alone, found another process that has just ended: {place}")
        yield
    finally:
        held.release()
