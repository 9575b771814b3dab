"""The mesh of devices, and which of its axes splits what. The only place that knows mesh axes.

A layout names the axes of a mesh and says what each splits. In the standard one `data` splits the batch; `fsdp` splits
the batch as well, and the parameters and the optimizer's state; `space` splits the rows of the pictures. Models only
name the dimensions of their parameters (nnx metadata `axes`); a layout's rules map those logical names to mesh axes.
Axis type is Auto: the partitioner inserts the communication, which for rows includes the neighbours' rows that
convolutions and windows reach into.

To add an axis: an entry of MESH_LAYOUTS; or one of your own without touching this file,
`mesh.layout = "my_layouts.py:WITH_HEADS"`, a `MeshLayout`, and `mesh.extra = ("model=2",)` for the sizes of its axes
that the `mesh` section of the configuration has no key for.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from spikejax.errors import InputError
from spikejax.extensions import find_entry
from spikejax.kernels.choice import Target


@dataclasses.dataclass(frozen=True)
class MeshLayout:
    """Which axes a mesh has, and what each of them splits.

    Attributes:
        axes: their names; devices that are neighbours along the last one are neighbours in the machine.
        batch: those that split the first dimension of clips [b, t, h, w, c], outermost first.
        rows: the one that splits the third dimension; None = none does.
        rules: (logical name, mesh axis), best first: of a parameter's dimensions the first one here that the mesh axis
            divides is split along it.
    """

    axes: tuple[str, ...]
    batch: tuple[str, ...]
    rows: str | None
    rules: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        """Checks that only axes of the layout are said to split something."""
        used = [*self.batch, *([] if self.rows is None else [self.rows]), *(axis for _, axis in self.rules)]
        if unknown := [axis for axis in used if axis not in self.axes]:
            raise InputError(f"mesh.layout: expected axes of {', '.join(self.axes)}, found {', '.join(unknown)}")


MESH_LAYOUTS: dict[str, MeshLayout] = {
    "standard": MeshLayout(
        axes=("data", "fsdp", "space"),
        batch=("data", "fsdp"),
        rows="space",
        # Output features come before input features, so that a layer's weight and bias are split alike.
        rules=(("mlp", "fsdp"), ("features_out", "fsdp"), ("embed", "fsdp"), ("features_in", "fsdp")),
    ),
}
# For restoring, where every device has all parameters: its own tiles, or its rows of the same tile.
_TILES = MeshLayout(axes=("tiles",), batch=("tiles",), rows=None, rules=())
_TILE_ROWS = MeshLayout(axes=("rows",), batch=(), rows="rows", rules=())


@dataclasses.dataclass(frozen=True)
class DeviceMesh:
    """Devices in a grid, and what the grid's axes split.

    Attributes:
        mesh: the grid.
        layout: its axes.
    """

    mesh: Mesh
    layout: MeshLayout

    @property
    def shape(self) -> dict[str, int]:
        """Devices along each axis."""
        return dict(self.mesh.shape)

    @property
    def devices(self) -> list[jax.Device]:
        """All devices, of all hosts."""
        return list(self.mesh.devices.flat)

    @property
    def local_devices(self) -> list[jax.Device]:
        """Those of this host."""
        return list(self.mesh.local_devices)

    @property
    def row_parts(self) -> int:
        """Into how many parts rows are split."""
        return 1 if self.layout.rows is None else self.mesh.shape[self.layout.rows]


def mesh_layout(settings: Mapping[str, Any]) -> MeshLayout:
    """The layout that the `mesh` section of a configuration names."""
    return find_entry(MESH_LAYOUTS, settings.get("layout", "standard"), key="mesh.layout", kind=MeshLayout)


def mesh_sizes(settings: Mapping[str, Any], layout: MeshLayout) -> dict[str, int]:
    """Devices along each axis, 1 where nothing is said; -1 = all that are left.

    Args:
        settings: the `mesh` section: a key for each axis that has one, and `extra`, a list of AXIS=SIZE.
        layout: says which axes there are.

    Raises:
        InputError: the layout has no such axis, or there is no such size.
    """
    given = {axis: size for axis, size in settings.items() if axis not in ("layout", "extra")}
    for entry in settings.get("extra", ()):
        axis, _, size = entry.partition("=")
        if not size.removeprefix("-").isdecimal():
            raise InputError(f"mesh.extra: expected AXIS=SIZE, such as model=2, found {entry!r}")
        given[axis] = int(size)
    for axis, size in given.items():
        if axis not in layout.axes and size != 1:
            raise InputError(f"mesh: expected sizes of the axes {', '.join(layout.axes)}, found {axis}={size}")
    return {axis: given.get(axis, 1) for axis in layout.axes}


def with_sizes(settings: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, Any]:
    """The `mesh` section with other sizes; an axis that `sizes` does not name has size 1.

    Raises:
        InputError: the layout has no such axis.
    """
    layout = mesh_layout(settings)
    if unknown := sorted(sizes.keys() - set(layout.axes)):
        raise InputError(f"--mesh: expected axes of {', '.join(layout.axes)}, found {', '.join(unknown)}")
    keys = {axis: sizes.get(axis, 1) for axis in settings if axis not in ("layout", "extra")}
    extra = tuple(f"{axis}={size}" for axis, size in sizes.items() if axis not in settings)
    return {**settings, **keys, "extra": extra}


def make_mesh(settings: Mapping[str, Any], *, devices: Sequence[jax.Device] | None = None) -> DeviceMesh:
    """A mesh over all `devices`.

    Args:
        settings: the `mesh` section of a configuration, or some of its keys: the layout, and devices along each axis;
            one of them may be -1, "all that are left".
        devices: the devices to use; all of this process's backend if None.

    Raises:
        InputError: there is no such layout or axis, or the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    layout = mesh_layout(settings)
    sizes = mesh_sizes(settings, layout)
    open_axes = [name for name, size in sizes.items() if size == -1]
    fixed = {name: size for name, size in sizes.items() if size != -1}
    asked = ", ".join(f"{name}={size}" for name, size in sizes.items())
    if len(open_axes) > 1 or any(size < 1 for size in fixed.values()):
        raise InputError(f"mesh: expected sizes of at least 1 and one -1 at the most, found {asked}")
    count, product = len(devices), math.prod(fixed.values())
    for name, size in fixed.items():
        if count % size:
            raise InputError(f"mesh.{name}: {size} does not divide {count} device(s); {_divisors(count)} would")
    if count % product or (not open_axes and product != count):
        what = "divide" if open_axes else "equal"
        raise InputError(
            f"mesh: expected sizes whose product would {what} the {count} device(s), found {asked} with {product}; "
            f"mesh.{layout.axes[0]}=-1 takes what the others leave"
        )
    shape = tuple(count // product if size == -1 else size for size in sizes.values())
    axis_types = (AxisType.Auto,) * len(shape)
    return DeviceMesh(jax.make_mesh(shape, layout.axes, axis_types=axis_types, devices=devices), layout)


def batch_mesh() -> DeviceMesh:
    """A mesh whose devices all have the parameters and clips of their own."""
    return make_mesh({MESH_LAYOUTS["standard"].batch[0]: -1})


def tile_mesh(devices: Sequence[jax.Device], *, split_rows: bool) -> DeviceMesh:
    """A mesh for restoring: devices that have tiles of their own, or rows of the same tile.

    Args:
        devices: in this order.
        split_rows: whether they share a tile.
    """
    layout = _TILE_ROWS if split_rows else _TILES
    return DeviceMesh(Mesh(np.array(devices), layout.axes, axis_types=(AxisType.Auto,)), layout)


def worthwhile_sizes(layout: MeshLayout, *, parts: int, row_parts: int) -> list[dict[str, int]]:
    """Sizes worth trying for a batch in `parts` and rows in `row_parts`: each of the axes that split a batch alone.

    Args:
        layout: the axes.
        parts: of the batch.
        row_parts: of the rows.
    """
    if row_parts > 1 and layout.rows is None:
        return []
    rows = {} if layout.rows is None else {layout.rows: row_parts}
    candidates = [dict.fromkeys(layout.axes, 1) | {axis: parts} | rows for axis in layout.batch]
    return [sizes for index, sizes in enumerate(candidates) if sizes not in candidates[:index]]


def parameter_spec(shape: Sequence[int], axes: Sequence[str | None], mesh: DeviceMesh) -> PartitionSpec:
    """How one parameter is split: along the first dimension that a rule names and the mesh axis divides.

    Args:
        shape: the parameter's shape.
        axes: the logical name of each of its dimensions.
        mesh: the mesh; axes of size 1 split nothing.
    """
    if len(shape) != len(axes):
        raise ValueError(f"a parameter of shape {tuple(shape)} needs a logical name per dimension, has {tuple(axes)}")
    placed: list[str | None] = [None] * len(shape)
    for logical, mesh_axis in mesh.layout.rules:
        parts = mesh.shape[mesh_axis]
        if parts == 1 or mesh_axis in placed or logical not in axes:
            continue
        dimension = list(axes).index(logical)
        if placed[dimension] is None and shape[dimension] % parts == 0:
            placed[dimension] = mesh_axis
    return PartitionSpec(*placed)


def parameter_shardings(shapes: Any, axes: Any, mesh: DeviceMesh) -> Any:
    """The tree of NamedShardings for a tree of parameters.

    Args:
        shapes: tree of arrays or ShapeDtypeStructs.
        axes: the same tree with a tuple of logical names in place of each array.
        mesh: the mesh.
    """
    return jax.tree.map(
        lambda leaf, names: NamedSharding(mesh.mesh, parameter_spec(leaf.shape, names, mesh)), shapes, axes
    )


def replicated(mesh: DeviceMesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh.mesh, PartitionSpec())


def batch_sharding(mesh: DeviceMesh) -> NamedSharding:
    """The sharding of clips [b, t, h, w, c]: batch and rows are split."""
    if mesh.row_parts == 1:
        return clip_sharding(mesh)
    return NamedSharding(mesh.mesh, PartitionSpec(mesh.layout.batch, None, mesh.layout.rows))


def clip_sharding(mesh: DeviceMesh) -> NamedSharding:
    """The sharding of clips of which a device has all rows: only the batch is split."""
    return NamedSharding(mesh.mesh, PartitionSpec(mesh.layout.batch))


def kernel_target(mesh: DeviceMesh, *, whole: bool = True) -> Target:
    """What kernels have to know of the devices that a program is traced for.

    Args:
        mesh: the devices.
        whole: whether the program is that of all devices, whose arrays are split, or of each device alone.
    """
    platform = mesh.devices[0].platform
    if not whole or len(mesh.devices) == 1:
        return Target(platform)
    return Target(platform, mesh.mesh, mesh.layout.batch, mesh.layout.rows)


def batch_parts(mesh: DeviceMesh) -> int:
    """The number of parts that the mesh splits a batch into."""
    return math.prod(mesh.shape[axis] for axis in mesh.layout.batch)


def describe(mesh: DeviceMesh) -> str:
    """The mesh in words."""
    axes = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    hosts = len({device.process_index for device in mesh.devices})
    where = f" of {hosts} hosts" if hosts > 1 else ""
    return f"{len(mesh.devices)} {mesh.devices[0].platform} device(s){where} ({axes})"


def check_batch(batch_size: int, mesh: DeviceMesh, *, accumulate: int = 1) -> None:
    """Raises InputError if the mesh and accumulation do not divide a batch of that size."""
    if accumulate < 1:
        raise InputError(f"training.accumulate: expected at least 1, found {accumulate}")
    parts = batch_parts(mesh) * accumulate
    if batch_size < 1 or batch_size % parts:
        sizes = [f"mesh.{axis} {mesh.shape[axis]}" for axis in mesh.layout.batch]
        product = " * ".join([*sizes, f"training.accumulate {accumulate}"] if accumulate > 1 else sizes)
        nearest = max(batch_size // parts, 1) * parts
        raise InputError(
            f"data.batch_size: {batch_size} is not a multiple of {parts} ({product}); "
            f"{nearest} or {nearest + parts} would be"
        )


def check_rows(rows: int, mesh: DeviceMesh, *, owner: str) -> None:
    """Raises InputError if the mesh does not divide the rows of `owner`, which is named in the message."""
    parts = mesh.row_parts
    if rows % parts:
        raise InputError(
            f"mesh.{mesh.layout.rows}: {parts} does not divide the {rows} rows of {owner}; {_divisors(rows)} would"
        )


def host_rows(mesh: DeviceMesh, batch_size: int) -> range:
    """The clips of a batch that this host's devices hold (two hosts that split a clip's rows hold the same).

    Raises:
        InputError: the host's clips do not lie together, or are not as many as every host's.
    """
    indices = clip_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    pieces = sorted({index[0].indices(batch_size)[:2] for index in indices if index is not None})
    first, last = pieces[0][0], pieces[-1][1]
    if (
        any(a[1] != b[0] for a, b in itertools.pairwise(pieces))
        or batch_size % (last - first)
        or first % (last - first)
    ):
        raise InputError(
            f"mesh: this host's devices hold the clips {pieces} of a batch of {batch_size}, not one equal share; "
            f"choose sizes so that a host's devices lie together along {' and '.join(mesh.layout.batch)}"
        )
    return range(first, last)


def put_batch(batch: Any, mesh: DeviceMesh, batch_size: int) -> Any:
    """This host's clips, which `host_rows` names, as global arrays of `batch_size` clips.

    Args:
        batch: tree of numpy arrays [b, t, h, w, c]; None stays.
        mesh: the mesh. Rows it does not divide are not split here.
        batch_size: clips over all hosts.
    """
    first = host_rows(mesh, batch_size).start

    def put(array: Any) -> jax.Array:
        rows_divide = array.shape[2] % mesh.row_parts == 0
        sharding = batch_sharding(mesh) if rows_divide else clip_sharding(mesh)

        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            start, stop, _ = index[0].indices(batch_size)
            return array[start - first : stop - first, *index[1:]]

        return jax.make_array_from_callback((batch_size, *array.shape[1:]), sharding, part)

    return jax.tree.map(put, batch)


def _divisors(number: int) -> str:
    return ", ".join(str(size) for size in range(1, number + 1) if number % size == 0)
