"""Arrays that are read from their file when they are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from einops import rearrange

from spikejax.errors import InputError


@dataclass(frozen=True)
class StoredArray:
    """An array in a file: its shape and dtype are known, its numbers are read at every `numpy.asarray`.

    Attributes:
        shape: of the array.
        dtype: of the array.
        read: reads its numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=bool(copy))

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def rearranged(self, layout: str) -> "StoredArray":
        """The array with its axes in another order; `layout` is an einops pattern of single axes."""
        before, after = (side.split() for side in layout.split("->"))
        shape = tuple(self.shape[before.index(axis)] for axis in after)
        return StoredArray(shape, self.dtype, lambda: rearrange(self.read(), layout))


def damaged_file(path: Any, reason: object) -> InputError:
    """The error that says that a file of weights is damaged, and how."""
    return InputError(f"expected a whole file of weights, found damage ({reason}): {path}")


def stored(array: np.ndarray) -> StoredArray:
    """An array that is in memory already."""
    return StoredArray(array.shape, array.dtype, lambda: array)
