"""What is in a file of weights, as a table that fits a terminal."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 80  # columns


def table(arrays: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table of names, shapes and dtypes, and of the totals.

    A name that leaves no room for the rest has a line of its own.
    """
    rows = [(name, "x".join(map(str, array.shape)) or "scalar", str(array.dtype)) for name, array in arrays.items()]
    of_shape, of_dtype = (max(len(row[column]) for row in (*rows, _HEADER)) for column in (1, 2))
    of_name = WIDTH - of_shape - of_dtype - 4
    for name, shape, dtype in (_HEADER, *rows):
        if len(name) > of_name:
            yield name
            name = ""
        yield f"{name:{of_name}}  {shape:>{of_shape}}  {dtype:>{of_dtype}}"
    yield ""
    yield f"{len(rows):,} arrays, {_numbers(arrays):,} numbers, {_bytes(arrays) / 1e6:,.1f} MB"


_HEADER = ("name", "shape", "dtype")


def _numbers(arrays: Mapping[str, Any]) -> int:
    return sum(math.prod(array.shape) for array in arrays.values())


def _bytes(arrays: Mapping[str, Any]) -> int:
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values())
