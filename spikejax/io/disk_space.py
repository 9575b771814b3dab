"""The bytes that may still be written to a folder: what is free on its disk, and what a quota leaves of it."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from spikejax.io.mounts import mount_lines

# What the system says where there is no room: on the disk, in a quota, for a file of that size.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of quotactl(2): the command that asks, for users and groups, and the unit of limits.
_GET_QUOTA, _USERS, _GROUPS, _LIMIT_UNIT = 0x800007, 0, 1, 1024


class _Quota(ctypes.Structure):
    """The kernel's `struct if_dqblk`."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("hard_limit", "soft_limit", "used", "inodes_hard", "inodes_soft")),
        *((name, ctypes.c_uint64) for name in ("inodes", "block_time", "inode_time")),
        ("valid", ctypes.c_uint32),
    ]


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
