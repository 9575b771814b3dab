"""Checkpoints of a run, and the files that say which network and data they belong to (orbax; no TensorFlow).

    WORKDIR/config.json               the configuration
    WORKDIR/statistics.json           mean and std that standardise the voxels, if the network takes spikes
    WORKDIR/checkpoints/last/STEP       parameters, optimizer, position of the data: what continuing needs
    WORKDIR/checkpoints/best_psnr/STEP  parameters and metrics of the best validation: what restoring needs
    WORKDIR/not_finite/STEP             as `last`, of the update whose loss or gradient was not finite

Two managers, since one that keeps the best would drop the newest. Saving is asynchronous; a checkpoint appears under
its name only when it is whole, with the checksums of its files. The last two are kept, in case the newest is damaged
later. Whatever the number of hosts and the mesh that wrote them, any other can read them.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from spikejax.config.files import differences, read_saved_config, save_config
from spikejax.distributed import hosts
from spikejax.errors import InputError
from spikejax.io.json_files import read_json, write_json
from spikejax.io.weights import MismatchError, compare, flatten_params
from spikejax.models.restorer import build_restorer, refuse_code
from spikejax.training import checkpoint_integrity
from spikejax.training.monitoring.pending_metrics import NotFinite
from spikejax.training.step import Build, TrainState

CONFIG_FILE = "config.json"
STATISTICS_FILE = "statistics.json"
_METRIC = "psnr_recon"  # what "best" means; higher is better
_KEPT = 2  # of `last`
_LOGGER = logging.getLogger(__name__)
# What may change between a run and its continuation without changing its numbers, by more than rounding at least.
_HARMLESS = (
    *("mesh.", "data.workers", "restore.", "validation.every", "validation.pictures"),
    *("training.log_every", "training.checkpoint_every", "training.profile_"),
)


class Checkpoints:
    """The checkpoints below one workdir, for the run that writes them.

    Args:
        workdir: the run's folder.
        config: written beside the checkpoints, to rebuild the network by.
        statistics: of the voxels, written beside the checkpoints so that restoring does not need the training data;
            None if the network takes no spikes.
    """

    def __init__(self, workdir: str | Path, config: ConfigDict, *, statistics: Mapping[str, Any] | None):
        workdir = Path(workdir).absolute()
        if hosts.is_first():
            save_config(config, workdir / CONFIG_FILE)
            if statistics is not None:
                write_json(workdir / STATISTICS_FILE, statistics)
        hosts.wait_for_all("the workdir's configuration")
        self.folder = workdir / "checkpoints"
        self._not_finite = workdir / "not_finite"
        self._last = _manager(self.folder / "last", *_STATE_ITEMS, max_to_keep=_KEPT)
        self._best = _manager(
            self.folder / "best_psnr",
            "params",
            max_to_keep=1,
            best_fn=lambda metrics: metrics[_METRIC],
            best_mode="max",
        )

    def check_space(self, abstract: TrainState) -> None:
        """Raises InputError if the disk is too small for the checkpoints there will be."""
        one, best = _bytes(abstract), _bytes(abstract.params)
        # While one is written, those that are kept are still there.
        missing = max(_KEPT + 1 - len(self._last.all_steps()), 1), 2 - len(self._best.all_steps())
        checkpoint_integrity.check_space(self.folder, missing[0] * one + missing[1] * best)

    def save_last(self, step: int, state: TrainState, data_state: dict | bytes) -> None:
        """Starts saving all that continuing needs; returns when `state` may be donated.

        Args:
            step: updates done.
            state: after that update.
            data_state: `get_state()` of the iterator after the last batch that was used.
        """
        if self._last.latest_step() != step:
            self._wait_among_hosts()
            self._last.save(step, args=_state_to_save(state, data_state, skipped=int(state.skipped)))

    def save_not_finite(self, state: TrainState, failed: NotFinite, clips: Sequence[str], *, allowed: int) -> Path:
        """Saves the state that a batch made no finite loss or gradient of; returns the folder.

        Moved to checkpoints/last, it is what does that batch again. A JSON file beside it says what happened.

        Args:
            state: as it was before that update.
            failed: the update.
            clips: sequence and frames of its clips.
            allowed: updates that were left out before it.
        """
        step = failed.update - 1
        with _manager(self._not_finite, *_STATE_ITEMS) as manager:
            manager.save(step, args=_state_to_save(state, failed.data_state, skipped=allowed), force=True)
        if hosts.is_first():
            write_json(self._not_finite / f"{step}.json", failed.to_json() | {"clips": list(clips)})
        return self._not_finite / str(step)

    def save_best(self, step: int, params: Any, metrics: Mapping[str, float]) -> None:
        """Starts saving the parameters if no validation before had a higher `psnr_recon`.

        A continued run comes again by validations that it did before it was stopped; those are not saved twice.
        """
        if step in self._best.all_steps():
            return
        self._best.wait_until_finished()  # the metrics of one that is still being saved cannot be read
        best = self._best.best_step()
        if best is not None and self._best.metrics(best)[_METRIC] >= metrics[_METRIC]:
            return
        arguments = ocp.args.Composite(params=ocp.args.StandardSave(params))
        self._wait_among_hosts()
        # Forced: after going back to an older `last`, the best one may have a higher number than this one.
        self._best.save(step, args=arguments, metrics=dict(metrics), force=True)

    def restore_last(self, abstract: TrainState) -> tuple[int, TrainState, dict | bytes] | None:
        """Returns (updates done, state, iterator's state) of the newest whole checkpoint, or None if there is none.

        One that is damaged is set aside as STEP.damaged, with a warning, and the one before it is used.

        Args:
            abstract: shapes, dtypes and shardings the state shall have; it may have been saved from another mesh.

        Raises:
            InputError: the checkpoint is of another network or optimizer, or all are damaged.
        """
        step = self._newest_whole_step()
        if step is None:
            return None
        metadata = self._last.item_metadata(step)
        _check_same(Path(self._last.directory) / str(step), "network", metadata.params, abstract.params)
        _check_same(Path(self._last.directory) / str(step), "optimizer", metadata.optimizer, abstract.optimizer)
        arguments = {
            "params": ocp.args.StandardRestore(abstract.params),
            "optimizer": ocp.args.StandardRestore(abstract.optimizer),
            "data": ocp.args.JsonRestore(),
        }
        if abstract.average is not None:
            # Where none was kept so far it begins as the parameters.
            kept = metadata.get("average") is not None
            arguments["average" if kept else "params"] = ocp.args.StandardRestore(abstract.average)
        found = self._last.restore(step, args=ocp.args.Composite(**arguments))
        average = None
        if abstract.average is not None:
            average = found.average if "average" in arguments else jax.tree.map(jax.numpy.copy, found.params)
        counts = (
            jax.make_array_from_callback((), abstract.step.sharding, np.full((), count, np.int32).__getitem__)
            for count in (step, found.data["skipped"])
        )
        state = TrainState(next(counts), found.params, found.optimizer, average, next(counts))
        return step, state, _data_state_from_json(found.data)

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        self._last.wait_until_finished()
        self._best.wait_until_finished()

    def close(self) -> None:
        """Finishes what is being saved and ends the background threads."""
        self._last.close()
        self._best.close()

    def _wait_among_hosts(self) -> None:
        """Two managers that save at once get in each other's way: hosts meet at barriers that have the same names."""
        if jax.process_count() > 1:
            self.wait()

    def _newest_whole_step(self) -> int | None:
        """Returns what the first host, which alone looks, finds; damaged ones after it are set aside.

        Raises:
            InputError: there are checkpoints, and all are damaged.
        """
        folder = Path(self._last.directory)
        steps = sorted(self._last.all_steps(), reverse=True)
        chosen = _set_damaged_aside(folder, steps) if hosts.is_first() else None
        if jax.process_count() > 1:
            found = multihost_utils.broadcast_one_to_all(np.int32(-1 if chosen is None else chosen))
            chosen = None if found < 0 else int(found)
        self._last.reload()
        if steps and chosen is None:
            raise InputError(f"expected a checkpoint to continue from, found only damaged ones: {folder}")
        return chosen


def _set_damaged_aside(folder: Path, steps: Sequence[int]) -> int | None:
    """Returns the first whole one of `steps`; renames those before it, unless there is none."""
    damaged: dict[int, str] = {}
    for step in steps:
        wrong = checkpoint_integrity.damage(folder / str(step))
        if wrong is None:
            break
        damaged[step] = wrong
        _LOGGER.warning("the checkpoint %s is damaged and not used: %s", folder / str(step), wrong)
    else:
        return None
    for newer in damaged:
        os.replace(folder / str(newer), folder / f"{newer}.damaged")
    return step


def check_workdir(workdir: str | Path, config: ConfigDict, *, allow_changes: bool = False) -> list[str]:
    """Returns how `config` differs from that of the run whose checkpoints a workdir holds.

    What cannot change the run's numbers does not count: mesh, number of workers, how often is logged, saved, validated.

    Args:
        workdir: the run's folder.
        config: what is about to be trained there.
        allow_changes: whether it may differ.

    Raises:
        InputError: it may not and does; the message says in what.
    """
    if not any(Path(workdir).glob("checkpoints/*/[0-9]*")):
        return []  # nothing to continue from, whatever a run that came to nothing has left
    changed = [
        change
        for change in differences(read_saved_config(Path(workdir) / CONFIG_FILE), config)
        if not change.startswith(_HARMLESS)
    ]
    if changed and not allow_changes:
        raise InputError(
            f"{workdir} holds a run of another configuration ({'; '.join(changed)}); choose another --workdir, "
            "the configuration it was started with, or --allow-config-changes"
        )
    return changed


def load_for_inference(
    workdir: str | Path, *, which: str | None = None, build: Build = build_restorer, run_code: bool = False
) -> tuple[ConfigDict, dict, dict | None]:
    """Returns (configuration, parameters, statistics of the voxels) of a trained network.

    Args:
        workdir: the folder that training wrote to.
        which: "best_psnr" or "last"; None = the best if there is one, else the last.
        build: makes the network of `config.model`, to know what the checkpoint should hold.
        run_code: whether code that `config.model` names (FILE.py:NAME) may be run; a workdir may be anybody's.

    Returns:
        The locked configuration; the parameters as the nested dict that `nnx.merge` takes, on one device; and
        {"mean", "std", "bins", ...}, or None if the network takes no spikes.

    Raises:
        InputError: no run or no checkpoint there, or a checkpoint of another network than config.json says.
    """
    workdir = Path(workdir).absolute()
    config = read_saved_config(workdir / CONFIG_FILE)
    if not run_code:
        refuse_code(config.model, source=workdir / CONFIG_FILE)
    with _newest(workdir, [which] if which else ["best_psnr", "last"]) as (manager, step):
        params = _restore_params(manager, step, _abstract_params(build, config))
        return config, params, read_json(workdir / STATISTICS_FILE)


def checkpoint_for_inference(workdir: str | Path, *, which: str | None = None) -> str:
    """Returns which checkpoint `load_for_inference` reads, as "best_psnr/STEP" or "last/STEP".

    Raises:
        InputError: there is none.
    """
    with _newest(Path(workdir).absolute(), [which] if which else ["best_psnr", "last"]) as (manager, step):
        return f"{Path(manager.directory).name}/{step}"


@contextmanager
def _newest(workdir: Path, names: Sequence[str]) -> Iterator[tuple[ocp.CheckpointManager, int]]:
    """Yields the first of the named managers that has a whole checkpoint, and its newest step."""
    folders = [workdir / "checkpoints" / name for name in names]
    for folder in folders:
        if not folder.is_dir():
            continue
        with _manager(folder, "params", "average", create=False) as manager:
            for step in sorted(manager.all_steps(), reverse=True):
                wrong = checkpoint_integrity.damage(folder / str(step))
                if wrong is None:
                    yield manager, step
                    return
                _LOGGER.warning("the checkpoint %s is damaged and not used: %s", folder / str(step), wrong)
    raise InputError(f"expected a checkpoint in {' or '.join(str(folder) for folder in folders)}, found none")


_STATE_ITEMS = ("params", "optimizer", "average", "data")


def _manager(folder: Path, *items: str, **options: Any) -> ocp.CheckpointManager:
    """Returns a manager that knows its items, so that it can say what a checkpoint holds before reading it."""
    handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler() for name in items}
    if "data" in items:
        handlers["data"] = ocp.JsonCheckpointHandler()
    if options.get("create", True):
        options["cleanup_tmp_directories"] = True  # what a process that was killed has left
        options["async_options"] = ocp.AsyncOptions(post_finalization_callback=lambda: _write_sums(folder))
    return ocp.CheckpointManager(folder, item_handlers=handlers, options=ocp.CheckpointManagerOptions(**options))


