"""Orbax managers of checkpoints, whose items are known by name, shape and checksum before anything is read."""

import os
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from spikejax.errors import InputError
from spikejax.io.paths import UserPath, as_path, orbax_stores_at
from spikejax.io.weights import MismatchError, compare_params
from spikejax.training import checkpoint_integrity
from spikejax.training.checkpoint_mirror import MirroredManager

# All of a run's state; "average" may be missing.
STATE_ITEMS = ("params", "optimizer", "average", "data")


def open_manager(folder: UserPath, *items: str, **options: Any) -> ocp.CheckpointManager:
    """A manager that knows its items, so that it can say what a checkpoint holds before reading it."""
    handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler() for name in items}
    if "data" in items:
        handlers["data"] = ocp.JsonCheckpointHandler()
    if options.get("create", True):
        options["cleanup_tmp_directories"] = True  # what a process that was killed has left
    if not orbax_stores_at(folder):
        return _open_mirrored(folder, handlers, options)
    if options.get("create", True) and isinstance(folder, Path):  # a bucket keeps checksums of its own
        options["async_options"] = ocp.AsyncOptions(post_finalization_callback=lambda: _write_sums(folder))
    return ocp.CheckpointManager(folder, item_handlers=handlers, options=ocp.CheckpointManagerOptions(**options))


def folder_of(manager: ocp.CheckpointManager) -> UserPath:
    """Where a manager's checkpoints are read: on a disk, or in a bucket."""
    return as_path(os.fspath(manager.directory))


def _open_mirrored(folder: UserPath, handlers: dict[str, Any], options: dict[str, Any]) -> ocp.CheckpointManager:
    processes = jax.process_count()
    if processes > 1:
        raise InputError(f"expected one process for checkpoints in such a bucket, found {processes}: {folder}")

    def send() -> None:
        for path in _write_sums(folder_of(manager)):
            manager.send(int(path.name.partition(".")[0]), path)

    options["async_options"] = ocp.AsyncOptions(post_finalization_callback=send)
    manager = MirroredManager(folder, item_handlers=handlers, options=options)
    return manager


def _write_sums(folder: Path) -> list[Path]:
    """Writes the sums of the checkpoint that is about to get its name; called on the first host alone."""
    unnamed = list(folder.glob("*.orbax-checkpoint-tmp*"))
    for path in unnamed:
        checkpoint_integrity.write_sums(path)
    return unnamed


def validated_item(metadata: Any) -> str:
    """The name of the parameters that a checkpoint was, or would have been, validated with."""
    return "average" if metadata.get("average") is not None else "params"


def check_arrays(path: UserPath, owner: str, metadata: Any, wanted_tree: Any) -> None:
    """Raises InputError if a checkpoint's arrays are not those wanted, which are those of `owner` ("network", say)."""
    if problems := compare_params(_named(metadata.tree), _named(wanted_tree)):
        raise MismatchError(f"a checkpoint of this {owner}", problems, path)


def _named(tree: Any) -> dict[str, Any]:
    # Orbax turns the numbers of a list's entries into strings; joined names are the same for both.
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: hasattr(node, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves if hasattr(leaf, "shape")
    }
