"""What the host has for this process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from spikejax.hardware.host import available_host_bytes, cpu_count, peak_host_bytes, total_host_bytes, used_host_bytes
from tests.hardware.test_cgroups import UNIFIED, machine, write

MIB = 2**20


def limited(root: Path, *, limit: int, current: int) -> Path:
    """A machine whose control group leaves so many bytes."""
    write(machine(root, cgroup="0::/", mountinfo=UNIFIED.format(root="/")), memory_max=limit, memory_current=current)
    return root


def test_the_host_says_what_it_has() -> None:
    """Catches a number in other units."""
    assert 10**7 < available_host_bytes() <= total_host_bytes() < 10**14


def test_a_control_group_leaves_less(tmp_path: Path) -> None:
    """Catches that of the whole machine where a container has less, and a group that is over its limit."""
    assert available_host_bytes(limited(tmp_path, limit=100 * MIB, current=60 * MIB), {}) == 40 * MIB
    assert total_host_bytes(tmp_path, {}) == 100 * MIB
    assert available_host_bytes(limited(tmp_path, limit=100 * MIB, current=160 * MIB), {}) == 0
    limited(tmp_path, limit=2**50, current=0)
    assert total_host_bytes(tmp_path, {}) == psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("variables", "promised"),
    [
        ({"SLURM_MEM_PER_NODE": "2048"}, 2048 * MIB),
        ({"SLURM_MEM_PER_NODE": "2G"}, 2048 * MIB),
        ({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4"}, 2048 * MIB),
        ({"SLURM_MEM_PER_GPU": "1024", "SLURM_GPUS_ON_NODE": "2"}, 2048 * MIB),
        ({"SLURM_MEM_PER_NODE": "0"}, None),  # all that the node has
        ({"SLURM_MEM_PER_CPU": "512"}, None),
        ({"SLURM_MEM_PER_NODE": "lots"}, None),
        ({"SLURM_MEM_PER_NODE": "9" * 5000}, None),  # more digits than Python reads
        ({"SLURM_MEM_PER_NODE": "-1"}, None),
        ({"SLURM_MEM_PER_NODE": "\u0661G"}, None),
        ({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "9" * 5000}, None),
        ({"SLURM_MEM_PER_CPU": "512", "SLURM_CPUS_ON_NODE": "4(x2)"}, None),
        ({}, None),
    ],
)
def test_what_slurm_promised(variables: dict[str, str], promised: int | None, tmp_path: Path) -> None:
    """Catches a job that is ended for using what the node has and the job has not; and a promise of nothing."""
    total = total_host_bytes(tmp_path, variables)
    assert total == (psutil.virtual_memory().total if promised is None else promised)
    if promised is not None:
        used = used_host_bytes()
        assert promised - 3 * used - 10**9 < available_host_bytes(tmp_path, variables) <= promised - used // 2


def test_the_cpus_of_this_machine(tmp_path: Path) -> None:
    """Catches none, and more than there are."""
    assert 1 <= cpu_count() <= cpu_count(tmp_path) <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("quota", "count"), [("50000", 1), ("100000", 1), ("250000", 3), ("1600000", 8), ("max", 8)])
def test_cpus_whose_time_a_control_group_gives(
    quota: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches workers for CPUs whose time there is not, none for half a CPU, and more than the process may run on."""
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda process: [*range(8)], raising=False)
    write(machine(tmp_path, cgroup="0::/", mountinfo=UNIFIED.format(root="/")), cpu_max=f"{quota} 100000")
    assert cpu_count(tmp_path) == count


@pytest.mark.skipif(not hasattr(psutil.Process, "cpu_affinity"), reason="this system cannot bind processes to CPUs")
def test_a_process_that_is_bound_to_one_cpu() -> None:
    """Catches the CPUs of the machine for those of the process."""
    program = (
        "import psutil; process = psutil.Process(); process.cpu_affinity(process.cpu_affinity()[:1]); "
        "from spikejax.hardware.host import cpu_count; print(cpu_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


def test_the_peak_of_the_hosts_memory() -> None:
    """Catches a peak in another unit, one of other programs, and one that falls when memory is given back."""
    before, size = peak_host_bytes(), 64 * MIB
    block = np.ones(before - used_host_bytes() + size, np.uint8)  # as much as there ever was, and the size beside it
    during = peak_host_bytes()
    assert 0.75 * size < during - before < 2 * size
    del block
    assert peak_host_bytes() == during