def _write_sums(folder: Path) -> None:
    """Writes the sums of the checkpoint that is about to get its name; called on the first host alone."""
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        checkpoint_integrity.write_sums(path)


def _state_to_save(state: TrainState, data_state: dict | bytes, *, skipped: int) -> ocp.args.Composite:
    items = {"params": state.params, "optimizer": state.optimizer, "average": state.average}
    arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items() if tree is not None}
    data = _data_state_to_json(data_state) | {"skipped": skipped}
    return ocp.args.Composite(**arguments, data=ocp.args.JsonSave(data))


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def read_params(workdir: str | Path) -> dict[str, np.ndarray]:
    """Returns the parameters of a run by their dotted names, whatever its network: of the best validation, or the last.

    Raises:
        InputError: no checkpoint there.
    """
    with _newest(Path(workdir).absolute(), ["best_psnr", "last"]) as (manager, step):
        metadata = manager.item_metadata(step)
        name = _validated_item(metadata)
        on_host = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), metadata[name].tree)
        found = manager.restore(step, args=ocp.args.Composite(**{name: ocp.args.StandardRestore(on_host)}))
        return flatten_params(found[name])


def _abstract_params(build: Build, config: ConfigDict) -> dict:
    model = nnx.eval_shape(lambda: build(config.model.to_dict(), rngs=nnx.Rngs(0)))
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), nnx.to_pure_dict(nnx.state(model))
    )


