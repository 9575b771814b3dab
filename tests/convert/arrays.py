"""Arrays to write and read, and how they are compared."""

from pathlib import Path

import ml_dtypes
import numpy as np

from convert.convertible_networks import ConvertibleNetwork

FILES = Path(__file__).parent / "files"
ROW = np.arange(24, dtype=np.float32)
# What make_files.py wrote; the thirds of the short types were computed by PyTorch in these types.
EXPECTED = {
    "float32": ROW.reshape(2, 3, 4) / np.float32(7),
    "float64": np.arange(5) / 3,
    "float16": (np.arange(6, dtype=np.float32) / 3).astype(np.float16).reshape(3, 2),
    "bfloat16": (np.arange(6, dtype=np.float32) / 3).astype(ml_dtypes.bfloat16),
    "int64": np.arange(4) - 2**40,
    "uint8": np.arange(4, dtype=np.uint8),
    "bool": np.array([True, False, True]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": np.full((2, 2), 0.5, np.float32),
    "transposed": ROW.reshape(4, 6).T,
    "shared_part": ROW[5:11],
    "strided": ROW.reshape(4, 6)[1::2, ::3],
    "expanded": np.array([[1, 1, 1], [2, 2, 2]], np.float32),
}
SMALL = {"a.weight": np.arange(6, dtype=np.float32).reshape(3, 2).T, "b": np.arange(3), "c": np.float16([[1], [2]])}


def assert_same(found: dict, expected: dict) -> None:
    """The same keys in the same order, dtypes, shapes and bits."""
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape), key
        numbers = np.asarray(found[key])
        assert numbers.dtype == array.dtype
        np.testing.assert_array_equal(numbers, array, err_msg=key)


def broadcast_zeros(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Arrays of these shapes that take no memory."""
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}


def split_buffers(network: ConvertibleNetwork, state_dict: dict) -> tuple[dict, dict]:
    """What came from parameters, and what follows from the configuration."""
    return (
        {key: array for key, array in state_dict.items() if key in network.counterparts},
        {key: array for key, array in state_dict.items() if key not in network.counterparts},
    )
