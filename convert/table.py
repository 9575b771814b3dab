"""What is in a file of weights, as a table that fits a terminal."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .transfer import count_numbers

TERMINAL_COLUMNS = 80


def format_table(arrays: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a table of names, shapes and dtypes, and of the totals.

    A name that leaves no room for the rest has a line of its own.
    """
    rows = [(name, "x".join(map(str, array.shape)) or "scalar", str(array.dtype)) for name, array in arrays.items()]
    shape_width, dtype_width = (max(len(row[column]) for row in (*rows, _HEADER)) for column in (1, 2))
    name_width = TERMINAL_COLUMNS - shape_width - dtype_width - 4
    for name, shape, dtype in (_HEADER, *rows):
        if len(name) > name_width:
            yield name
            name = ""
        yield f"{name:{name_width}}  {shape:>{shape_width}}  {dtype:>{dtype_width}}"
    yield ""
    yield f"{len(rows):,} arrays, {count_numbers(arrays):,} numbers, {_count_bytes(arrays) / 1e6:,.1f} MB"


_HEADER = ("name", "shape", "dtype")


def _count_bytes(arrays: Mapping[str, Any]) -> int:
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays.values())
