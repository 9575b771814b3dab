"""Mesh sizes, and which dimension of a parameter a mesh splits."""

import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from spikejax.errors import InputError
from spikejax.training.sharding import batch_parts, check_batch_size, make_mesh, parameter_spec


def mesh_of(data: int, fsdp: int) -> AbstractMesh:
    """A mesh that exists by its sizes alone."""
    return AbstractMesh((data, fsdp), ("data", "fsdp"))


def test_mesh_takes_all_devices() -> None:
    """Catches a mesh that leaves devices out, or has axes that a model would have to know (Explicit)."""
    mesh = make_mesh({"data": -1, "fsdp": 1})
    assert dict(mesh.shape) == {"data": jax.device_count(), "fsdp": 1}
    assert set(mesh.axis_types) == {jax.sharding.AxisType.Auto}


@pytest.mark.parametrize("sizes", [{"data": -1, "fsdp": -1}, {"data": 3, "fsdp": 5}, {"data": 0, "fsdp": 1}])
def test_mesh_that_does_not_fit(sizes: dict[str, int]) -> None:
    """Catches a mesh that silently uses some of the devices, and a division by 0."""
    with pytest.raises(InputError, match="mesh: "):
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


def test_parameter_without_a_name_per_dimension() -> None:
    """Catches a model whose metadata was not extended when its blocks were stacked."""
    with pytest.raises(ValueError, match="needs a logical name per dimension"):
        parameter_spec((3, 24), ("embed",), mesh_of(1, 1))


def test_batch_is_split_over_both_axes() -> None:
    """Catches a batch that only `data` splits, or a size that the mesh does not divide."""
    assert batch_parts(mesh_of(2, 4)) == 8
    check_batch_size(16, mesh_of(2, 4))
    with pytest.raises(InputError, match="expected a multiple of 8, the parts of the mesh, got 12"):
        check_batch_size(12, mesh_of(2, 4))
