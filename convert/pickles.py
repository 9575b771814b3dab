"""Pickles read without running what they ask for.

A pickle is a program that may call anything it can import. This reader knows, by name, what files of weights are made
of: tensors, storages, NumPy arrays, ordered dicts. Each name leads to a function of this module that puts a
`StoredArray` together and cannot be changed by the pickle; any other name is refused before it is looked up.
"""

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import ml_dtypes
import numpy as np

from spikejax.errors import InputError

from .stored_arrays import StoredArray, damaged_file, stored

STORAGE_DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# What is raised by a pickle that is cut off and by what is not a pickle.
_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError,
)  # fmt: skip


class RefusedError(InputError):
    """A pickle asks for something that weights are not made of."""


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, some of which are a tensor's.

    Attributes:
        dtype: of one number.
        size: how many there are.
        read: reads the numbers [start, stop).
    """

    dtype: np.dtype
    size: int
    read: Callable[[int, int], np.ndarray]


# What a zip archive opens is the latter, and annotated as the former.
BinaryFile = IO[bytes] | io.BufferedIOBase
# Given ("storage", type, key, ...), returns the storage.
PersistentLoad = Callable[[tuple[Any, ...]], Storage]


def load_pickle(file: BinaryFile, path: Any, persistent_load: PersistentLoad | None = None) -> Any:
    """What the pickle at the position of `file` holds, tensors and arrays as `StoredArray`.

    Args:
        file: is read up to the end of the pickle.
        path: of the file, for messages.
        persistent_load: finds the storages that lie outside of the pickle.

    Raises:
        RefusedError: the pickle asks for something else than weights; the message says for what.
        InputError: it is not a whole pickle.
    """
    try:
        return _Unpickler(file, path, persistent_load).load()
    except InputError:
        raise
    except _DAMAGE as error:
        raise damaged_file(path, str(error) or type(error).__name__) from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryFile, path: Any, persistent_load: PersistentLoad | None):
        super().__init__(file, encoding="utf-8")
        self._path, self._persistent_load = path, persistent_load

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RefusedError(
                "expected weights, which are tensors, dicts, lists, numbers and strings, found a pickle that asks "
                f"for {module}.{name}, none of which was run: {self._path}"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent_load is None or not isinstance(pid, tuple) or not pid or pid[0] != "storage":
            raise ValueError(f"it refers to something outside of it: {str(pid)[:80]}")
        return self._persistent_load(pid)


class _Name:
    """What an allowed name leads to; a pickle can call it, but not change it."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]):
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise ValueError("it changes what it is read with")

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes what it is read with")


class StorageType(_Name):
    """A kind of storage; `persistent_load` is given it."""

    __slots__ = ("dtype",)
    dtype: np.dtype

    def __init__(self, dtype: np.dtype):
        super().__init__(self._refuse)
        object.__setattr__(self, "dtype", dtype)

    @staticmethod
    def _refuse(*arguments: Any) -> Any:
        raise ValueError("it makes a storage by itself")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredArray:
    """`torch._utils._rebuild_tensor_v2`: a view of a storage; whether it has gradients or hooks is of no interest."""
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("it holds a tensor without a storage or without a shape")
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("it holds a tensor whose shape or strides are not counts")
    shape, strides = tuple(shape), tuple(strides)
    empty = math.prod(shape) == 0
    stop = offset if empty else offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    if stop > storage.size:
        raise ValueError(f"it holds a tensor of {stop} numbers in a storage of {storage.size}")

    def read() -> np.ndarray:
        numbers = storage.read(offset, stop)
        in_bytes = tuple(stride * numbers.itemsize for stride in strides)
        view = np.lib.stride_tricks.as_strided(numbers, shape, in_bytes, writeable=False)
        return np.zeros(shape, storage.dtype) if empty else view

    return StoredArray(shape, storage.dtype, read)


def _parameter(tensor: Any, *_: Any) -> Any:
    """`torch._utils._rebuild_parameter`."""
    if not isinstance(tensor, StoredArray):
        raise ValueError("it holds a parameter that is not a tensor")
    return tensor


class _DType:
    """`numpy.dtype`, of numbers alone."""

    def __init__(self, name: Any, *_: Any):
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in "biuf":
            raise ValueError(f"it holds an array of {self.dtype}, not of numbers")

    def __setstate__(self, state: Any) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """`numpy.ndarray` while it is put together; `unwrap` gives the `StoredArray`."""

    def __init__(self, *_: Any):
        self.array = stored(np.zeros(0))

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran_order, data = state
        flat = np.frombuffer(data, dtype.dtype)
        self.array = stored(flat.reshape(shape, order="F" if fortran_order else "C"))


def unwrap(value: Any) -> Any:
    """`value` as `load_pickle` returned it, NumPy's arrays as `StoredArray` too."""
    return value.array if isinstance(value, _Array) else value


def _scalar(dtype: Any, data: Any) -> Any:
    """`numpy.core.multiarray.scalar`, as training leaves them beside the weights."""
    return np.frombuffer(data, dtype.dtype)[0].item()


def _encoded(text: Any, encoding: Any) -> bytes:
    """`_codecs.encode`: how Python 3 writes bytes in old protocols."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"it holds bytes encoded as {encoding}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _Name(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Name(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Name(_parameter),
    ("numpy", "ndarray"): _Name(_Array),
    ("numpy", "dtype"): _Name(_DType),
    ("_codecs", "encode"): _Name(_encoded),
}
_ALLOWED |= {("torch", name): StorageType(dtype) for name, dtype in STORAGE_DTYPES.items()}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before and since NumPy 2
    _ALLOWED |= {(_module, "_reconstruct"): _Name(_Array), (_module, "scalar"): _Name(_scalar)}
