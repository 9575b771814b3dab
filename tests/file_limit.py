"""A disk without room, which needs no disk of its own: the system refuses files above a size (`ulimit -f`, EFBIG)."""

import contextlib
from collections.abc import Iterator

import pytest

resource = pytest.importorskip("resource")


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Has the system refuse to this process what would make a file longer than `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
