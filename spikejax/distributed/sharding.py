"""The mesh of devices, and which of its axes splits what. The only place that knows mesh axes.

Mesh axes: `data` splits the batch; `fsdp` splits the batch as well, and the parameters and the optimizer's state;
`space` splits the rows of the pictures. Models only name the dimensions of their parameters (nnx metadata `axes`);
`RULES` maps those logical names to mesh axes. Axis type is Auto: the partitioner inserts the communication, which for
rows includes the neighbours' rows that convolutions and windows reach into.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from spikejax.errors import InputError

# The axes that split a batch's first dimension, outermost first.
BATCH_AXES = ("data", "fsdp")
# The axis that splits the third dimension of clips [b, t, h, w, c].
ROW_AXIS = "space"

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
    fixed = {name: size for name, size in sizes.items() if size != -1}
    asked = ", ".join(f"{name}={size}" for name, size in sizes.items())
    if len(open_axes) > 1 or any(size < 1 for size in fixed.values()):
        raise InputError(f"mesh: expected sizes of at least 1 and one -1 at the most, got {asked}")
    count, product = len(devices), math.prod(fixed.values())
    for name, size in fixed.items():
        if count % size:
            raise InputError(f"mesh.{name}: {size} does not divide {count} device(s); {_divisors(count)} would")
    if count % product or (not open_axes and product != count):
        what = "divide" if open_axes else "equal"
        raise InputError(
            f"mesh: expected sizes whose product would {what} the {count} device(s), got {asked} with {product}; "
            f"mesh.data=-1 takes what the others leave"
        )
    shape = tuple(count // product if size == -1 else size for size in sizes.values())
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
    """Returns the sharding of clips [b, t, h, w, c]: batch and rows are split."""
    rows = ROW_AXIS if mesh.shape.get(ROW_AXIS, 1) > 1 else None
    return NamedSharding(mesh, PartitionSpec(_batch_axes(mesh), None, rows) if rows else _batch_spec(mesh))


def clip_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of clips of which a device has all rows: only the batch is split."""
    return NamedSharding(mesh, _batch_spec(mesh))


def batch_parts(mesh: Mesh | AbstractMesh) -> int:
    """Returns into how many parts the mesh splits a batch."""
    return math.prod(mesh.shape[axis] for axis in _batch_axes(mesh))


def describe(mesh: Mesh) -> str:
    """Returns the mesh in words."""
    axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    hosts = len({device.process_index for device in mesh.devices.flat})
    where = f" of {hosts} hosts" if hosts > 1 else ""
    return f"{mesh.devices.size} {mesh.devices.flat[0].platform} device(s){where} ({axes})"


def check_batch(batch_size: int, mesh: Mesh | AbstractMesh, *, accumulate: int = 1) -> None:
    """Raises InputError if the mesh and accumulation do not divide a batch of that size."""
    if accumulate < 1:
        raise InputError(f"training.accumulate: expected at least 1, got {accumulate}")
    parts = batch_parts(mesh) * accumulate
    if batch_size < 1 or batch_size % parts:
        sizes = [f"mesh.{axis} {mesh.shape[axis]}" for axis in _batch_axes(mesh)]
        product = " * ".join([*sizes, f"training.accumulate {accumulate}"] if accumulate > 1 else sizes)
        nearest = max(batch_size // parts, 1) * parts
        raise InputError(
            f"data.batch_size: {batch_size} is no multiple of {parts} ({product}); "
            f"{nearest} or {nearest + parts} would be"
        )


def check_rows(rows: int, mesh: Mesh | AbstractMesh, *, of: str) -> None:
    """Raises InputError if the mesh does not divide the rows of what `of` says."""
    parts = mesh.shape.get(ROW_AXIS, 1)
    if rows % parts:
        raise InputError(f"mesh.{ROW_AXIS}: {parts} does not divide the {rows} rows of {of}; {_divisors(rows)} would")


def host_rows(mesh: Mesh, batch_size: int) -> range:
    """Returns which clips of a batch this host's devices hold (two hosts that split a clip's rows hold the same).

    Raises:
        InputError: they are no equal share, in one piece, of the batch.
    """
    places = clip_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    pieces = sorted({place[0].indices(batch_size)[:2] for place in places if place is not None})
    first, last = pieces[0][0], pieces[-1][1]
    if (
        any(a[1] != b[0] for a, b in itertools.pairwise(pieces))
        or batch_size % (last - first)
        or first % (last - first)
    ):
        raise InputError(
            f"mesh: this host's devices hold the clips {pieces} of a batch of {batch_size}, not one equal share; "
            "choose sizes so that a host's devices lie together along data and fsdp"
        )
    return range(first, last)


def put_batch(batch: Any, mesh: Mesh, batch_size: int) -> Any:
    """Returns this host's clips, which `host_rows` names, as global arrays of `batch_size` clips.

    Args:
        batch: tree of numpy arrays [b, t, h, w, c]; None stays.
        mesh: the mesh. Rows it does not divide are not split here.
        batch_size: clips over all hosts.
    """
    first = host_rows(mesh, batch_size).start

    def put(array: Any) -> jax.Array:
        split = array.shape[2] % mesh.shape.get(ROW_AXIS, 1) == 0
        place = batch_sharding(mesh) if split else clip_sharding(mesh)

        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            start, stop, _ = index[0].indices(batch_size)
            return array[start - first : stop - first, *index[1:]]

        return jax.make_array_from_callback((batch_size, *array.shape[1:]), place, part)

    return jax.tree.map(put, batch)


def own_clips(clips: jax.Array) -> dict[int, np.ndarray]:
    """Returns the clips [b, t, h, w, c] that this host answers for, by their row: over all hosts every row once."""
    found: dict[int, np.ndarray] = {}
    for shard in clips.addressable_shards:
        if shard.replica_id == 0:
            first = shard.index[0].indices(len(clips))[0]
            found.update(enumerate(np.asarray(shard.data), start=first))
    return found


def _batch_axes(mesh: Mesh | AbstractMesh) -> tuple[str, ...]:
    return tuple(axis for axis in BATCH_AXES if axis in mesh.shape)


def _batch_spec(mesh: Mesh | AbstractMesh) -> PartitionSpec:
    return PartitionSpec(_batch_axes(mesh))


def _divisors(number: int) -> str:
    return ", ".join(str(size) for size in range(1, number + 1) if number % size == 0)
