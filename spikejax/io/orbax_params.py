"""Parameters in an orbax checkpoint, written and read with hardly more memory than they take.

Left alone, orbax copies all arrays before it writes them, holds them once more compressed (which makes weights 7%
smaller), and has all that it reads in memory twice. Training writes its own checkpoints, from devices; these here are
NumPy arrays on both sides.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from spikejax.io.paths import UserPath

_AT_ONCE = 16  # arrays that are read at once; one by one takes half as long again


class _FrugalHandler(ocp.type_handlers.NumpyHandler):
    """Writes the arrays where they are, and reads a few at a time."""

    def __init__(self) -> None:
        super().__init__(deepcopy_host_arrays=False)  # nobody changes them while they are written

    async def deserialize(self, infos: Sequence[Any], args: Sequence[Any] | None = None) -> Sequence[np.ndarray]:
        args = args or [ocp.RestoreArgs()] * len(infos)
        read: list[np.ndarray] = []
        for start in range(0, len(infos), _AT_ONCE):
            few = slice(start, start + _AT_ONCE)
            before = asyncio.all_tasks()
            try:
                read += await super().deserialize(infos[few], args[few])
            except Exception:
                # One array is damaged. The others are still being read, and would report to a loop that is closed.
                await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
                raise
        return read


def write_params(path: Path, params: dict[str, Any]) -> None:
    """Writes a nested dict of NumPy arrays to the folder `path`, which does not exist yet."""
    with _checkpointer() as checkpointer:
        checkpointer.save(path, ocp.args.PyTreeSave(params))


def read_orbax_params(path: UserPath) -> dict[str, Any]:
    """The nested dict of NumPy arrays in the folder `path`; numbers among its keys have become strings.

    Raises:
        ValueError, OSError, KeyError: it is damaged; orbax and its store have no class of their own for that.
    """
    with _checkpointer() as checkpointer:
        metadata = checkpointer.metadata(path).item_metadata
        if metadata is None:
            raise ValueError(f"{path.name}/ cannot be read")
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata.tree)
        return checkpointer.restore(path, ocp.args.PyTreeRestore(restore_args=as_numpy))


def _checkpointer() -> ocp.Checkpointer:
    # Without a handler for JAX's arrays orbax warns, though none are there.
    handlers = ocp.type_handlers.create_type_handler_registry(
        (np.ndarray, _FrugalHandler()), (jax.Array, ocp.type_handlers.ArrayHandler())
    )
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False, type_handler_registry=handlers))
