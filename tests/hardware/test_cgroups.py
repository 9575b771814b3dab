"""Limits of control groups, on trees that look as Slurm, systemd and containers make them."""

from fractions import Fraction
from pathlib import Path

import pytest

from spikejax.hardware.cgroups import MemoryGroup, cpu_quota, memory_groups

GIB = 2**30
UNIFIED = "30 24 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
OF_MEMORY = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
OF_CPU = "36 31 0:33 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"


def write(folder: Path, **files: object) -> None:
    """Writes the files of a group; `memory_max` stands for memory.max."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{content}\n")


def machine(root: Path, *, cgroup: str, mountinfo: str = "") -> Path:
    """A machine on which this process is in a group, of which it returns /sys/fs/cgroup."""
    write(root / "proc" / "self", cgroup=cgroup)
    if mountinfo:
        write(root / "proc" / "self", mountinfo=f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mountinfo}")
    groups = root / "sys" / "fs" / "cgroup"
    groups.mkdir(parents=True, exist_ok=True)
    return groups


@pytest.mark.parametrize("mountinfo", ["", UNIFIED.format(root="/")], ids=["not said", "said"])
def test_a_limit_of_any_group_around_ours(mountinfo: str, tmp_path: Path) -> None:
    """Catches a limit that is looked for at the root alone, or in the group alone: Slurm's is between them."""
    groups = machine(tmp_path, cgroup="0::/system.slice/slurmstepd.scope/job_7/step_0", mountinfo=mountinfo)
    job = groups / "system.slice" / "slurmstepd.scope" / "job_7"
    write(job / "step_0", memory_max="max", memory_high="max", memory_current=1 * GIB)
    write(job, memory_max=3 * GIB, memory_current=1 * GIB)
    write(groups / "system.slice", memory_max=64 * GIB, memory_high=60 * GIB, memory_current=5 * GIB)
    assert memory_groups(tmp_path) == [MemoryGroup(3 * GIB, 1 * GIB), MemoryGroup(60 * GIB, 5 * GIB)]


def test_the_page_cache_is_not_in_use(tmp_path: Path) -> None:
    """Catches a data set that was read once and seems to fill the memory, and a tmpfs that seems to be droppable."""
    groups = machine(tmp_path, cgroup="0::/", mountinfo=UNIFIED.format(root="/"))
    stat = f"anon {GIB}\nfile {5 * GIB}\nshmem {2 * GIB}\ninactive_file {2 * GIB}\nactive_file {GIB}\n"
    write(groups, memory_max=8 * GIB, memory_current=7 * GIB, memory_stat=stat)
    assert memory_groups(tmp_path) == [MemoryGroup(8 * GIB, 4 * GIB)]


@pytest.mark.parametrize("mountinfo", ["", OF_MEMORY.format(root="/")], ids=["not said", "said"])
def test_version_1(mountinfo: str, tmp_path: Path) -> None:
    """Catches a limit of the older control groups not seen, and their "no limit" taken for one."""
    cgroup = "5:cpu,cpuacct:/other\n4:memory:/slurm/uid_1/job_7\n1:name=systemd:/\n0::/"
    groups = machine(tmp_path, cgroup=cgroup, mountinfo=mountinfo) / "memory"
    no_limit = 2**63 - 4096
    write(groups, memory_limit_in_bytes=no_limit, memory_usage_in_bytes=90 * GIB)
    stat = f"inactive_file 5\nactive_file 6\ntotal_inactive_file {GIB}\ntotal_active_file {GIB}"
    job = groups / "slurm" / "uid_1" / "job_7"
    write(job, memory_limit_in_bytes=6 * GIB, memory_usage_in_bytes=5 * GIB, memory_stat=stat)
    write(groups / "slurm", memory_limit_in_bytes=50 * GIB, memory_usage_in_bytes=20 * GIB)
    assert memory_groups(tmp_path) == [MemoryGroup(6 * GIB, 3 * GIB), MemoryGroup(50 * GIB, 20 * GIB)]


@pytest.mark.parametrize(
    ("cgroup", "subtree"),
    [("/docker/abc/worker", "/docker/abc"), ("/worker", "/"), ("/../other/worker", "/../other")],
    ids=["without a namespace", "with a namespace", "moved from outside"],
)
def test_within_a_container(cgroup: str, subtree: str, tmp_path: Path) -> None:
    """Catches a container's limit not seen: its group has one name outside, and another place inside."""
    lines, mounts = f"4:memory:{cgroup}\n0::{cgroup}", (OF_MEMORY + UNIFIED).format(root=subtree)
    groups = machine(tmp_path, cgroup=lines, mountinfo=mounts)
    write(groups, memory_max=4 * GIB, memory_current=GIB)
    write(groups / "memory", memory_limit_in_bytes=2 * GIB, memory_usage_in_bytes=GIB)
    expected = [MemoryGroup(4 * GIB, GIB), MemoryGroup(2 * GIB, GIB)]
    assert memory_groups(tmp_path) == expected
    if ".." not in cgroup:
        write(groups / "worker", memory_max=GIB, memory_current=0)
        assert memory_groups(tmp_path) == [MemoryGroup(GIB, 0), *expected]


