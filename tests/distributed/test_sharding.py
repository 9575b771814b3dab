"""Mesh sizes, and which dimension of a parameter a mesh splits."""

from pathlib import Path
from typing import Any

import jax
import pytest
from jax.sharding import PartitionSpec

from spikejax.distributed.sharding import (
    MESH_LAYOUTS,
    DeviceMesh,
    MeshLayout,
    batch_parts,
    batch_sharding,
    check_batch,
    check_rows,
    make_mesh,
    parameter_spec,
    tile_mesh,
    with_sizes,
)
from spikejax.errors import InputError


def mesh_of(data: int, fsdp: int, space: int = 1) -> DeviceMesh:
    """A mesh of one device many times, which is enough to ask for sizes."""
    sizes = {"data": data, "fsdp": fsdp, "space": space}
    return make_mesh(sizes, devices=jax.devices()[:1] * (data * fsdp * space))


def test_mesh_takes_all_devices() -> None:
    """Catches a mesh that leaves devices out, or has axes that a model would have to know (Explicit)."""
    mesh = make_mesh({"data": -1, "fsdp": 1})
    assert mesh.shape == {"data": jax.device_count(), "fsdp": 1, "space": 1}
    assert set(mesh.mesh.axis_types) == {jax.sharding.AxisType.Auto}


@pytest.mark.parametrize("sizes", [{"data": -1, "fsdp": -1}, {"data": 3, "fsdp": 5}, {"data": 0, "fsdp": 1}])
def test_mesh_that_does_not_fit(sizes: dict[str, int]) -> None:
    """Catches a mesh that silently uses some of the devices, and a division by 0."""
    with pytest.raises(InputError, match="mesh"):
        make_mesh(sizes)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((24, 48), ("embed", "mlp"), PartitionSpec(None, "fsdp")),
        ((48, 24), ("mlp", "embed"), PartitionSpec("fsdp", None)),
        ((3, 24, 50), ("layers", "embed", "mlp"), PartitionSpec(None, "fsdp", None)),  # 4 does not divide 50
        ((3, 3, 16, 32), ("kernel", "kernel", "features_in", "features_out"), PartitionSpec(None, None, None, "fsdp")),
        ((24,), ("embed",), PartitionSpec("fsdp")),
        ((7,), ("embed",), PartitionSpec(None)),
        ((225, 4), ("offsets", "heads"), PartitionSpec(None, None)),
    ],
)
def test_parameter_spec(shape: tuple[int, ...], axes: tuple[str, ...], expected: PartitionSpec) -> None:
    """Catches a rule that splits what the mesh does not divide, or splits along the stacked layers."""
    assert parameter_spec(shape, axes, mesh_of(2, 4)) == expected
    assert parameter_spec(shape, axes, mesh_of(8, 1)) == PartitionSpec(*[None] * len(shape))


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"data": 3, "fsdp": 1}, r"mesh.data: 3 does not divide 8 device\(s\); 1, 2, 4, 8 would"),
        (
            {"data": 4, "fsdp": 4},
            r"product would equal the 8 device\(s\), found data=4, fsdp=4, space=1 with 16; mesh.data=-1",
        ),
        ({"data": -1, "fsdp": 4, "space": 4}, r"product would divide the 8 device\(s\), found .* with 16"),
    ],
)
def test_mesh_that_does_not_divide_says_what_would(sizes: dict[str, int], told: str) -> None:
    """Catches a message that leaves the arithmetic to the reader."""
    with pytest.raises(InputError, match=told):
        make_mesh(sizes, devices=jax.devices()[:1] * 8)


def test_rows_that_space_does_not_divide() -> None:
    """Catches crops that fail in the partitioner, in its words."""
    mesh = mesh_of(1, 1, 4)
    check_rows(16, mesh, owner="data.crop")
    with pytest.raises(InputError, match="mesh.space: 4 does not divide the 6 rows of data.crop; 1, 2, 3, 6 would"):
        check_rows(6, mesh, owner="data.crop")


