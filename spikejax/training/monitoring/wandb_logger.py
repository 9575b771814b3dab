"""Logs of a run for Weights & Biases; imported where `training.loggers` names it.

The run's id is kept in WORKDIR/wandb.json, so that a run that goes on is the same there. W&B cannot take points back:
those that a process logged before it was killed stay, and are not logged again. W&B writes once a second, so a kill may
cost it the points of the last one, which metrics.jsonl has. WANDB_PROJECT (default: spikejax), WANDB_MODE and W&B's
other variables work as always.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping

import numpy as np
import wandb
from jaxtyping import UInt8

from spikejax.io.json_files import write_json
from spikejax.training.monitoring.run_logger import RunLogger, RunStart, read_identity

_ID_FILE = "wandb.json"
# Of our own: W&B's step can only grow, and a row of it cannot be added to once it is on its way.
_STEP = "step"
# Between two writes to disk; unless told otherwise W&B waits for fifteen, and a kill costs what was logged in them.
_SECONDS = 1.0


class WandbLogger(RunLogger):
    """Writes to a run of W&B, with its files in WORKDIR/wandb."""

    def __init__(self, run: RunStart) -> None:
        kept = read_identity(run.workdir / _ID_FILE, "id")
        self._handed_over = frozenset() if kept is None else run.handed_over
        if kept is None:
            kept = {"id": secrets.token_hex(4)}
            write_json(run.workdir / _ID_FILE, kept)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "spikejax"),
            name=os.environ.get("WANDB_NAME", run.workdir.name),
            id=kept["id"],
            resume="allow",
            dir=os.fspath(run.workdir),
            config=dict(run.settings),
            allow_val_change=True,
            settings=wandb.Settings(x_transaction_log_flush_interval=_SECONDS),
        )
        self._run.define_metric("*", step_metric=_STEP)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `RunLogger`."""
        new = {name: value for name, value in values.items() if (step, name) not in self._handed_over}
        if new:
            self._run.log({_STEP: step, **new})

    def pictures(self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> None:
        """See `RunLogger`."""
        self._run.log({_STEP: step, **{f"pictures/{name}": wandb.Image(value) for name, value in pictures.items()}})

    def close(self) -> None:
        """See `RunLogger`."""
        self._run.finish()
