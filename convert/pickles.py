"""Pickles of weights: which names they may use, and what those lead to.

Weights are made of tensors, storages, NumPy arrays and dicts. Each such name leads to a function of this module that
puts a `StoredArray` together; every other name is an `Unknown`, which is never called (see `pickle_machine`). Training
leaves many of them beside the weights. Whether one lies among the weights, `state_dicts` looks.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np

from spikejax.errors import InputError

from .pickle_machine import BinaryFile, Buildable, Known, PickleMachine, Unknown, as_key
from .stored_arrays import StoredArray, damaged_file

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
_DAMAGE = (EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError)
_MOST_AXES = 64  # of an array of NumPy
_NUMBERS = re.compile(r"[<>=|]?([biuf]\d{1,2}|\?)")


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


# Given ("storage", type, key, ...), returns the storage.
PersistentLoad = Callable[[tuple[Any, ...]], Storage]


@dataclass(frozen=True)
class Unpickled:
    """What a pickle holds.

    Attributes:
        value: of plain containers, numbers, texts, `StoredArray` and `Unknown`.
        unknown: the names it asks for that weights are not made of.
        description: what the file says of its network, as `to-torch` wrote it; None if nothing.
    """

    value: Any
    unknown: tuple[str, ...]
    description: str | None = None


def load_pickle(file: BinaryFile, path: Any, persistent_load: PersistentLoad | None = None) -> Unpickled:
    """What the pickle at the position of `file` holds; nothing of what it asks for is imported or run.

    Args:
        file: is read up to the end of the pickle.
        path: of the file, for messages.
        persistent_load: finds the storages that lie outside of the pickle.

    Raises:
        InputError: it is not a whole pickle.
    """

    def load_persistent(pid: Any) -> Storage | Unknown:
        if persistent_load is None or not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise ValueError("it refers to something outside of it")
        if isinstance(pid[1], Unknown):
            return Unknown(pid[1].name)
        return persistent_load(pid)

    machine = PickleMachine(find=lambda module, name: _KNOWN.get((module, name)), persistent_load=load_persistent)
    try:
        return Unpickled(machine.run(file), tuple(machine.unknown))
    except InputError:
        raise
    except _DAMAGE as error:
        raise damaged_file(path, str(error) or type(error).__name__) from error


class StorageType(Known):
    """A kind of storage; `persistent_load` is given it."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype):
        super().__init__(self._refuse)
        self.dtype = dtype

    @staticmethod
    def _refuse(*arguments: Any) -> Any:
        raise ValueError("it makes a storage by itself")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredArray | Unknown:
    """`torch._utils._rebuild_tensor_v2`: a view of a storage; whether it has gradients or hooks is of no interest."""
    if isinstance(storage, Unknown):
        return Unknown(storage.name)
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("it holds a tensor without a storage or without a shape")
    if len(shape) > _MOST_AXES or not all(map(_is_count, numbers)):
        raise ValueError("it holds a tensor whose shape or strides are not counts")
    shape, strides = tuple(shape), tuple(strides)
    empty = math.prod(shape) == 0
    stop = offset if empty else offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + 1
    if stop > storage.size:
        raise ValueError(f"it holds a tensor of {stop} numbers in a storage of {storage.size}")

    if empty:
        return StoredArray(shape, storage.dtype, partial(np.zeros, shape, storage.dtype))
    return StoredArray(shape, storage.dtype, partial(_read_view, storage, (offset, stop), shape, strides))


