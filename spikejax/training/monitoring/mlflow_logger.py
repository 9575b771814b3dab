"""Logs of a run for MLflow; imported where `training.loggers` names it.

The run's id is kept in WORKDIR/mlflow.json, so that a run that goes on is the same there. MLflow cannot take points
back: those that a process logged before it was killed stay, and are not logged again. MLFLOW_TRACKING_URI (default:
the folder WORKDIR/mlruns) and MLFLOW_EXPERIMENT_NAME (default: spikejax) work as always.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from spikejax.errors import one_line
from spikejax.io.json_files import write_json
from spikejax.training.monitoring.run_logger import RunLogger, RunStart, read_identity

_ID_FILE = "mlflow.json"
# Of one request, and of a parameter's value.
_MANY, _LONG = 100, 500


class MLflowLogger(RunLogger):
    """Writes to a run of MLflow."""

    def __init__(self, run: RunStart) -> None:
        self._logged: set[tuple[int, str]] = set()
        uri = os.environ.get("MLFLOW_TRACKING_URI") or _own_folder(run.workdir)
        kept = read_identity(run.workdir / _ID_FILE, "tracking_uri", "run_id")
        self._client = MlflowClient(tracking_uri=uri)
        run_id = None
        if kept is not None and kept["tracking_uri"] == uri:
            run_id = self._resume(kept["run_id"], run.step)
        self._run_id = self._create(run.workdir.name) if run_id is None else run_id
        self._log_settings(run.settings)
        write_json(run.workdir / _ID_FILE, {"tracking_uri": uri, "run_id": self._run_id})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `RunLogger`."""
        now = int(time.time() * 1000)
        named = {_metric_name(name): value for name, value in values.items()}
        points = [Metric(name, value, now, step) for name, value in named.items() if (step, name) not in self._logged]
        with _going_on_without(f"the points of step {step}"):
            self._client.log_batch(self._run_id, metrics=points)

    def texts(self, step: int, texts: Mapping[str, str]) -> None:
        """See `RunLogger`; they become files."""
        for name, text in texts.items():
            with _going_on_without(name):
                self._client.log_text(self._run_id, text, f"{name}_{step:07d}.txt")

    def pictures(self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> None:
        """See `RunLogger`; they become files."""
        for name, picture in pictures.items():
            with _going_on_without(f"the picture of {name}"):
                self._client.log_image(self._run_id, picture, f"pictures/{name}_{step:07d}.png")

    def close(self) -> None:
        """See `RunLogger`."""
        with _going_on_without("the end"):
            self._client.set_terminated(self._run_id)

    def _resume(self, run_id: str, step: int) -> str | None:
        """The run's id, if MLflow still has it; knows then which points it has from `step` on."""
        try:
            metrics = self._client.get_run(run_id).data.metrics
        except MlflowException:  # deleted there
            return None
        self._client.update_run(run_id, status="RUNNING")
        for name in metrics:
            history = self._client.get_metric_history(run_id, name)
            self._logged |= {(point.step, name) for point in history if point.step >= step}
        return run_id

    def _create(self, name: str) -> str:
        experiment_name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "spikejax")
        experiment = self._client.get_experiment_by_name(experiment_name)
        number = self._client.create_experiment(experiment_name) if experiment is None else experiment.experiment_id
        return self._client.create_run(number, run_name=name).info.run_id

    def _log_settings(self, settings: Mapping[str, object]) -> None:
        """Logs the settings that the run does not have yet; MLflow does not let one be changed."""
        present = self._client.get_run(self._run_id).data.params
        params = [Param(name, str(value)[:_LONG]) for name, value in settings.items() if name not in present]
        for first in range(0, len(params), _MANY):
            self._client.log_batch(self._run_id, params=params[first : first + _MANY])


def _own_folder(workdir: Path) -> str:
    """The address of WORKDIR/mlruns, a store of files: for a database MLflow needs more than mlflow-skinny."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    return (workdir / "mlruns").as_uri()


@contextlib.contextmanager
def _going_on_without(what: str) -> Iterator[None]:
    """Lets a run of days go on where a server is away for longer than MLflow waits for it."""
    try:
        yield
    except MlflowException as error:
        print(f"spikejax: MLflow has not taken {what}: {one_line(error)}", file=sys.stderr)


def _metric_name(name: str) -> str:
    """GROUP/NAME, with dots within NAME: a store of files takes "loss" for a file and cannot have "loss/term" then."""
    group, _, rest = name.partition("/")
    return f"{group}/{rest.replace('/', '.')}"