def test_accumulation_counts_to_the_parts_of_a_batch() -> None:
    """Catches a batch of which a device would get no clip of some part."""
    check_batch(16, mesh_of(2, 4), accumulate=2)
    with pytest.raises(
        InputError, match=r"8 is not a multiple of 16 \(.* \* training.accumulate 2\); 16 or 32 would be"
    ):
        check_batch(8, mesh_of(2, 4), accumulate=2)
    with pytest.raises(InputError, match="training.accumulate: expected at least 1"):
        check_batch(8, mesh_of(2, 4), accumulate=0)


def test_parameter_without_a_name_per_dimension() -> None:
    """Catches a model whose metadata was not extended when its blocks were stacked."""
    with pytest.raises(ValueError, match="needs a logical name per dimension"):
        parameter_spec((3, 24), ("embed",), mesh_of(1, 1))


def test_batch_is_split_over_both_axes() -> None:
    """Catches a batch that only `data` splits, or a size that the mesh does not divide."""
    assert batch_parts(mesh_of(2, 4)) == 8
    check_batch(16, mesh_of(2, 4))
    with pytest.raises(InputError, match=r"12 is not a multiple of 8 \(mesh.data 2 \* mesh.fsdp 4\); 8 or 16 would be"):
        check_batch(12, mesh_of(2, 4))


LAYOUT = """
from spikejax.distributed.sharding import MeshLayout

MINE = MeshLayout(axes=("data", "model"), batch=("data",), rows=None, rules=(("mlp", "model"), ("heads", "model")))
"""


def test_a_layout_of_the_users(tmp_path: Path) -> None:
    """Catches axes that are known elsewhere: a layout without fsdp and space, and with an axis of its own."""
    (tmp_path / "layouts.py").write_text(LAYOUT)
    settings = {"data": -1, "fsdp": 1, "space": 1, "layout": f"{tmp_path}/layouts.py:MINE", "extra": ("model=2",)}
    mesh = make_mesh(settings, devices=jax.devices()[:1] * 8)
    assert mesh.shape == {"data": 4, "model": 2}
    assert batch_parts(mesh) == 4 and mesh.row_parts == 1
    assert batch_sharding(mesh).spec == PartitionSpec(("data",))
    assert parameter_spec((24, 48), ("embed", "mlp"), mesh) == PartitionSpec(None, "model")
    assert "MINE" not in MESH_LAYOUTS
    changed = with_sizes(settings, {"data": 1, "model": 8})
    assert make_mesh(changed, devices=jax.devices()[:1] * 8).shape == {"data": 1, "model": 8}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "standart"}, "mesh.layout: expected one of standard or FILE.py:NAME, .* mean 'standard'"),
        ({"extra": ("model=2",)}, "mesh: expected sizes of the axes data, fsdp, space, found model=2"),
        ({"extra": ("model",)}, "mesh.extra: expected AXIS=SIZE, such as model=2, found 'model'"),
    ],
)
def test_axes_that_the_layout_does_not_have(changes: dict[str, Any], message: str) -> None:
    """Catches devices that are left out because the axis of a size is not there."""
    with pytest.raises(InputError, match=message):
        make_mesh({"data": -1} | changes)


def test_a_layout_that_contradicts_itself() -> None:
    """Catches a rule that never acts because its axis is misspelt."""
    with pytest.raises(InputError, match="expected axes of data, found fsdb"):
        MeshLayout(axes=("data",), batch=("data",), rows=None, rules=(("mlp", "fsdb"),))


def test_meshes_of_restoring() -> None:
    """Catches devices that all restore the same tile, and a tile that is split by its frames."""
    devices = jax.devices()[:1] * 4
    assert batch_parts(tile_mesh(devices, split_rows=False)) == 4
    shared = tile_mesh(devices, split_rows=True)
    assert batch_parts(shared) == 1
    assert batch_sharding(shared).spec == PartitionSpec((), None, "rows")