def _read_view(
    storage: Storage, within: tuple[int, int], shape: tuple[int, ...], strides: tuple[int, ...]
) -> np.ndarray:
    """The view of a storage's numbers `within` that has this shape and these strides, in numbers."""
    numbers = storage.read(*within)
    in_bytes = tuple(stride * numbers.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(numbers, shape, in_bytes, writeable=False)


def _parameter(tensor: Any = None, *_: Any) -> Any:
    """`torch._utils._rebuild_parameter`."""
    if not isinstance(tensor, StoredArray | Unknown):
        raise ValueError("it holds a parameter that is not a tensor")
    return tensor


class _DType(Buildable):
    """`numpy.dtype`; `dtype` is None if it is of no numbers."""

    def __init__(self, name: Any = None, *_: Any):
        numbers = isinstance(name, str) and _NUMBERS.fullmatch(name)
        self.name = name if isinstance(name, str) else "objects"
        self.dtype = np.dtype(name) if numbers else None

    def build(self, state: Any) -> None:
        if self.dtype is not None and state[1] in ("<", ">", "=", "|"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Text:
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes in old protocols; not encoded before it is needed."""

    def __init__(self, text: Any = None, encoding: Any = None, *_: Any):
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("it holds bytes that are encoded in a way of their own")
        self.text = text


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and number >= 0


def _bytes_of(data: Any) -> bytes | bytearray:
    """The bytes of an array, however its protocol has written them."""
    if isinstance(data, _Text):
        data = data.text
    if isinstance(data, str):  # Python 2 had no other type for them
        data = data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise ValueError("it holds an array without numbers")
    return data


class _Array(Buildable):
    """`numpy.ndarray` while it is put together; `as_array` gives the `StoredArray`."""

    def __init__(self, *_: Any):
        self.array: StoredArray | Unknown = Unknown("numpy.ndarray")

    def build(self, state: Any) -> None:
        _, shape, dtype, fortran_order, data = state
        self.array = _numbers(data, dtype, shape, "F" if fortran_order else "C")


def _numbers(data: Any, dtype: Any, shape: Any, order: str) -> StoredArray | Unknown:
    """An array of these bytes; an `Unknown` if it is not one of numbers."""
    if not isinstance(dtype, _DType) or dtype.dtype is None:
        return Unknown(f"an array of {dtype.name if isinstance(dtype, _DType) else 'objects'}")
    if not isinstance(shape, tuple) or len(shape) > _MOST_AXES or not all(map(_is_count, shape)):
        raise ValueError("it holds an array whose shape is not counts")
    if isinstance(data, _Text):
        length = len(data.text)
    else:
        data = _bytes_of(data)
        length = len(data)
    known = dtype.dtype
    if length != math.prod(shape) * known.itemsize:
        raise ValueError(f"it holds an array of shape {shape} in {length} bytes")
    return StoredArray(shape, known, lambda: np.frombuffer(_bytes_of(data), known).reshape(shape, order=order))  # type: ignore[call-overload]


def _array_of_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> StoredArray | Unknown:
    """`numpy._core.numeric._frombuffer`, as protocol 5 writes an array."""
    if order not in ("C", "F"):
        raise ValueError("it holds an array in an order of its own")
    return _numbers(data, dtype, shape, order)


def as_array(value: Any) -> Any:
    """`value` as `load_pickle` returned it, NumPy's arrays as `StoredArray` too."""
    return value.array if isinstance(value, _Array) else value


def _scalar(dtype: Any, data: Any = None) -> Any:
    """`numpy.core.multiarray.scalar`, as training leaves them beside the weights."""
    if not isinstance(dtype, _DType) or dtype.dtype is None or data is None:
        return Unknown("a scalar of NumPy that is no number")
    return np.frombuffer(_bytes_of(data), dtype.dtype, count=1)[0].item()


def _ordered_dict(items: Any = (), *_: Any) -> dict[Any, Any]:
    """`collections.OrderedDict`; Python 2 gave it a list of pairs."""
    if not isinstance(items, list | tuple):
        raise ValueError("it makes a dict of something else than pairs")
    made = {as_key(key): value for key, value in items}
    if isinstance(items, list):
        items.clear()  # a list is made a dict of once, or a few bytes could ask for the same again and again
    elif items:
        raise ValueError("it makes a dict of a tuple")
    return made


_KNOWN: dict[tuple[str, str], Known] = {
    ("collections", "OrderedDict"): Known(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): Known(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): Known(_tensor),
    ("torch._utils", "_rebuild_parameter"): Known(_parameter),
    ("numpy", "ndarray"): Known(_Array),
    ("numpy", "dtype"): Known(_DType),
    ("_codecs", "encode"): Known(_Text),
}
_KNOWN |= {("torch", name): StorageType(dtype) for name, dtype in STORAGE_DTYPES.items()}
for _package in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _KNOWN |= {
        (f"{_package}.multiarray", "_reconstruct"): Known(_Array),
        (f"{_package}.multiarray", "scalar"): Known(_scalar),
        (f"{_package}.numeric", "_frombuffer"): Known(_array_of_buffer),
    }
