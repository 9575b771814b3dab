"""Orbax managers of checkpoints, whose items are known by name, shape and checksum before anything is read."""

import os
import time
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from spikejax.errors import InputError
from spikejax.io.json_files import read_json
from spikejax.io.paths import UserPath, as_path, orbax_stores_at
from spikejax.io.weights import MismatchError, compare_params
from spikejax.training import checkpoint_integrity
from spikejax.training.checkpoint_mirror import MirroredManager

# All of a run's state; "average" may be missing.
STATE_ITEMS = ("params", "optimizer", "average", "data")
_SAVING_PERIOD = 0.02  # seconds between two looks at what is being saved


def open_manager(folder: UserPath, *items: str, **options: Any) -> ocp.CheckpointManager:
    """A manager that knows its items, so that it can say what a checkpoint holds before reading it.

    Raises:
        InputError: the scores of a checkpoint, which tell the best one, are damaged.
    """
    handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler() for name in items}
    if "data" in items:
        handlers["data"] = ocp.JsonCheckpointHandler()
    if options.get("create", True):
        options["cleanup_tmp_directories"] = True  # what a process that was killed has left
    if isinstance(folder, Path):
        for scores in folder.glob("[0-9]*/metrics/metrics"):  # as orbax is about to
            read_json(scores)
    if not orbax_stores_at(folder):
        return _open_mirrored(folder, handlers, options)
    if options.get("create", True) and isinstance(folder, Path):  # a bucket keeps checksums of its own
        options["async_options"] = ocp.AsyncOptions(post_finalization_callback=lambda: _write_sums(folder))
    kind = ocp.CheckpointManager if jax.process_count() == 1 else _SharedManager
    return kind(folder, item_handlers=handlers, options=ocp.CheckpointManagerOptions(**options))


class _SharedManager(ocp.CheckpointManager):
    """A manager of many hosts that knows at once that saving has failed on this one.

    Orbax has the failing host wait for the others before it says so, who wait for it to have written its part.

    Attributes:
        failure: what saving failed by.
    """

    failure: Exception | None = None

    def _wait_for_checkpointers(self) -> None:
        try:
            super()._wait_for_checkpointers()
        except Exception as error:
            self.failure = error
            raise


def check_saving(manager: ocp.CheckpointManager) -> None:
    """Raises what saving in the background has failed by, if that is known; waits for nothing."""
    if isinstance(manager, _SharedManager) and manager.failure is not None:
        raise manager.failure


def finish_saving(manager: ocp.CheckpointManager) -> None:
    """Waits until what a manager saves is on disk; raises what it fails by, on the host where it does."""
    while isinstance(manager, _SharedManager) and manager.is_saving_in_progress():
        check_saving(manager)
        time.sleep(_SAVING_PERIOD)
    manager.wait_until_finished()


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