def test_no_control_groups(tmp_path: Path) -> None:
    """Catches a system without them, or with files that are not ours to read, that ends in an error."""
    assert memory_groups(tmp_path) == []
    assert cpu_quota(tmp_path) is None
    groups = machine(tmp_path, cgroup="0::/", mountinfo=UNIFIED.format(root="/"))
    write(groups, memory_max="max", memory_current=GIB, cpu_max="max 100000")
    assert memory_groups(tmp_path) == []
    assert cpu_quota(tmp_path) is None


def test_cpus_of_version_2(tmp_path: Path) -> None:
    """Catches a quota of a group further out that is not seen."""
    groups = machine(tmp_path, cgroup="0::/pod/container", mountinfo=UNIFIED.format(root="/"))
    write(groups / "pod" / "container", cpu_max="max 100000")
    write(groups / "pod", cpu_max="150000 100000")
    assert cpu_quota(tmp_path) == Fraction(3, 2)


def test_cpus_of_version_1(tmp_path: Path) -> None:
    """Catches a quota of -1, which is none, and the smallest of several that is not taken."""
    groups = machine(tmp_path, cgroup="5:cpu,cpuacct:/a/b", mountinfo=OF_CPU.format(root="/")) / "cpu,cpuacct"
    write(groups, cpu_cfs_quota_us=-1, cpu_cfs_period_us=100_000)
    write(groups / "a", cpu_cfs_quota_us=400_000, cpu_cfs_period_us=100_000)
    write(groups / "a" / "b", cpu_cfs_quota_us=800_000, cpu_cfs_period_us=100_000)
    assert cpu_quota(tmp_path) == 4


GARBLED = [
    *(b"", b"\n", b"x", b":", b"0", b"-", b" - ", b" - cgroup", b" - cgroup ", b"a b c d e f - cgroup2 x"),
    *(b"\xff\xfe", b"\0", b"nonsense 100000", b"1 2 3", b"100000", b"100000 0", b"0 100000", b"-1"),
    *(b"9" * 5000, b"1e9", "\u0661".encode()),  # more digits than Python reads, and an Arabic one
]


@pytest.mark.parametrize("text", GARBLED)
@pytest.mark.parametrize(
    "name", ["cgroup", "mountinfo", "max", "current", "stat", "cpu.max", "limit_in_bytes", "usage_in_bytes", "quota"]
)
def test_what_the_kernel_would_not_write(name: str, text: bytes, tmp_path: Path) -> None:
    """Catches a command that ends at a file of a sandbox, or of a kernel to come, which it could do without."""
    cgroup, mounts = "4:memory:/\n3:cpu:/\n0::/", UNIFIED + OF_MEMORY + OF_CPU
    groups = machine(tmp_path, cgroup=cgroup, mountinfo=mounts.format(root="/"))
    stat = f"inactive_file {GIB}\ntotal_inactive_file {GIB}"
    write(groups, memory_max=4 * GIB, memory_current=2 * GIB, memory_stat=stat, cpu_max="300000 100000")
    write(groups / "memory", memory_limit_in_bytes=3 * GIB, memory_usage_in_bytes=2 * GIB, memory_stat=stat)
    write(groups / "cpu,cpuacct", cpu_cfs_quota_us=200_000, cpu_cfs_period_us=100_000)
    whole = [MemoryGroup(4 * GIB, GIB), MemoryGroup(3 * GIB, GIB)]
    assert (memory_groups(tmp_path), cpu_quota(tmp_path)) == (whole, Fraction(2))
    paths = {
        "cgroup": tmp_path / "proc/self/cgroup",
        "mountinfo": tmp_path / "proc/self/mountinfo",
        "cpu.max": groups / "cpu.max",
        "quota": groups / "cpu,cpuacct" / "cpu.cfs_quota_us",
    }
    file = paths.get(name) or next(groups.rglob(f"memory.{name}"))
    file.write_bytes(text + b"\n" + (stat.encode() if name == "stat" else b""))
    memory, quota = memory_groups(tmp_path), cpu_quota(tmp_path)
    assert all(group.limit >= 0 and group.used >= 0 for group in memory)
    if name not in ("cgroup", "mountinfo"):  # one file alone says nothing any more
        assert len(set(whole) & set(memory)) >= 1
        assert quota in (Fraction(1), Fraction(2), Fraction(3))


def test_more_page_cache_than_memory_in_use(tmp_path: Path) -> None:
    """Catches a use below nothing: the kernel counts the two at different times."""
    groups = machine(tmp_path, cgroup="0::/", mountinfo=UNIFIED.format(root="/"))
    write(groups, memory_max=4 * GIB, memory_current=GIB, memory_stat=f"inactive_file {2 * GIB}")
    assert memory_groups(tmp_path) == [MemoryGroup(4 * GIB, 0)]


def test_a_tree_whose_name_has_a_space(tmp_path: Path) -> None:
    """Catches a limit that is not seen where mountinfo writes a space in octal, and a group in another alphabet."""
    mounts = UNIFIED.format(root="/").replace("/sys/fs/cgroup", "/control\\040groups")
    machine(tmp_path, cgroup="0::/j\u00f6b 7", mountinfo=mounts)
    write(tmp_path / "control groups" / "j\u00f6b 7", memory_max=2 * GIB, memory_current=GIB)
    assert memory_groups(tmp_path) == [MemoryGroup(2 * GIB, GIB)]
