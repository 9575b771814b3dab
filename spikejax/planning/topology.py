"""Devices that one plans for, from a name such as "v5e:16x16", "h100:8" or "cpu:8"; only the last have to exist.

TPUs and GPUs are described by their compilers (libtpu; the CUDA plugin of JAX), which need no such device.
"""

import contextlib
import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from spikejax import extras
from spikejax.errors import InputError
from spikejax.hardware.chips import CHIPS, Chip
from spikejax.hardware.host import total_host_bytes

# A machine of either GPU holds eight.
_GPUS_OF_A_HOST = 8
_EXAMPLES = "v5e:4x4, v5p:2x2x4, h100:8 or cpu:8"

# What XLA for GPUs has to know of a card in order to compile for it (stream_executor's GpuTargetConfigProto), from the
# cards' `cudaDeviceProp` and NVIDIA's CUDA programming guide, table "technical specifications per compute capability".
_GPU_LIMITS = dict(
    threads_per_block_limit=1024,
    threads_per_warp=32,
    threads_per_core_limit=2048,
    shared_memory_per_block=49152,
    block_dim_limit_x=2147483647,
    block_dim_limit_y=65535,
    block_dim_limit_z=65535,
    registers_per_core_limit=65536,
    registers_per_block_limit=65536,
)
_ADA = dict(
    fpus_per_core=128,
    clock_rate_ghz=2.52,
    threads_per_core_limit=1536,
    shared_memory_per_core=102400,
    shared_memory_per_block_optin=101376,
)
_GPU_CARDS = {
    "a100": (
        "NVIDIA A100-SXM4-80GB",
        (8, 0),
        dict(
            core_count=108,
            fpus_per_core=64,
            clock_rate_ghz=1.41,
            l2_cache_size=41943040,
            shared_memory_per_core=167936,
            shared_memory_per_block_optin=166912,
        ),
    ),
    "h100": (
        "NVIDIA H100 80GB HBM3",
        (9, 0),
        dict(
            core_count=132,
            fpus_per_core=128,
            clock_rate_ghz=1.98,
            l2_cache_size=52428800,
            shared_memory_per_core=233472,
            shared_memory_per_block_optin=232448,
        ),
    ),
    "h200": (
        "NVIDIA H200",
        (9, 0),
        dict(
            core_count=132,
            fpus_per_core=128,
            clock_rate_ghz=1.98,
            l2_cache_size=52428800,
            shared_memory_per_core=233472,
            shared_memory_per_block_optin=232448,
        ),
    ),
    "b200": (
        "NVIDIA B200",
        (10, 0),
        dict(
            core_count=148,
            fpus_per_core=128,
            clock_rate_ghz=1.965,
            l2_cache_size=132644864,
            shared_memory_per_core=233472,
            shared_memory_per_block_optin=232448,
        ),
    ),
    "l40s": ("NVIDIA L40S", (8, 9), _ADA | dict(core_count=142, l2_cache_size=100663296)),
    "rtx4090": ("NVIDIA GeForce RTX 4090", (8, 9), _ADA | dict(core_count=128, l2_cache_size=75497472)),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices to plan for.

    Attributes:
        name: as the user wrote it.
        platform: "tpu", "cuda" or "cpu".
        devices: to compile for.
        chip: peaks of each device; None for CPUs, whose peaks are not listed.
        memory_bytes: what a program may use on each device.
    """

    name: str
    platform: str
    devices: Sequence[jax.Device]
    chip: Chip | None
    memory_bytes: int

    @property
    def hosts(self) -> int:
        """Machines that the devices belong to."""
        if self.platform == "cuda":
            return -(-len(self.devices) // _GPUS_OF_A_HOST)
        return len({device.process_index for device in self.devices})

    def described(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which programs for its devices are traced and lowered."""
        return lowering_for_gpu(self.devices[0].device_kind) if self.platform == "cuda" else contextlib.nullcontext()

    @property
    def link_bandwidth(self) -> float | None:
        """Bytes per second that leave a device, at best, in communication between all of them."""
        if self.chip is None:
            return None
        return self.chip.link_bandwidth if self.hosts == 1 else self.chip.cluster_bandwidth


def lowering_for_gpu(kind: str) -> contextlib.AbstractContextManager[Any]:
    """The context in which programs with kernels are traced and lowered for a GPU that need not be here.

    From 0.12 on JAX lowers kernels for Triton where the machine has a GPU, or where this says which one is meant.

    Args:
        kind: what JAX calls the card, such as "NVIDIA H100 80GB HBM3".
    """
    # JAX has a table of cards by name; an L40S, which is not in it, has the instructions of an L40.
    device = jax.sharding.AbstractDevice(device_kind=kind.replace("L40S", "L40"), num_cores=None, platform="gpu")
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=device))


