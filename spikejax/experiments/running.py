"""Running an experiment: its runs one after the other, each trained and measured as far as that is not done yet."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax

from spikejax.errors import InputError
from spikejax.experiments.checks import check_configurations, check_inputs, describe_untrained
from spikejax.experiments.plan import DATA, EVALUATIONS, LOCKS, PICTURES, Run, evaluation_header, lock
from spikejax.experiments.shared_data import evaluation_data, prepare_data
from spikejax.experiments.spec import Evaluation, Experiment
from spikejax.io.atomic import atomic_directory
from spikejax.io.pictures import write_picture
from spikejax.progress import Pace, count_text, shows_json
from spikejax.quality.score_files import write_score_folder
from spikejax.training.loop import train
from spikejax.training.measure_split import TrainedNetwork, load_trained, open_split
from spikejax.training.objective import make_metrics
from spikejax.training.signals import StopRequest
from spikejax.training.validation import Validation, validate

Note = Callable[[str], None]


@dataclass
class Ending:
    """How the work of this process ended.

    Attributes:
        stopped_by: a signal; None = all that was asked for is done, but for the rest.
        others: runs that other processes were at work on.
        failed: what went wrong with runs whose loss or gradient was not finite.
    """

    stopped_by: signal.Signals | None = None
    others: list[Run] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def run_experiment(
    experiment: Experiment, runs: Sequence[Run], workdir: Path, *, note: Note, after_each: Callable[[], object]
) -> Ending:
    """Does the runs that are not done and that no other process works on.

    Args:
        experiment: what they are of.
        runs: those that this process is asked for.
        workdir: of the experiment.
        note: takes a line for the user.
        after_each: called when a run is done.

    Raises:
        InputError: a configuration does not fit, found before any run is trained; or the disk is full.
    """
    evaluations = experiment.evaluations
    check_configurations(runs, evaluations)
    todo = [run for run in runs if not run.is_done(evaluations)]
    if todo:
        note(f"checking {count_text(len({run.variant for run in todo}), 'variant')} ...")
    programs = describe_untrained(todo, experiment.metric)
    with lock(workdir / LOCKS / DATA, wait=True, note=note):  # other processes find made what this one makes
        prepare_data(todo, evaluations, workdir)
        check_inputs(todo, programs, evaluations)
    ending, pace, done = Ending(), Pace(len(runs), unit="run"), len(runs) - len(todo)
    pace.start(done)
    for run in todo:
        with lock(run.lock, note=note) as held:
            if not held:
                note(f"{run.label}: left out, another process works on it")
                ending.others.append(run)
                continue
            if run.is_done(evaluations):  # by another process, since this one began
                done += 1
                continue
            left = pace.text(done)
            note(f"== run {done + 1} of {len(runs)}: {run.label}{left and ' (' + left + ')'}")
            try:
                ending.stopped_by = _do(run, experiment, workdir, note)
            except FloatingPointError as error:
                ending.failed.append(f"{run.label}: {error}")
                note(ending.failed[-1])
        if ending.stopped_by:
            return ending
        done += 1
        after_each()
        if shows_json():
            print(pace.standing("experiment", done).json_line(), file=sys.stderr, flush=True)
    return ending


def _do(run: Run, experiment: Experiment, workdir: Path, note: Note) -> signal.Signals | None:
    """Trains and measures a run; returns the signal that it was stopped by, if it was."""
    if not run.is_trained():
        outcome = train(run.config, run.workdir)
        if outcome.stopped_by:
            return outcome.stopped_by
    with StopRequest() as stop:
        _measure(run, experiment, workdir, stop=stop.requested)
    jax.clear_caches()  # the next network has programs of its own
    return stop.signal  # also one that came when all was done


def _measure(run: Run, experiment: Experiment, workdir: Path, *, stop: Callable[[], bool]) -> None:
    """Does the evaluations that are not done, until `stop` says so."""
    missing = run.missing(experiment.evaluations)
    if not missing:
        return
    # The code that it may name is that of the user's own configuration, which training has just held it to.
    trained = load_trained(run.workdir, which="last", trust_code=True)
    if trained.checkpoint != f"last/{run.updates}":
        raise InputError(
            f"expected the checkpoint of update {run.updates}, found that it is damaged, and {trained.checkpoint}: "
            f"{run.workdir}"
        )
    measured: dict[tuple[object, ...], Validation] = {}
    for name, evaluation in missing.items():
        # What takes no spikes gives the same answer whatever the spike camera.
        takes_spikes = trained.traits.spike_bins is not None
        key = (name,) if takes_spikes else (evaluation.data, evaluation.frames)
        if key not in measured:
            validation = _validate(run, trained, name, evaluation, experiment.pictures.sequences, workdir, stop)
            if validation is None:
                return
            measured[key] = validation
        _write(run, name, evaluation, measured[key])


def _validate(
    run: Run,
    trained: TrainedNetwork,
    name: str,
    evaluation: Evaluation,
    pictures: int,
    workdir: Path,
    stop: Callable[[], bool],
) -> Validation | None:
    """What an evaluation measures; None if it was stopped."""
    config = run.config.validation
    source, root = evaluation_data(run, evaluation, workdir)
    dataset = open_split(trained, root, "val", source=source, threshold_factor=evaluation.threshold_factor)
    return validate(
        trained.validator(dataset, frames=evaluation.frames),
        dataset,
        limit=config.sequences,
        pictures=pictures,
        measures=make_metrics(config, note=lambda line: None),
        stop=stop,
        task=f"evaluating {run.label}: {name}",
    )


def _write(run: Run, name: str, evaluation: Evaluation, validation: Validation) -> None:
    with atomic_directory(run.workdir / PICTURES / name, replace=True) as folder:
        for sequence, picture in validation.pictures.items():
            write_picture(folder / f"{sequence}.png", picture)
    # Last: it is what says that the evaluation is done.
    header = evaluation_header(run, evaluation)
    write_score_folder(run.workdir / EVALUATIONS / name, validation.frames, header=header, overwrite=True)
