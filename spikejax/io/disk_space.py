"""Room on disks: whether an error says that there is none, and the bytes that may still be written to a folder."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikejax.io.mounts import mount_lines

# What the system says where there is no room: on the disk, in a quota, for a file of that size (`ulimit -f`).
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries that are not in Python (tensorstore, safetensors, FFmpeg) hand on its words alone.
_IN_WORDS = tuple(os.strerror(number) for number in _NO_ROOM)
# Of quotactl(2): the command that asks, for users and groups, and the unit of limits.
_GET_QUOTA, _USERS, _GROUPS, _LIMIT_UNIT = 0x800007, 0, 1, 1024


class _Quota(ctypes.Structure):
    """The kernel's `struct if_dqblk`."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("hard_limit", "soft_limit", "used", "inodes_hard", "inodes_soft")),
        *((name, ctypes.c_uint64) for name in ("inodes", "block_time", "inode_time")),
        ("valid", ctypes.c_uint32),
    ]


def is_full_disk(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that there is no room: on the disk, in a quota, for so large a file."""
    return full_disk_words(error) is not None


def full_disk_words(error: BaseException | None) -> str | None:
    """The system's words, with the file if it is known, for there being no room; None if that is not what failed."""
    passed: set[int] = set()
    while error is not None and id(error) not in passed:
        passed.add(id(error))
        words = next((words for words in _IN_WORDS if words in str(error)), None)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            words = os.strerror(error.errno)
        if words is not None:
            file = getattr(error, "filename", None)
            return words if file is None else f"{words}: {file}"
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def full_disk_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Has an error of the block that says that there is no room, but not where, name this file or folder.

    What a file object raises names no file, and a user has more than one disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM and error.filename is None:
            error.filename = os.fspath(path)
        raise


def says_full_disk(text: str) -> bool:
    """Whether a text has the system's words for a full disk in it."""
    return any(words in text for words in _IN_WORDS)


def free_bytes(folder: Path) -> int:
    """The bytes that this user may still write to a folder, or to where it will be made.

    A quota that the system tells users of counts: those of local disks (Linux), and those that a network disk, or a
    project's quota, shows as its free space.
    """
    while not folder.exists():
        folder = folder.parent
    return min([shutil.disk_usage(folder).free, *_left_by_quotas(folder)])


def _left_by_quotas(folder: Path) -> Iterator[int]:
    if not sys.platform.startswith("linux"):
        return
    device = _device_of(folder)
    if device is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for kind, owner in ((_USERS, os.getuid()), (_GROUPS, os.getgid())):
        quota, command = _Quota(), ctypes.c_int((_GET_QUOTA << 8 | kind) - 2**32)
        if libc.quotactl(command, os.fsencode(device), owner, ctypes.byref(quota)) == 0 and quota.hard_limit:
            yield max(0, quota.hard_limit * _LIMIT_UNIT - quota.used)


def _device_of(folder: Path) -> str | None:
    """The block device that a folder lies on; None if there is none, as on a network disk."""
    number = os.stat(folder).st_dev
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for line in mount_lines():
        ours, _, tree = line.partition(" - ")
        if wanted in ours.split(" ")[2:3] and tree.split(" ")[1:2] and tree.split(" ")[1].startswith("/dev/"):
            return tree.split(" ")[1]
    return None
