"""The embedded data sets of an experiment: each is made once, and runs of the same settings share it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from spikejax.data.sources import MovingPhotographs, find_dataset
from spikejax.experiments.plan import DATA, Run
from spikejax.experiments.spec import Evaluation
from spikejax.io.paths import UserPath
from spikejax.training.inputs import data_root, embedded_data


def prepare_data(runs: Sequence[Run], evaluations: Mapping[str, Evaluation], workdir: Path) -> None:
    """Makes the embedded data sets of runs and evaluations, where they are not there, and links them to the workdirs.

    A link, since a run's configuration stays what it is wherever the experiment's folder is moved. Where the system
    makes no links each run makes the same data set for itself.
    """
    for run in runs:
        if _is_embedded(run.config):
            _link(run.workdir / DATA, embedded_data(run.config, workdir / DATA))
        for evaluation in evaluations.values():
            evaluation_data(run, evaluation, workdir)


def evaluation_data(run: Run, evaluation: Evaluation, workdir: Path) -> tuple[str, UserPath]:
    """The kind and the folder of the data set that a run is measured on."""
    if evaluation.data:
        return "folder", Path(evaluation.data)
    if evaluation.noise is not None:
        return run.config.data.source, embedded_data(run.config, workdir / DATA, evaluation.noise)
    return run.config.data.source, data_root(run.config, run.workdir)


def _is_embedded(config: ConfigDict) -> bool:
    return not config.data.root and issubclass(find_dataset(config.data.source), MovingPhotographs)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        return
    relative = os.path.relpath(target, link.parent)
    if link.is_symlink():
        if os.readlink(link) == relative:
            return
        link.unlink()
    with contextlib.suppress(OSError):
        link.symlink_to(relative, target_is_directory=True)
