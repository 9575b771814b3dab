"""The memory and the CPUs of this host, as far as this process may use them; the only place that asks for them.

psutil knows the machine on Linux, macOS and Windows. On Linux control groups may leave less of it (see `cgroups`), and
Slurm may have promised less than it enforces.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from spikejax.hardware import cgroups

_SLURMS_UNITS = {"": 2**20, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@functools.cache
def processor_name() -> str:
    """What programs for this machine's CPU may use, as a short text: those for another CPU may not run here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        wanted = ("model name", "flags", "Features", "CPU part")
        text = "\n".join(next((line for line in lines if line.startswith(name)), "") for name in wanted)
    except OSError:
        text = platform.processor()
    return f"{platform.machine()} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def used_host_bytes() -> int:
    """The memory of this process, now."""
    return _psutil().Process().memory_info().rss


def peak_host_bytes() -> int:
    """The largest memory that this process has had."""
    if sys.platform == "win32":
        return _psutil().Process().memory_info().peak_wset
    import resource  # not on Windows; without psutil, which an accelerator's machine may lack

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def total_host_bytes(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int:
    """The memory of the host, or what control groups and Slurm give us of it.

    Args:
        root: the folder of proc/ and sys/.
        environment: the variables that Slurm sets.
    """
    limits = [group.limit for group in cgroups.memory_groups(root)]
    return min(_psutil().virtual_memory().total, *limits, _slurms_bytes(environment))


def available_host_bytes(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> int:
    """The memory that this process can still have without swapping and without being killed for it; never below 0.

    Args:
        root: the folder of proc/ and sys/.
        environment: the variables that Slurm sets.
    """
    rest = [group.limit - group.used for group in cgroups.memory_groups(root)]
    promised = _slurms_bytes(environment)
    if promised < sys.maxsize:
        rest.append(promised - _family_bytes())
    return max(0, min([_psutil().virtual_memory().available, *rest]))


def cpu_count(root: Path = Path("/")) -> int:
    """The CPUs that this process may run on and has the time of, at least 1; part of a CPU counts as one.

    Args:
        root: the folder of proc/ and sys/.
    """
    process = _psutil().Process()
    # macOS cannot bind a process to CPUs.
    count = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else _psutil().cpu_count() or 1
    quota = cgroups.cpu_quota(root)
    return max(1, count if quota is None else min(count, math.ceil(quota)))


def _slurms_bytes(environment: Mapping[str, str]) -> int:
    """What Slurm promised the job on this node; the largest number where it said nothing, or all there is (0)."""
    per_node = _size(environment.get("SLURM_MEM_PER_NODE", ""))
    shares = (("SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"), ("SLURM_MEM_PER_GPU", "SLURM_GPUS_ON_NODE"))
    for each, number in () if per_node else shares:
        count = environment.get(number, "")
        known = re.fullmatch(r"[0-9]{1,9}", count) is not None
        per_node = per_node or (_size(environment.get(each, "")) * int(count) if known else 0)
    return per_node or sys.maxsize


def _size(text: str) -> int:
    """Bytes of a size in Slurm's notation, in MiB without a unit; 0 for what is none."""
    match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)", text.strip().upper())
    return int(match[1]) * _SLURMS_UNITS[match[2]] if match else 0


def _family_bytes() -> int:
    """The memory of this process and of those that it started."""
    psutil = _psutil()
    total = used_host_bytes()
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


def _psutil() -> ModuleType:
    import psutil  # when somebody asks: on each system it imports what that system has

    return psutil
