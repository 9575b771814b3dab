"""Functions that numba compiles, and whose machine code it keeps for the next process where it can."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled at its first call, and kept for the next process if a cache folder can be written to."""
    function = inspect.unwrap(function)  # a type checker's wrapper cannot be compiled
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return numba.njit(nogil=True)(function)
