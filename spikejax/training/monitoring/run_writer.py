"""All that a run writes of itself but checkpoints: metrics.jsonl, pictures, texts, and what its loggers keep."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from ml_collections import ConfigDict

from spikejax.config.keys import leaves
from spikejax.distributed import hosts
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.bucket_mirror import BucketMirror
from spikejax.io.paths import UserPath
from spikejax.io.pictures import write_picture
from spikejax.training.monitoring.goodput import GOODPUT
from spikejax.training.monitoring.loggers import LoggerFactory
from spikejax.training.monitoring.metrics_log import METRICS_LOG, MetricsLog
from spikejax.training.monitoring.provenance import versions
from spikejax.training.monitoring.run_logger import RunLogger, RunStart

# What a run that goes on adds to.
_GO_ON = (METRICS_LOG, GOODPUT, "tensorboard", "wandb.json")


class RunWriter:
    """Writes scalars, pictures and texts of the run in `workdir`; on the first host alone.

    Those of a workdir in a bucket are written on a disk, and sent there before every checkpoint.

    Attributes:
        folder: where everything is written: the workdir, or its mirror on a disk.
        picture_folder: where pictures are found.
    """

    def __init__(
        self, workdir: UserPath, config: ConfigDict, loggers: Mapping[str, LoggerFactory], *, step: int
    ) -> None:
        """Takes up the logs where the run goes on.

        Args:
            workdir: the run's folder.
            config: of the run.
            loggers: of `find_loggers`.
            step: updates done; of later ones nothing is kept.

        Raises:
            InputError: metrics.jsonl cannot be written to, or a logger does not work.
        """
        self.picture_folder = workdir / "pictures"
        self._mirror = None if isinstance(workdir, Path) else BucketMirror(workdir)
        self.folder = Path(workdir) if self._mirror is None else self._mirror.folder
        self._config = config
        self._log: MetricsLog | None = None
        self._loggers: list[RunLogger] = []
        if hosts.is_first():
            if self._mirror is not None:
                self._mirror.fetch(_GO_ON)
            try:
                self._log = MetricsLog(self.folder / METRICS_LOG, step=step)
            except OSError as error:
                raise InputError(
                    f"expected a file to write to, found {error.strerror}: {workdir / METRICS_LOG}"
                ) from error
            handed_over = frozenset((point.step, point.curve) for point in self._log.removed)
            run = RunStart(self.folder, step, handed_over, dict(leaves(config)))
            try:
                for open_logger in loggers.values():
                    self._loggers.append(open_logger(run))
            except BaseException:
                self.close()  # those that were opened before the one that cannot be
                raise

    def overview(self, step: int, state: Any) -> None:
        """Writes what a run is, as texts: configuration, versions, and every parameter with its size and place.

        Args:
            step: updates done.
            state: parameters or their shapes, as a nested dict.
        """
        if not hosts.is_first():
            return
        contents = {"configuration": self._config.to_dict(), "versions": versions()}
        texts = {name: json.dumps(content, indent=2) for name, content in contents.items()}
        files = {"versions.json": texts["versions"]}
        if importlib.util.find_spec("clu") is not None:
            from clu import parameter_overview

            texts["parameters"] = parameter_overview.get_parameter_overview(
                state, include_stats="sharding", max_lines=None
            )
            files["parameters.txt"] = texts["parameters"]
        for name, text in files.items():
            with atomic_write(self.folder / name) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
        for logger in self._loggers:
            logger.texts(step, texts)

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Writes a point of each curve GROUP/NAME."""
        if self._log is None:
            return
        added = {f"{group}/{name}": value for name, value in self._log.write(step, group, values).items()}
        for logger in self._loggers if added else ():
            logger.scalars(step, added)

    def holds(self, group: str) -> bool:
        """Whether there are points of the group of the step that the run goes on from; all hosts have to ask."""
        return bool(hosts.on_any(self._log is not None and self._log.holds(group)))

    def pictures(self, step: int, pictures: Mapping[str, UInt8[np.ndarray, "h w 3"]]) -> None:
        """Writes input | restored | ground truth by sequence, to the loggers and WORKDIR/pictures/SEQUENCE_STEP.png."""
        if not hosts.is_first():
            return
        for logger in self._loggers if pictures else ():
            logger.pictures(step, pictures)
        for name, picture in pictures.items():
            with atomic_write(self.folder / "pictures" / f"{name}_{step:07d}.png") as temporary:
                write_picture(temporary, picture)

    def flush(self) -> None:
        """Brings everything to disk: a checkpoint is never ahead of the curves that lead to it."""
        if self._log is not None:
            self._log.flush()
        for logger in self._loggers:
            logger.flush()
        self._send()

    def close(self) -> None:
        """Waits until everything is on disk, and ends the loggers."""
        with contextlib.ExitStack() as ends:  # all of them, also where the disk is full for one
            if self._log is not None:
                ends.callback(self._log.close)
            for logger in reversed(self._loggers):
                ends.callback(logger.close)
        self._send()

    def _send(self) -> None:
        if self._mirror is not None and hosts.is_first():
            self._mirror.send()
