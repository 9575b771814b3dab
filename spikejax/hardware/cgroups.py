"""What Linux control groups leave to this process: Slurm's, systemd's, Kubernetes' and Docker's limits are such.

A process is in a group of a tree, and every group up to the root may have a limit of its own. Where that is, and
where the tree is mounted, /proc/self/cgroup and /proc/self/mountinfo say; a container that sees only its own part of
the tree has its group at the mount point. Version 2 has one tree, version 1 one for each controller, and a machine may
have both. `root` stands for / in all functions, and where there are no control groups they know of no limit.

Memory in use counts without the page cache, which the kernel drops before it refuses anything. What lies on a tmpfs is
no page cache: it is written nowhere else. A line that is not as the kernel writes it says nothing.

See https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

# Where distributions mount the trees, for a process that may not read /proc/self/mountinfo.
_USUAL_PLACES = {
    "": ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
    "memory": ("/sys/fs/cgroup/memory",),
    "cpu": ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"),
}
# Version 1 says "no limit" by the largest multiple of a page that 63 bits hold.
_NO_LIMIT = 2**62


@dataclass(frozen=True)
class MemoryGroup:
    """The memory of a control group.

    Attributes:
        limit: bytes that its processes may use together.
        used: bytes in use that cannot be dropped.
    """

    limit: int
    used: int


def memory_groups(root: Path = Path("/")) -> list[MemoryGroup]:
    """The groups that this process is in, from its own to the root, as far as they have a limit."""
    version_2 = (_memory_of_version_2(folder) for folder in _folders(root, ""))
    version_1 = (_memory_of_version_1(folder) for folder in _folders(root, "memory"))
    return [group for group in (*version_2, *version_1) if group is not None]


def cpu_quota(root: Path = Path("/")) -> Fraction | None:
    """The CPUs whose whole time the groups leave, the smallest of all limits; None without a limit."""
    quotas = [_quota(_text(folder / "cpu.max")) for folder in _folders(root, "")]
    for folder in _folders(root, "cpu"):
        quotas.append(_quota(f"{_text(folder / 'cpu.cfs_quota_us')} {_text(folder / 'cpu.cfs_period_us')}"))
    return min((quota for quota in quotas if quota is not None), default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yields the folders of our group and of those around it, in the tree of a controller ("": that of version 2)."""
    group = _own_group(root, controller)
    if group is None:
        return
    yielded = set()
    for subtree, mounted in _mounts(root, controller):
        inside = group.relative_to(subtree) if group.is_relative_to(subtree) else PurePosixPath()
        folder = root.joinpath(*mounted.parts[1:])
        for path in (folder / inside, *(folder / parent for parent in inside.parents)):
            if path not in yielded:
                yielded.add(path)
                yield path


def _own_group(root: Path, controller: str) -> PurePosixPath | None:
    """This process's group, such as /system.slice/job; lines of the file are NUMBER:CONTROLLERS:GROUP."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3 and controller in fields[1].split(","):
            group = fields[2]
            # A group outside of what the process sees reads /../other; the mount point is all there is of it here.
            return PurePosixPath("/") if ".." in PurePosixPath(group).parts else PurePosixPath(group)
    return None


def _mounts(root: Path, controller: str) -> Iterator[tuple[PurePosixPath, PurePosixPath]]:
    """Yields (group, folder where its subtree is mounted) for the tree of a controller."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        ours, tree = before.split(" "), after.split(" ")
        # Of version 1, the controllers stand among the options of the tree, which are the last field.
        wanted = tree[0] == "cgroup2" if controller == "" else tree[0] == "cgroup" and controller in tree[-1].split(",")
        if wanted and len(ours) > 4:
            yield PurePosixPath(_unescaped(ours[3])), PurePosixPath(_unescaped(ours[4]))
    for usual in _USUAL_PLACES[controller]:
        yield PurePosixPath("/"), PurePosixPath(usual)


def _memory_of_version_2(folder: Path) -> MemoryGroup | None:
    # Beyond "high" a process is slowed down until it hardly moves; beyond "max" it is killed.
    limits = [_number(folder / name) for name in ("memory.max", "memory.high")]
    limit, used = min((one for one in limits if one is not None), default=None), _number(folder / "memory.current")
    if limit is None or used is None:
        return None
    return MemoryGroup(limit, max(0, used - _droppable(folder, prefix="")))


def _memory_of_version_1(folder: Path) -> MemoryGroup | None:
    limit, used = _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.usage_in_bytes")
    if limit is None or used is None or limit >= _NO_LIMIT:
        return None
    return MemoryGroup(limit, max(0, used - _droppable(folder, prefix="total_")))


def _droppable(folder: Path, *, prefix: str) -> int:
    """Bytes of page cache; `prefix` of the counts that include the groups within."""
    fields = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
    return sum(_whole(fields.get(prefix + name, "")) or 0 for name in ("inactive_file", "active_file"))


def _quota(text: str) -> Fraction | None:
    """CPUs, of "QUOTA PERIOD", the microseconds that a period may use of it; "max" and -1 are no limit."""
    numbers = [_whole(word) for word in text.split()]
    if len(numbers) != 2 or not numbers[0] or not numbers[1]:
        return None
    return Fraction(numbers[0], numbers[1])


def _number(path: Path) -> int | None:
    return _whole(_text(path).strip())


def _whole(text: str) -> int | None:
    """The number, from 0 and of 64 bits at most, that a text says; None for any other text."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None


def _unescaped(text: str) -> str:
    """A path of mountinfo, which writes a space by its octal number."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _text(path: Path) -> str:
    """What a file says, with names of any bytes; nothing where it is not there, or is not for us to read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):  # the latter of a path with a zero byte
        return ""
