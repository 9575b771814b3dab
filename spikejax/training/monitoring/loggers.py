"""The loggers that `training.loggers` names; each is imported where it is asked for, and not before.

Every run also writes metrics.jsonl, whatever its loggers. To add a logger: an entry of LOGGERS, in NEEDED the extra
of the modules that it imports (see `spikejax.extras`), and its name in `spikejax.config.keys`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spikejax import extras
from spikejax.extensions import find_entries
from spikejax.training.monitoring.run_logger import RunLogger, RunStart

LoggerFactory = Callable[[RunStart], RunLogger]


def _open_tensorboard(run: RunStart) -> RunLogger:
    from spikejax.training.monitoring.tensorboard import TensorBoardLogger

    return TensorBoardLogger(run)


def _open_wandb(run: RunStart) -> RunLogger:
    from spikejax.training.monitoring.wandb_logger import WandbLogger

    return WandbLogger(run)


def _open_mlflow(run: RunStart) -> RunLogger:
    from spikejax.training.monitoring.mlflow_logger import MLflowLogger

    return MLflowLogger(run)


LOGGERS: dict[str, LoggerFactory] = {
    "tensorboard": _open_tensorboard,
    "wandb": _open_wandb,
    "mlflow": _open_mlflow,
}
# The extra of each.
NEEDED: Mapping[str, str] = {"tensorboard": "train", "wandb": "wandb", "mlflow": "mlflow"}
_KEY = "training.loggers"


def find_loggers(names: Sequence[str], *, note: Callable[[str], None]) -> dict[str, LoggerFactory]:
    """The loggers called `names`, of the table or of the user's code, by their names.

    TensorBoard is left out where TensorFlow has no wheel, or is not installed: the curves are in metrics.jsonl as well.

    Args:
        names: of `training.loggers`.
        note: takes a line for the user.

    Raises:
        InputError: there is no such logger, or what it needs is not installed.
    """
    loggers = find_entries(LOGGERS, names, key=_KEY, kind=Callable)
    for name in [name for name in names if name in NEEDED]:
        extra = NEEDED[name]
        if name != "tensorboard":
            extras.require(extra, f"{_KEY}={name}")
        elif missing := extras.missing_module(extra):
            note(f"no TensorBoard without {missing} (pip install 'spikejax[{extra}]'): metrics.jsonl has the curves")
            del loggers[name]
    return loggers
