"""Checkpoints of a run, and the files that say which network and data they belong to (orbax; no TensorFlow).

    WORKDIR/config.json               the configuration
    WORKDIR/statistics.json           mean and std that standardise the voxels, if the network takes spikes
    WORKDIR/checkpoints/last/STEP       parameters, optimizer, position of the data: what continuing needs
    WORKDIR/checkpoints/best_psnr/STEP  parameters and metrics of the best validation: what restoring needs

Two managers, since one that keeps the best would drop the newest. Saving is asynchronous; a checkpoint appears under
its name only when it is whole.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import nnx
from ml_collections import ConfigDict

from spikejax.data.layout import read_json, write_json
from spikejax.errors import InputError
from spikejax.models.restorer import build_restorer
from spikejax.training.config import differences, read_saved_config, save_config
from spikejax.training.step import Build, TrainState
from spikejax.weights import parameter_name

CONFIG_FILE = "config.json"
STATISTICS_FILE = "statistics.json"
_METRIC = "psnr_recon"  # what "best" means; higher is better


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
        save_config(config, workdir / CONFIG_FILE)
        if statistics is not None:
            write_json(workdir / STATISTICS_FILE, statistics)
        self.folder = workdir / "checkpoints"
        self._last = _manager(self.folder / "last", "params", "optimizer", max_to_keep=1)
        self._best = _manager(
            self.folder / "best_psnr",
            "params",
            max_to_keep=1,
            best_fn=lambda metrics: metrics[_METRIC],
            best_mode="max",
        )

    def save_last(self, step: int, state: TrainState, data_state: dict | bytes) -> None:
        """Starts saving all that continuing needs; returns when `state` may be donated.

        Args:
            step: updates done.
            state: after that update.
            data_state: `get_state()` of the iterator after the last batch that was used.
        """
        if self._last.latest_step() == step:
            return
        self._last.save(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardSave(state.params),
                optimizer=ocp.args.StandardSave(state.optimizer),
                data=ocp.args.JsonSave(_data_state_to_json(data_state)),
            ),
        )

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
        # Forced: after going back to an older `last`, the best one may have a higher number than this one.
        self._best.save(step, args=arguments, metrics=dict(metrics), force=True)

    def restore_last(self, abstract: TrainState) -> tuple[int, TrainState, dict | bytes] | None:
        """Returns (updates done, state, iterator's state) of the newest checkpoint, or None if there is none.

        Args:
            abstract: shapes, dtypes and shardings the state shall have; it may have been saved from another mesh.

        Raises:
            InputError: the checkpoint is of another network.
        """
        step = self._last.latest_step()
        if step is None:
            return None
        _check_same_network(self._last, step, abstract.params)
        found = self._last.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(abstract.params),
                optimizer=ocp.args.StandardRestore(abstract.optimizer),
                data=ocp.args.JsonRestore(),
            ),
        )
        count = jax.device_put(jax.numpy.asarray(step, abstract.step.dtype), abstract.step.sharding)
        state = TrainState(step=count, params=found.params, optimizer=found.optimizer)
        return step, state, _data_state_from_json(found.data)

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        self._last.wait_until_finished()
        self._best.wait_until_finished()

    def close(self) -> None:
        """Finishes what is being saved and ends the background threads."""
        self._last.close()
        self._best.close()


def check_workdir(workdir: str | Path, config: ConfigDict) -> None:
    """Checks that a workdir with checkpoints belongs to the network of `config`.

    Raises:
        InputError: it belongs to another; the message says what differs.
    """
    if not any(Path(workdir).glob("checkpoints/*/[0-9]*")):
        return  # nothing to continue from, whatever a run that came to nothing has left
    changed = differences(read_saved_config(Path(workdir) / CONFIG_FILE).model, config.model)
    if changed:
        raise InputError(
            f"{workdir} holds a run of another network (model.{', model.'.join(changed)}); "
            "choose another --workdir or the configuration it was started with"
        )


def load_for_inference(
    workdir: str | Path, *, which: str | None = None, build: Build = build_restorer
) -> tuple[ConfigDict, dict, dict | None]:
    """Returns (configuration, parameters, statistics of the voxels) of a trained network.

    Args:
        workdir: the folder that training wrote to.
        which: "best_psnr" or "last"; None = the best if there is one, else the last.
        build: makes the network of `config.model`, to know what the checkpoint should hold.

    Returns:
        The locked configuration; the parameters as the nested dict that `nnx.merge` takes, on one device; and
        {"mean", "std", "bins", ...}, or None if the network takes no spikes.

    Raises:
        InputError: no run or no checkpoint there, or a checkpoint of another network than config.json says.
    """
    workdir = Path(workdir).absolute()
    config = read_saved_config(workdir / CONFIG_FILE)
    folders = [workdir / "checkpoints" / name for name in ([which] if which else ["best_psnr", "last"])]
    for folder in folders:
        if not folder.is_dir():
            continue
        with _manager(folder, "params", create=False) as manager:
            step = manager.latest_step()
            if step is not None:
                params = _restore_params(manager, step, _abstract_params(build, config))
                return config, params, read_json(workdir / STATISTICS_FILE)
    raise InputError(f"expected a checkpoint in {' or '.join(str(folder) for folder in folders)}, found none")


def _manager(folder: Path, *trees: str, **options: Any) -> ocp.CheckpointManager:
    """Returns a manager that knows its items, so that it can say what a checkpoint holds before reading it."""
    handlers: dict[str, Any] = {name: ocp.StandardCheckpointHandler() for name in trees}
    if "optimizer" in trees:
        handlers["data"] = ocp.JsonCheckpointHandler()
    return ocp.CheckpointManager(folder, item_handlers=handlers, options=ocp.CheckpointManagerOptions(**options))


def _abstract_params(build: Build, config: ConfigDict) -> dict:
    model = nnx.eval_shape(lambda: build(config.model.to_dict(), rngs=nnx.Rngs(0)))
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), nnx.to_pure_dict(nnx.state(model))
    )


def _restore_params(manager: ocp.CheckpointManager, step: int, abstract: dict) -> dict:
    _check_same_network(manager, step, abstract)
    return manager.restore(step, args=ocp.args.Composite(params=ocp.args.StandardRestore(abstract))).params


def _check_same_network(manager: ocp.CheckpointManager, step: int, params: Any) -> None:
    """Raises InputError if the checkpoint's parameters are not those of `params`, by name and shape."""
    saved = _shapes(manager.item_metadata(step).params.tree)
    wanted = _shapes(params)
    wrong = [
        f"{name}: {saved.get(name, 'absent')} in the checkpoint, {wanted.get(name, 'absent')} in the network"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise InputError(f"{manager.directory / str(step)} is a checkpoint of another network: {wrong[0]}{more}")


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    # Orbax turns the numbers of a list's entries into strings; joined names are the same for both.
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: hasattr(node, "shape"))
    return {parameter_name(path): tuple(leaf.shape) for path, leaf in leaves}


def _data_state_to_json(state: dict | bytes) -> dict:
    return {"text": state.decode()} if isinstance(state, bytes) else {"fields": state}


def _data_state_from_json(saved: dict) -> dict | bytes:
    return saved["text"].encode() if "text" in saved else saved["fields"]