def _restore_params(manager: ocp.CheckpointManager, step: int, abstract: dict) -> dict:
    metadata = manager.item_metadata(step)
    name = _validated_item(metadata)
    _check_same(Path(manager.directory) / str(step), "network", metadata[name], abstract)
    return manager.restore(step, args=ocp.args.Composite(**{name: ocp.args.StandardRestore(abstract)}))[name]


def _validated_item(metadata: Any) -> str:
    """Returns the name of the parameters that a checkpoint was, or would have been, validated with."""
    return "average" if metadata.get("average") is not None else "params"


def _check_same(path: Path, of: str, metadata: Any, wanted_tree: Any) -> None:
    """Raises InputError if a checkpoint's arrays are not those wanted."""
    if problems := compare(_named(metadata.tree), _named(wanted_tree)):
        raise MismatchError(f"a checkpoint of this {of}", problems, path)


def _named(tree: Any) -> dict[str, Any]:
    # Orbax turns the numbers of a list's entries into strings; joined names are the same for both.
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: hasattr(node, "shape"))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves if hasattr(leaf, "shape")
    }


def _data_state_to_json(state: dict | bytes) -> dict:
    return {"text": state.decode()} if isinstance(state, bytes) else {"fields": state}


def _data_state_from_json(saved: dict) -> dict | bytes:
    return saved["text"].encode() if "text" in saved else saved["fields"]
