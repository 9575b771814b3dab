"""Orbax managers of checkpoints, whose items are known by name, shape and checksum before anything is read."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from spikejax.io.paths import UserPath
from spikejax.io.weights import MismatchError, compare_params
from spikejax.training import checkpoint_integrity

# All of a run's state; "average" may be missing.
STATE_ITEMS = ("params", "optimizer", "average", "data")


def open_manager(folder: UserPath, *items: str, **options: Any) -> ocp.CheckpointManager:
    """A manager that knows its items, so that it can say what a checkpoint holds before reading it."""
    handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler() for name in items}
    if "data" in items:
        handlers["data"] = ocp.JsonCheckpointHandler()
    if options.get("create", True):
        options["cleanup_tmp_directories"] = True  # what a process that was killed has left
        if isinstance(folder, Path):  # a bucket keeps checksums of its own
            options["async_options"] = ocp.AsyncOptions(post_finalization_callback=lambda: _write_sums(folder))
    return ocp.CheckpointManager(folder, item_handlers=handlers, options=ocp.CheckpointManagerOptions(**options))


def _write_sums(folder: Path) -> None:
    """Writes the sums of the checkpoint that is about to get its name; called on the first host alone."""
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        checkpoint_integrity.write_sums(path)


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
