"""The loggers that `training.loggers` names; each is imported where it is asked for, and not before.

Every run also writes metrics.jsonl, whatever its loggers. To add a logger: an entry of LOGGERS, in NEEDED the extra
of the modules that it imports (see `spikejax.extras`), and its name in `spikejax.config.keys`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from spikejax import extras
from spikejax.errors import InputError, one_line
from spikejax.extensions import find_entries
from spikejax.training.monitoring.run_logger import RunLogger, RunStart

LoggerFactory = Callable[[RunStart], RunLogger]


_KEY = "training.loggers"
_CURVES = "metrics.jsonl has the curves"


class _NoLogger(RunLogger):
    """In place of one that cannot be imported and that the run can do without."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Leaves them out."""


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Within it, what keeps a logger from beginning ends in one line that names it: a key, a server, a folder."""
    try:
        with extras.named_when_missing():
            yield
    except InputError:
        raise
    except Exception as error:  # each logger, and what is below it, has classes of its own
        raise InputError(f"{_KEY}: {name}: {type(error).__name__}: {one_line(error)}") from error


def _open_tensorboard(run: RunStart) -> RunLogger:
    try:
        from spikejax.training.monitoring.tensorboard import TensorBoardLogger
    except Exception as error:  # TensorFlow built for another NumPy, say
        what = f"{type(error).__name__}: {one_line(error)}"
        print(f"spikejax: no TensorBoard, {_CURVES}; importing it failed: {what}", file=sys.stderr)
        return _NoLogger()
    with _named("tensorboard"):
        return TensorBoardLogger(run)


def _open_wandb(run: RunStart) -> RunLogger:
    with _named("wandb"):
        from spikejax.training.monitoring.wandb_logger import WandbLogger

        return WandbLogger(run)


def _open_mlflow(run: RunStart) -> RunLogger:
    with _named("mlflow"):
        from spikejax.training.monitoring.mlflow_logger import MLflowLogger

        return MLflowLogger(run)


LOGGERS: dict[str, LoggerFactory] = {
    "tensorboard": _open_tensorboard,
    "wandb": _open_wandb,
    "mlflow": _open_mlflow,
}
# The extra of each.
NEEDED: Mapping[str, str] = {"tensorboard": "train", "wandb": "wandb", "mlflow": "mlflow"}


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
            note(f"no TensorBoard without {missing} (pip install 'spikejax[{extra}]'): {_CURVES}")
            del loggers[name]
    return loggers
