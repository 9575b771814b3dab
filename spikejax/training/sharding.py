"""The mesh of devices, and which of its axes splits what. The only place that knows mesh axes.

Mesh axes: `data` splits the batch; `fsdp` splits the batch as well, and the parameters and the optimizer's state.
Models only name the dimensions of their parameters (nnx metadata `axes`); `RULES` maps those logical names to mesh
axes. Axis type is Auto: the partitioner inserts the communication.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from spikejax.errors import InputError

# The axes that split a batch's first dimension, outermost first.
BATCH_AXES = ("data", "fsdp")

# Logical name -> mesh axis, best first: of a parameter's dimensions the first one here that the mesh axis divides is
# split. Output features come before input features, so that a layer's weight and bias are split alike.
RULES: tuple[tuple[str, str], ...] = (
    ("mlp", "fsdp"),
    ("features_out", "fsdp"),
    ("embed", "fsdp"),
    ("features_in", "fsdp"),
)


def make_mesh(sizes: Mapping[str, int], *, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns a mesh over all `devices`.

    Args:
        sizes: devices along each axis, by name; one of them may be -1, "all that are left".
        devices: the devices to use; all of this process's backend if None.

    Raises:
        InputError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    open_axes = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    asked = ", ".join(f"{name}={size}" for name, size in sizes.items())
    if len(open_axes) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise InputError(f"mesh: expected sizes of at least 1 and one -1 at the most, got {asked}")
    if len(devices) % fixed or (not open_axes and fixed != len(devices)):
        raise InputError(f"mesh: {asked} does not fit {len(devices)} device(s); the sizes must multiply to it")
    shape = tuple(len(devices) // fixed if size == -1 else size for size in sizes.values())
    axis_types = (AxisType.Auto,) * len(shape)
    return jax.make_mesh(shape, tuple(sizes), axis_types=axis_types, devices=devices)


def parameter_spec(shape: Sequence[int], axes: Sequence[str | None], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """Returns how one parameter is split: along the first dimension that a rule names and the mesh axis divides.

    Args:
        shape: the parameter's shape.
        axes: the logical name of each of its dimensions.
        mesh: the mesh; axes of size 1 split nothing.
    """
    if len(shape) != len(axes):
        raise ValueError(f"a parameter of shape {tuple(shape)} needs a logical name per dimension, has {tuple(axes)}")
    placed: list[str | None] = [None] * len(shape)
    for logical, mesh_axis in RULES:
        parts = mesh.shape.get(mesh_axis, 1)
        if parts == 1 or mesh_axis in placed or logical not in axes:
            continue
        dimension = list(axes).index(logical)
        if placed[dimension] is None and shape[dimension] % parts == 0:
            placed[dimension] = mesh_axis
    return PartitionSpec(*placed)


def parameter_shardings(shapes: Any, axes: Any, mesh: Mesh) -> Any:
    """Returns the tree of NamedShardings for a tree of parameters.

    Args:
        shapes: tree of arrays or ShapeDtypeStructs.
        axes: the same tree with a tuple of logical names in place of each array.
        mesh: the mesh.
    """
    return jax.tree.map(lambda leaf, names: NamedSharding(mesh, parameter_spec(leaf.shape, names, mesh)), shapes, axes)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays whose first dimension is the batch."""
    return NamedSharding(mesh, PartitionSpec(_batch_axes(mesh)))


def batch_parts(mesh: Mesh | AbstractMesh) -> int:
    """Returns into how many parts the mesh splits a batch."""
    return math.prod(mesh.shape[axis] for axis in _batch_axes(mesh))


def describe(mesh: Mesh) -> str:
    """Returns the mesh in words."""
    axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    return f"{mesh.devices.size} {mesh.devices.flat[0].platform} device(s) ({axes})"


def check_batch_size(batch_size: int, mesh: Mesh | AbstractMesh) -> None:
    """Raises InputError if the mesh does not divide a batch of that size."""
    parts = batch_parts(mesh)
    if batch_size < 1 or batch_size % parts:
        raise InputError(f"data.batch_size: expected a multiple of {parts}, the parts of the mesh, got {batch_size}")


def put_batch(batch: Any, sharding: NamedSharding) -> Any:
    """Returns a batch of this host's numpy arrays as (global) device arrays."""
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), batch)


def _batch_axes(mesh: Mesh | AbstractMesh) -> tuple[str, ...]:
    return tuple(axis for axis in BATCH_AXES if axis in mesh.shape)
