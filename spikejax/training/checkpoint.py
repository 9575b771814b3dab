"""Checkpoints of a run that trains, saved and continued from (orbax; no TensorFlow); `workdir` says where they lie.

Two managers, since one that keeps the best would drop the newest. Saving is asynchronous; a checkpoint appears under
its name only when it is whole, with the checksums of its files. The last two are kept, in case the newest is damaged
later. Whatever the number of hosts and the mesh that wrote them, any other can read them.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from spikejax.config.files import save_config
from spikejax.distributed import hosts
from spikejax.errors import InputError
from spikejax.io.json_files import write_json
from spikejax.io.paths import AnyPath, UserPath, user_path
from spikejax.quality.metrics import AFTER
from spikejax.training import checkpoint_integrity
from spikejax.training.checkpoint_manager import (
    STATE_ITEMS,
    check_arrays,
    check_saving,
    finish_saving,
    folder_of,
    open_manager,
)
from spikejax.training.monitoring.pending_metrics import NotFinite
from spikejax.training.step import TrainState
from spikejax.training.workdir import BEST, BEST_BY, CHECKPOINTS, CONFIG_FILE, LAST, NOT_FINITE, STATISTICS_FILE

_METRIC = f"{BEST_BY}_{AFTER}"
_KEPT = 2  # of `last`
_LOGGER = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints below one workdir, for the run that writes them.

    Args:
        workdir: the run's folder.
        config: written beside the checkpoints, to rebuild the network by.
        statistics: of the voxels, written beside the checkpoints so that restoring does not need the training data;
            None if the network takes no spikes.
        data_set: what tells the clips that are trained on from others, see `Inputs.identity`; None = nobody says.
        allow_other_data: whether a run may go on with others than those in whose order its place was kept.
    """

    def __init__(
        self,
        workdir: AnyPath,
        config: ConfigDict,
        *,
        statistics: Mapping[str, Any] | None,
        data_set: Mapping[str, int] | None = None,
        allow_other_data: bool = False,
    ):
        workdir = user_path(workdir)
        if hosts.is_first():
            save_config(config, workdir / CONFIG_FILE)
            if statistics is not None:
                write_json(workdir / STATISTICS_FILE, statistics)
        hosts.wait_for_all("the workdir's configuration")
        self.folder = workdir / CHECKPOINTS
        self._not_finite = workdir / NOT_FINITE
        self._data_set, self._allow_other_data = data_set, allow_other_data
        self._last = open_manager(self.folder / LAST, *STATE_ITEMS, max_to_keep=_KEPT)
        self._best = open_manager(
            self.folder / BEST,
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
        checkpoint_integrity.check_space(folder_of(self._last), missing[0] * one + missing[1] * best)

    def save_last(self, step: int, state: TrainState, data_state: dict | bytes) -> None:
        """Starts saving all that continuing needs; returns when `state` may be donated.

        Args:
            step: updates done.
            state: after that update.
            data_state: `get_state()` of the iterator after the last batch that was used.
        """
        if self._last.latest_step() != step:
            self._wait_among_hosts()
            self._last.save(step, args=self._state_to_save(state, data_state, skipped=int(state.skipped)))

    def save_not_finite(self, state: TrainState, failed: NotFinite, clips: Sequence[str], *, allowed: int) -> UserPath:
        """Saves the state that a batch made no finite loss or gradient of; returns the folder.

        Moved to checkpoints/last, it is what does that batch again. A JSON file beside it says what happened.

        Args:
            state: as it was before that update.
            failed: the update.
            clips: sequence and frames of its clips.
            allowed: updates that were left out before it.
        """
        step = failed.update - 1
        manager = open_manager(self._not_finite, *STATE_ITEMS)
        manager.save(step, args=self._state_to_save(state, failed.data_state, skipped=allowed), force=True)
        finish_saving(manager)
        manager.close()
        if hosts.is_first():
            write_json(self._not_finite / f"{step}.json", failed.to_json() | {"clips": list(clips)})
        return self._not_finite / str(step)

    def save_best(self, step: int, params: Any, metrics: Mapping[str, float]) -> None:
        """Starts saving the parameters if no validation before had a higher `psnr_recon`.

        A continued run comes again by validations that it did before it was stopped; those are not saved twice.
        """
        if step in self._best.all_steps():
            return
        finish_saving(self._best)  # the metrics of one that is still being saved cannot be read
        best = self._best.best_step()
        if best is not None and self._best.metrics(best)[_METRIC] >= metrics[_METRIC]:
            return
        arguments = ocp.args.Composite(params=ocp.args.StandardSave(params))
        self._wait_among_hosts()
        # Forced: after going back to an older `last`, the best one may have a higher number than this one.
        self._best.save(step, args=arguments, metrics=dict(metrics), force=True)

    def restore_last(self, abstract: TrainState) -> tuple[int, TrainState, dict | bytes] | None:
        """(Updates done, state, iterator's state) of the newest whole checkpoint, or None if there is none.

        One that is damaged is set aside as STEP.damaged, with a warning, and the one before it is used.

        Args:
            abstract: shapes, dtypes and shardings the state shall have; it may have been saved from another mesh.

        Raises:
            InputError: the checkpoint is of another network or optimizer, or other clips, or all are damaged.
        """
        step = self._newest_whole_step()
        if step is None:
            return None
        metadata = self._last.item_metadata(step)
        check_arrays(self.folder / LAST / str(step), "network", metadata.params, abstract.params)
        check_arrays(self.folder / LAST / str(step), "optimizer", metadata.optimizer, abstract.optimizer)
        arguments = {
            "params": ocp.args.StandardRestore(abstract.params),
            "optimizer": ocp.args.StandardRestore(abstract.optimizer),
            "data": ocp.args.JsonRestore(),
        }
        if abstract.average is not None:
            # Where none was kept so far it begins as the parameters.
            kept = metadata.get("average") is not None
            arguments["average" if kept else "params"] = ocp.args.StandardRestore(abstract.average)
        restored = self._last.restore(step, args=ocp.args.Composite(**arguments))
        self._check_data_set(restored.data, self.folder / LAST / str(step))
        average = None
        if abstract.average is not None:
            average = restored.average if "average" in arguments else jax.tree.map(jax.numpy.copy, restored.params)
        counts = (
            jax.make_array_from_callback((), abstract.step.sharding, np.full((), count, np.int32).__getitem__)
            for count in (step, restored.data["skipped"])
        )
        state = TrainState(next(counts), restored.params, restored.optimizer, average, next(counts))
        return step, state, _data_state_from_json(restored.data)

    def wait(self) -> None:
        """Waits until everything saved so far is on disk; raises what saving it on this host has failed by."""
        finish_saving(self._last)
        finish_saving(self._best)

    def check(self) -> None:
        """Raises what saving on this host has failed by, if that is known already."""
        check_saving(self._last)
        check_saving(self._best)

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Finishes, where its block fails, what is being saved: threads would run into the end of the interpreter."""
        try:
            yield
        except Exception:
            for manager in (self._last, self._best) if jax.process_count() == 1 else ():
                with contextlib.suppress(Exception):  # of the same disk; what the block failed by is said
                    manager.wait_until_finished()
            raise

    def close(self) -> None:
        """Finishes what is being saved and ends the background threads."""
        self.wait()
        self._last.close()
        self._best.close()

    def _state_to_save(self, state: TrainState, data_state: dict | bytes, *, skipped: int) -> ocp.args.Composite:
        items = {"params": state.params, "optimizer": state.optimizer, "average": state.average}
        arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items() if tree is not None}
        data = _data_state_to_json(data_state) | {"skipped": skipped}
        if self._data_set is not None:
            data["data_set"] = dict(self._data_set)
        return ocp.args.Composite(**arguments, data=ocp.args.JsonSave(data))

    def _check_data_set(self, saved: Mapping[str, Any], path: UserPath) -> None:
        before, now = saved.get("data_set"), self._data_set
        if self._allow_other_data or before is None or now is None or before == now:
            return
        found = f"{now['clips']}" + (" of other names" if before["clips"] == now["clips"] else "")
        raise InputError(
            f"expected the {before['clips']} training clips that the run was at, found {found} (--allow-config-changes "
            f"goes on with those, from another place among them): {path}"
        )

    def _wait_among_hosts(self) -> None:
        """Two managers that save at once get in each other's way: hosts meet at barriers that have the same names."""
        if jax.process_count() > 1:
            self.wait()

    def _newest_whole_step(self) -> int | None:
        """What the first host, which alone looks, finds; damaged ones after it are set aside.

        Raises:
            InputError: there are checkpoints, and all are damaged.
        """
        folder = folder_of(self._last)
        steps = sorted(self._last.all_steps(), reverse=True)
        with hosts.failing_together():
            chosen = _set_damaged_aside(folder, steps) if hosts.is_first() else None
        if jax.process_count() > 1:
            agreed = multihost_utils.broadcast_one_to_all(np.int32(-1 if chosen is None else chosen))
            chosen = None if agreed < 0 else int(agreed)
        self._last.reload()
        if steps and chosen is None:
            raise InputError(f"expected a checkpoint to continue from, found only damaged ones: {self.folder / LAST}")
        return chosen


def _set_damaged_aside(folder: UserPath, steps: Sequence[int]) -> int | None:
    """The first whole one of `steps`; renames those before it, unless there is none."""
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
        aside = folder / f"{newer}.damaged"
        shutil.rmtree(aside, ignore_errors=True)  # of an earlier start
        os.replace(folder / str(newer), aside)
    return step


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _data_state_to_json(state: dict | bytes) -> dict:
    return {"text": state.decode()} if isinstance(state, bytes) else {"fields": state}


def _data_state_from_json(saved: dict) -> dict | bytes:
    return saved["text"].encode() if "text" in saved else saved["fields"]
