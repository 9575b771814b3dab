"""How the C library's allocator keeps memory, which decides half of the time of computing on a CPU.

XLA asks it for every temporary array anew and gives it back. As it is, glibc returns each large one to the system at
once, and the next one comes as new pages, each of which the system clears at its first touch: hundreds of thousands in
a step of training. Kept within the process, the same pages serve again.
"""

import ctypes
import os
from collections.abc import Iterator
from importlib.util import find_spec

VARIABLE = "SPIKEJAX_KEEP_MEMORY"
# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_NEVER = -1
_GROW_BY = 2**26  # bytes, so that the heap grows in few steps
_ACCELERATORS = ("jax_plugins", "libtpu")


def keep_freed_memory() -> bool:
    """Lets this process keep the memory that it frees, for its next arrays; to be called before JAX starts.

    It does so where glibc allocates and JAX computes on CPUs, unless SPIKEJAX_KEEP_MEMORY is 0 or the environment tunes
    the allocator itself (GLIBC_TUNABLES, MALLOC_..., LD_PRELOAD). What is kept is given back when the process ends.

    Returns:
        Whether it does.
    """
    if os.environ.get(VARIABLE) == "0" or any(_tuned_by_user()) or not _computes_on_cpus():
        return False
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not hasattr(library, "gnu_get_libc_version"):
        return False
    # Threads share one heap: those that glibc makes for each are too small for large arrays, and are given back whole.
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROW_BY))
    return all([library.mallopt(parameter, value) == 1 for parameter, value in settings])


def _tuned_by_user() -> Iterator[str]:
    for name, value in os.environ.items():
        if value and (name in ("GLIBC_TUNABLES", "LD_PRELOAD") or name.startswith("MALLOC_")):
            yield name


def _computes_on_cpus() -> bool:
    platforms = os.environ.get("JAX_PLATFORMS")
    if platforms:
        return platforms == "cpu"
    return not any(map(find_spec, _ACCELERATORS))
