"""What a compiled training step is known by: all that decides what it computes and where it can run."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import re
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

import spikejax
from spikejax.config.keys import code_in, leaves
from spikejax.distributed import sharding
from spikejax.hardware.host import processor_name
from spikejax.training.program import Program
from spikejax.training.step import batch_shapes

# What decides the program: whole sections, and single keys. Of `data` only shapes do, which the arrays say; of `mesh`
# the sizes that come out, which the mesh says.
_SECTIONS = ("model.", "loss.", "optimizer.")
_KEYS = (
    "seed",
    "mesh.layout",
    "training.steps",
    "training.accumulate",
    "training.ema_decay",
    "training.skip_not_finite",
    "training.deterministic",
)
# A path: whether there are weights, the arrays say.
_PATHS = ("loss.perceptual_weights_file",)
_PACKAGES = ("jax", "jaxlib", "flax", "optax")
_PLUGINS: dict[str, dict[str, tuple[str, ...]]] = {
    "tpu": {"libtpu": ("libtpu",)},
    "cuda": {"cuda": ("jax-cuda13-plugin", "jax-cuda12-plugin")},
    "gpu": {"cuda": ("jax-cuda13-plugin", "jax-cuda12-plugin")},
}
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
# Flags that say how many devices a process has, which the devices say, or what is written beside the program.
_HARMLESS_FLAG = re.compile(r"--xla_(force_host_platform_device_count|dump_\w+)\b")
_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
    "jax_debug_nans",
    "jax_debug_infs",
)


def decides_step(key: str) -> bool:
    """Whether a key of the configuration decides what the training step computes."""
    return key not in _PATHS and (key in _KEYS or key.startswith(_SECTIONS))


def code_of(config: ConfigDict) -> str | None:
    """The first key that names the user's own code, which may change without its name; None if there is none."""
    values = {key: value for key, value in leaves(config) if decides_step(key)}
    return next(iter(code_in(values)), None)


def step_arguments(config: ConfigDict, program: Program, loss: Any, *, spike_ratio: int | None = None) -> tuple:
    """The shapes and places of what the step takes: state, batch and loss.

    Args:
        config: of the run.
        program: what it computes.
        loss: to minimise, or its shapes.
        spike_ratio: see `spikejax.training.step.batch_shapes`.
    """
    split = sharding.batch_sharding(program.mesh)
    batch = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=split)
        for name, array in batch_shapes(config.data, program.network.traits, spike_ratio=spike_ratio).items()
    }
    return program.abstract, batch, loss


def step_identity(config: ConfigDict, program: Program, arguments: tuple[Any, Any, Any]) -> dict[str, str]:
    """What a step is known by, each part by a name that a message can use.

    Args:
        config: of the run.
        program: what it computes.
        arguments: see `step_arguments`.
    """
    devices = program.mesh.devices
    kind = devices[0].platform
    identity = {package: importlib.metadata.version(package) for package in _PACKAGES}
    for name, packages in _PLUGINS.get(kind, {}).items():
        identity[name] = " ".join(filter(None, map(_version, packages))) or "none"
    identity |= {
        "source": _source(),
        "devices": f"{len(devices)} {devices[0].device_kind}",
        "mesh": " ".join(f"{axis}={size}" for axis, size in program.mesh.shape.items()),
        "places": _hash(" ".join(str(device.id) for device in devices)),
        "arrays": _hash("\n".join(_described(arguments))),
    }
    if kind == "cpu":
        identity["processor"] = processor_name()
    for variable in _VARIABLES:
        identity[variable] = " ".join(
            flag for flag in os.environ.get(variable, "").split() if not _HARMLESS_FLAG.match(flag)
        )
    identity |= {name: str(jax.config.values.get(name)) for name in _SETTINGS}
    return identity | {key: repr(value) for key, value in leaves(config) if decides_step(key)}


def _described(arguments: tuple[Any, Any, Any]) -> list[str]:
    """A line for each array that a step takes, and one for what they hang together as."""
    state, batch, loss = arguments
    lines = [
        f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype} {leaf.sharding.spec}"
        for path, leaf in jax.tree_util.tree_leaves_with_path((state, batch))
    ]
    # The loss is on every device, whoever has put it there by now.
    lines += [
        f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(loss)
    ]
    return [*lines, ", ".join(loss)]


@functools.cache
def _source() -> str:
    """A hash of this package's modules."""
    folder = Path(spikejax.__file__).parent
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
