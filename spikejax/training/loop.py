"""The training loop: the order of events, from a configuration to a trained network. Read it from top to bottom."""

import contextlib
import dataclasses
import shlex
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import jax
from ml_collections import ConfigDict

from spikejax.compile_cache import folder_in_use
from spikejax.config.files import holds_checkpoint
from spikejax.config.keys import check_config
from spikejax.distributed import hosts, sharding
from spikejax.extras import require
from spikejax.io.bucket_mirror import disk_folder
from spikejax.io.paths import AnyPath, UserPath, user_path
from spikejax.models.restorer import build_restorer
from spikejax.progress import duration
from spikejax.training.checkpoint import Checkpoints
from spikejax.training.checkpoint_integrity import full_disk_explained
from spikejax.training.initial_state import initial_state
from spikejax.training.inputs import data_root, open_inputs
from spikejax.training.monitoring.console import Terminal, summary
from spikejax.training.monitoring.goodput import GOODPUT, Goodput
from spikejax.training.monitoring.loggers import find_loggers
from spikejax.training.monitoring.run_writer import RunWriter
from spikejax.training.objective import make_loss, make_metrics
from spikejax.training.program import describe_program
from spikejax.training.signals import StopRequest
from spikejax.training.step import Build
from spikejax.training.step_keeper import StepKeeper
from spikejax.training.trainer import Trainer
from spikejax.training.workdir import STALLED, check_workdir, check_writable, hold_alone


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: updates done.
        scores: of the validation at the end; None if stopped before.
        stopped_by: None = trained to the end.
    """

    step: int
    scores: Mapping[str, float] | None
    stopped_by: signal.Signals | None


@full_disk_explained()
def train(
    config: ConfigDict,
    workdir: AnyPath,
    *,
    build: Build = build_restorer,
    allow_config_changes: bool = False,
    stall_seconds: int | None = None,
    compiled: Path | None = None,
    started: float | None = None,
) -> Outcome:
    """Trains the network of `config` in `workdir`, from its last checkpoint if there is one.

    Args:
        config: see `spikejax.config.defaults`.
        workdir: where checkpoints, logs and pictures go; all hosts see the same.
        build: makes the network.
        allow_config_changes: whether a run may go on with another configuration, or other clips, than before.
        stall_seconds: after which a run that does not get on ends its process, see `hosts.watch_for_stalls`.
        compiled: a file of `plan --save-compiled` to take the training step from.
        started: when the process was, by `time.monotonic`; None = now.

    Raises:
        InputError: the configuration, the data set or the workdir's checkpoints do not fit, or the disk is full.
        FloatingPointError: more losses or gradients than allowed were not finite.
    """
    options = _Options(build, allow_config_changes, stall_seconds, compiled, started or time.monotonic())
    with contextlib.ExitStack() as held:
        return _train(config, user_path(workdir), options, held)


@dataclasses.dataclass(frozen=True)
class _Options:
    """What `train` is told, see there."""

    build: Build
    allow_config_changes: bool
    stall_seconds: int | None
    compiled: Path | None
    started: float


def _train(config: ConfigDict, workdir: UserPath, options: _Options, held: contextlib.ExitStack) -> Outcome:
    """See `train`; `held` lets go of the workdir when all is done."""
    require("train", "training", modules=["grain"])  # the others a run can do without
    check_config(config, continued=holds_checkpoint(workdir))
    check_writable(workdir)
    training, validation = config.training, config.validation
    terminal = Terminal(training.steps, show=hosts.is_first())

    # ---- What everything is and where it lies; nothing is computed or written yet ----
    changes = check_workdir(workdir, config, allow_changes=options.allow_config_changes)
    root = data_root(config, disk_folder(workdir))
    # Before the network, whose description takes seconds: a mistake in a file of the user's should show at once.
    loss = make_loss(config.loss, note=terminal.note)
    metrics = make_metrics(validation, note=terminal.note)
    loggers = find_loggers(training.loggers, note=terminal.note)
    program = describe_program(config, build=options.build)
    terminal.note(f"network: {program.network.size:,} parameters, on {sharding.describe(program.mesh)}")
    for change in changes:
        terminal.note(f"changed configuration: {change}")

    # ---- Data: this host's part ----
    inputs = open_inputs(config, root, traits=program.network.traits, mesh=program.mesh)
    terminal.note(f"data: {inputs.describe()}")
    keeper = StepKeeper(
        config,
        program,
        loss,
        own_network=options.build is not build_restorer,
        spike_ratio=inputs.spike_ratio,
        folder=folder_in_use(),
        given=options.compiled,
        note=terminal.note,
    )

    # ---- State: from the last checkpoint, or fresh, or from other weights ----
    hold_alone(held, workdir)  # now that all fits: before the first file is written, and unfinished ones are removed
    checkpoints = Checkpoints(
        workdir,
        config,
        statistics=inputs.statistics,
        data_set=inputs.identity,
        allow_other_data=options.allow_config_changes,
    )
    checkpoints.check_space(program.abstract)
    reading = time.monotonic()
    step, state = initial_state(program, checkpoints, inputs.loader, weights=training.start_from, note=terminal.note)
    reading = time.monotonic() - reading

    # ---- Updates ----
    with (
        StopRequest() as stop,
        hosts.watch_for_stalls(options.stall_seconds, workdir / STALLED) as stall_watch,
        checkpoints.finishing(),
        contextlib.closing(RunWriter(workdir, config, loggers, step=step)) as writer,
    ):
        account = writer.folder / GOODPUT if hosts.is_first() else None
        goodput = Goodput(account, step=step, started=options.started, note=terminal.note)
        goodput.add("reading", reading)
        stall_watch.account = goodput.stalled
        run = Trainer(
            config,
            program,
            inputs,
            checkpoints,
            terminal,
            writer,
            goodput,
            keeper,
            step=step,
            state=state,
            loss=loss,
            metrics=metrics,
        )
        if jax.process_count() == 1:  # hosts can only save together
            stop.rescue = run.rescue
        # A stop that came before or in a validation has left it out.
        if _is_validated(run.step, config) and not writer.holds("validation"):
            run.validate(pictures=_pictures_shown(run.step, config), stop=stop.requested)
        while run.step < training.steps and not stop.requested():
            run.update()
            at_end = run.step == training.steps
            # Reading a value waits for the device: not at every step, so that the host can run ahead.
            if run.step % training.log_every == 0 or at_end:
                run.log()
            # Validation before the checkpoint: when killed in between, the continued run does it again.
            if _is_validated(run.step, config):
                run.validate(pictures=_pictures_shown(run.step, config), stop=stop.requested)
            if run.step % training.checkpoint_every == 0 or at_end:
                run.save()
        run.save()  # unless it was just done

        # ---- The end: validation with pictures, everything on disk, and where to find it ----
        end = None if stop.agreed else run.validate(pictures=validation.pictures, stop=stop.requested)
        run.close()
    if goodput.goes_on or end is not None:
        terminal.note(f"time: {goodput.text()}")
    if end is None:
        terminal.note(f"stopped at step {run.step}; the same command continues from there")
        return Outcome(step=run.step, scores=None, stopped_by=stop.signal)
    terminal.note(f"done: {run.step} steps; {duration(terminal.elapsed())} since the start; {summary(end.scores)}")
    terminal.note(f"pictures:    {run.writer.picture_folder}")
    terminal.note(f"checkpoints: {checkpoints.folder}")
    terminal.note(f"evaluate:    python -m spikejax.evaluate --workdir {shlex.quote(str(workdir))} --output SCORES")
    spikes = "" if inputs.statistics is None else " --spikes SPIKES"
    network = f"--network {shlex.quote(str(workdir))}"
    terminal.note(f"restore:     python -m spikejax.restore {network} --input CLIP{spikes} --output OUT")
    return Outcome(step=run.step, scores=end.scores, stopped_by=None)


def _is_validated(step: int, config: ConfigDict) -> bool:
    """Whether a validation comes between this update and the next one."""
    return 0 < step < config.training.steps and step % config.validation.every == 0


def _pictures_shown(step: int, config: ConfigDict) -> int:
    """How many pictures that validation shows."""
    validation = config.validation
    return int(validation.pictures) if step % validation.pictures_every == 0 else 0