def open_topology(name: str) -> Topology:
    """The devices that `name` means.

    Args:
        name: KIND:SIZE, KIND a chip of `spikejax.hardware.chips` or "cpu", SIZE as in 16x16 (chips along each axis of
            a TPU pod) or a number of devices.

    Raises:
        InputError: no such kind or size, or the compiler for it is not installed.
    """
    kind, _, size = name.partition(":")
    if kind not in CHIPS and kind != "cpu":
        raise InputError(f"--topology: expected a chip of {', '.join(CHIPS)} or cpu, as in {_EXAMPLES}, found {name!r}")
    several_axes = kind in CHIPS and CHIPS[kind].platform == "tpu"
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){1,2}" if several_axes else r"[1-9]\d*", size):
        raise InputError(f"--topology: expected the size after {kind}:, as in {_EXAMPLES}, found {name!r}")
    if kind == "cpu":
        return _cpu(name, int(size))
    return (_tpu if CHIPS[kind].platform == "tpu" else _gpu)(name, CHIPS[kind], size)


def _cpu(name: str, count: int) -> Topology:
    with contextlib.suppress(RuntimeError):  # too late to ask for more of them if JAX is in use already
        jax.config.update("jax_num_cpu_devices", count)
    devices = jax.devices("cpu")
    if len(devices) < count:
        raise InputError(f"--topology: expected at most {len(devices)} CPU devices in this process, found {name!r}")
    return Topology(name, "cpu", devices[:count], None, total_host_bytes() // count)


def _tpu(name: str, chip: Chip, size: str) -> Topology:
    extras.require("plan-tpu", f"--topology: {name}")
    # libtpu otherwise asks its surroundings what machine this is, at length, and takes a lock for itself alone.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    options = {"chips_per_host_bounds": [1, 1, 1]} if set(size.split("x")) == {"1"} else {}
    try:
        devices = topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--topology: {name}: {error}") from error
    return Topology(name, "tpu", devices, chip, chip.memory_bytes)


def _gpu(name: str, chip: Chip, size: str) -> Topology:
    if extras.missing_module("cuda13"):  # either plugin compiles
        extras.require("plan-gpu", f"--topology: {name}")
    count = int(size)
    if count > _GPUS_OF_A_HOST and count % _GPUS_OF_A_HOST:
        raise InputError(f"--topology: expected up to {_GPUS_OF_A_HOST} GPUs or a multiple of it, found {name!r}")
    hosts = max(count // _GPUS_OF_A_HOST, 1)
    try:
        devices = topologies.get_topology_desc(
            platform="cuda", topology=f"1x{hosts}x{count // hosts}", target_config=_target_config(chip)
        ).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--topology: {name}: {error}") from error
    # JAX's allocator takes this part of a GPU's memory; nothing enforces it when compiling.
    fraction = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75"))
    return Topology(name, "cuda", devices, chip, int(chip.memory_bytes * fraction))


def _target_config(chip: Chip) -> str:
    """The card as a text proto."""
    description, (major, minor), figures = _GPU_CARDS[chip.name]
    fields = _GPU_LIMITS | figures
    fields |= dict(memory_bandwidth=int(chip.memory_bandwidth), device_memory_size=chip.memory_bytes)
    lines = "\n".join(f"  {field}: {value}" for field, value in fields.items())
    return (
        f"gpu_device_info {{\n{lines}\n  cuda_compute_capability {{ major: {major} minor: {minor} }}\n}}\n"
        f'platform_name: "CUDA"\ndnn_version_info {{ major: 9 }}\ndevice_description_str: "{description}"\n'
    )
