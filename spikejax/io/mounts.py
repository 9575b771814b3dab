"""What is mounted where, as Linux says it."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")


def mount_lines() -> list[str]:
    """A line for each mount, see proc_pid_mountinfo(5); none where the system has no such list."""
    try:
        return os.fsdecode(_MOUNTS.read_bytes()).splitlines()
    except OSError:
        return []
