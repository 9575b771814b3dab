"""Whether all runs of an experiment can be trained and measured, found out before the first of them is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from spikejax.config.files import holds_checkpoint
from spikejax.config.keys import check_config, leaves
from spikejax.data.sources import MovingPhotographs, find_dataset, open_dataset
from spikejax.errors import InputError
from spikejax.experiments.plan import Run, naming
from spikejax.experiments.spec import Evaluation
from spikejax.training.inputs import data_root, open_inputs
from spikejax.training.measure_split import fewest_frames
from spikejax.training.monitoring.loggers import find_loggers
from spikejax.training.objective import make_loss, make_metrics
from spikejax.training.program import Program, describe_program
from spikejax.training.workdir import check_workdir, check_writable


def check_configurations(runs: Sequence[Run], evaluations: Mapping[str, Evaluation]) -> None:
    """Raises InputError unless every configuration is whole, fits what its workdir holds, and can be evaluated.

    In a second: nothing is computed, written or imported that takes long.
    """
    for run in runs:
        with naming(f"variant {run.variant}"):
            check_config(run.config, continued=holds_checkpoint(run.workdir))
            check_writable(run.workdir)
            check_workdir(run.workdir, run.config)
            embedded = issubclass(find_dataset(run.config.data.source), MovingPhotographs)
            for name, evaluation in evaluations.items():
                if evaluation.noise and not embedded:
                    raise InputError(
                        f"evaluations.{name}: expected data.source moving_photographs, which is filmed again with "
                        f"noise, found {run.config.data.source!r}; for others: data=ROOT, made by spikejax simulate"
                    )


def describe_untrained(runs: Sequence[Run], metric: str) -> dict[str, Program]:
    """What each variant computes that is not trained yet, without allocating it: the network, the mesh, the patterns.

    Args:
        runs: those that have to be done.
        metric: what is compared, and so has to be measured.

    Raises:
        InputError: of what training would refuse.
    """
    programs: dict[str, Program] = {}
    described: dict[str, Program] = {}
    for run in _first_untrained(runs):
        # A second for each; a variant that is trained with other thresholds computes what the one without them does.
        computed = {key: value for key, value in leaves(run.config) if key != "data.threshold_factor"}
        with naming(f"variant {run.variant}"):
            make_loss(run.config.loss, note=_silent)
            if metric not in make_metrics(run.config.validation, note=_silent):
                raise InputError(
                    f"metric: expected one that can be measured, found {metric}: "
                    f"validation.{metric}_weights_file names no weights (spikejax convert to-jax makes them)"
                )
            find_loggers(run.config.training.loggers, note=_silent)
            if str(computed) not in described:
                described[str(computed)] = describe_program(run.config)
            programs[run.variant] = described[str(computed)]
    return programs


def check_inputs(runs: Sequence[Run], programs: Mapping[str, Program], evaluations: Mapping[str, Evaluation]) -> None:
    """Raises InputError unless each variant's data, and those of evaluations, can be read; they are there by now."""
    elsewhere = {name: Path(evaluation.data) for name, evaluation in evaluations.items() if evaluation.data}
    for run in _first_untrained(runs):
        with naming(f"variant {run.variant}"):
            program = programs[run.variant]
            root = data_root(run.config, run.workdir)
            inputs = open_inputs(run.config, root, traits=program.network.traits, mesh=program.mesh)
            spec = inputs.val_set.spec
            measured = replace(spec, frames=fewest_frames(run.config, spec.degradation))
            for name, root in elsewhere.items():
                with naming(f"evaluations.{name}"):
                    open_dataset("folder", root, "val", measured)


def _first_untrained(runs: Sequence[Run]) -> list[Run]:
    """The first run of every variant that has some to train: those of a variant differ by their seed alone."""
    firsts: dict[str, Run] = {}
    for run in runs:
        if run.variant not in firsts and not run.is_trained():
            firsts[run.variant] = run
    return list(firsts.values())


def _silent(line: str) -> None:
    """Training says it again."""
