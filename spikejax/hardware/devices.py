"""Which devices JAX computes on here, and whether there are better ones that it does not use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax

from spikejax.errors import InputError
from spikejax.progress import count_text, say_detail

# What its driver shows of hardware, with what is missing where JAX sees none of it.
_SIGNS = (
    ("/proc/driver/nvidia/gpus/*", "an NVIDIA GPU", "pip install 'spikejax[cuda12]' or [cuda13]"),
    ("/dev/accel*", "a TPU", "pip install 'spikejax[tpu]'"),
)


def describe_devices() -> str:
    """The devices of this process in words, such as "2 gpu devices (NVIDIA H100)"."""
    devices = jax.local_devices()
    kind = devices[0].device_kind
    name = "" if kind == devices[0].platform else f" ({kind})"
    return f"{count_text(len(devices), f'{devices[0].platform} device')}{name}"


def unused_hardware(root: Path = Path("/")) -> str | None:
    """What is here but not used, in a line; None if there is nothing, or the environment asks for the CPU.

    Args:
        root: of the file system that is looked at.
    """
    if jax.default_backend() != "cpu" or os.environ.get("JAX_PLATFORMS"):
        return None
    for pattern, name, remedy in _SIGNS:
        if any(root.glob(pattern.lstrip("/"))):
            return f"{name} is present that JAX does not use: {remedy}"
    return None


def use_required(platform: str | None) -> None:
    """Says what a command computes on, and what better there is that JAX does not use.

    Args:
        platform: what `--require` asks for, "gpu" or "tpu"; None = anything.

    Raises:
        InputError: JAX computes on something else.
    """
    unused = unused_hardware()
    if platform not in (None, jax.default_backend()):
        more = "" if unused is None else f"; {unused}"
        raise InputError(f"expected a {platform} (--require), found {describe_devices()}{more}")
    if unused is not None:
        print(f"spikejax: warning: {unused}", file=sys.stderr)
    say_detail(f"JAX {jax.__version__} on {describe_devices()}")
