"""The training loop: the order of events, from a configuration to a trained network. Read it from top to bottom."""

import dataclasses
import signal
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.models.restorer import build_restorer
from spikejax.progress import duration
from spikejax.training import hosts, sharding
from spikejax.training.checkpoint import Checkpoints, check_workdir
from spikejax.training.disk import full_disk_explained
from spikejax.training.evaluate import Validation, validate
from spikejax.training.figures import Figures
from spikejax.training.inputs import data_root, open_inputs
from spikejax.training.names import matching
from spikejax.training.objective import make_distance, make_loss
from spikejax.training.optimizer import make_optimizer, make_schedule
from spikejax.training.start import start_from
from spikejax.training.step import (
    Build,
    abstract_state,
    create_state,
    describe_network,
    make_forward,
    make_train_step,
)
from spikejax.training.stopping import StopRequest
from spikejax.training.terminal import Terminal, summary
from spikejax.training.watching import Profiler, TimeSplit, Utilisation
from spikejax.training.writers import RunWriter


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int  # updates done
    scores: Mapping[str, float] | None  # of the validation at the end; None if stopped before
    stopped_by: signal.Signals | None  # None = trained to the end


@full_disk_explained()
def train(
    config: ConfigDict, workdir: str | Path, *, build: Build = build_restorer, allow_config_changes: bool = False
) -> Outcome:
    """Trains the network of `config` in `workdir`, from its last checkpoint if there is one.

    Args:
        config: see configs/common.py.
        workdir: where checkpoints, logs and pictures go; all hosts see the same.
        build: makes the network.
        allow_config_changes: whether a run may go on with another configuration than it was started with.

    Raises:
        InputError: the configuration, the data set or the workdir's checkpoints do not fit, or the disk is full.
        FloatingPointError: more losses or gradients than allowed were not finite.
    """
    workdir = Path(workdir).absolute()
    steps, validation, batch_size = config.training.steps, config.validation, config.data.batch_size
    allowed = config.training.skip_not_finite
    terminal = Terminal(steps, show=hosts.is_first())

    # ---- What everything is and where it lies; nothing is computed or written yet ----
    changes = check_workdir(workdir, config, allow_changes=allow_config_changes)
    root = data_root(config, workdir)
    mesh = sharding.make_mesh(config.mesh.to_dict())
    sharding.check_batch(batch_size, mesh, accumulate=config.training.accumulate)
    sharding.check_rows(config.data.crop, mesh, of="data.crop")
    network = describe_network(lambda: build(config.model.to_dict(), rngs=nnx.Rngs(config.seed)))
    schedule = make_schedule(config.optimizer, steps=steps)
    frozen = matching(network.shapes, config.optimizer.frozen, key="optimizer.frozen")
    slow = matching(network.shapes, config.optimizer.slow, key="optimizer.slow")
    zeros = matching(network.shapes, config.training.start_at_zero, key="training.start_at_zero")
    optimizer = make_optimizer(config.optimizer, schedule, network.axes, frozen=frozen, slow=slow)
    abstract = abstract_state(network, optimizer, mesh, average=config.training.ema_decay > 0)
    terminal.note(f"network: {network.size:,} parameters, on {sharding.describe(mesh)}")
    loss = make_loss(config.loss, note=terminal.note)
    lpips = make_distance(validation, note=terminal.note)
    for change in changes:
        terminal.note(f"changed configuration: {change}")

    # ---- Data: this host's part ----
    inputs = open_inputs(config, root, spike_bins=network.spike_bins, mesh=mesh)
    loader = inputs.loader
    terminal.note(f"data: {inputs.describe()}")

    # ---- State: from the last checkpoint, or fresh, or from other weights ----
    checkpoints = Checkpoints(workdir, config, statistics=inputs.statistics)
    checkpoints.check_space(abstract)
    restored = checkpoints.restore_last(abstract)
    if restored:
        step, state, data_state = restored
        loader.set_state(data_state)
        terminal.note(f"continuing from step {step} of {workdir}")
        if int(state.skipped) > allowed:
            least = f"expected at least {int(state.skipped)}, the updates that the run has left out so far"
            raise InputError(f"training.skip_not_finite: {least}, got {allowed}: {workdir}")
    else:
        step, state = 0, create_state(network, optimizer, abstract, zeros=zeros)
        if config.training.start_from:
            state, fresh = start_from(state, config.training.start_from)
            terminal.note(f"starting from {config.training.start_from}; fresh: {', '.join(fresh) or 'nothing'}")

    # ---- The two compiled programs ----
    train_step = make_train_step(
        *(network, optimizer, loss, abstract),
        frozen=frozen,
        seed=config.seed,
        accumulate=config.training.accumulate,
        ema_decay=config.training.ema_decay,
        skip_not_finite=allowed,
    )
    forward = make_forward(network, mesh)

    # ---- Logs ----
    writer = RunWriter(workdir, steps=steps, log_every=config.training.log_every)
    writer.hyper_parameters(config)
    writer.overview(step, config, abstract.params)
    profiler = Profiler(workdir / "profile", at=config.training.profile_at, updates=config.training.profile_updates)
    times = TimeSplit()
    utilisation = Utilisation(forward, abstract.params, inputs.batch_shapes(config), mesh)
    recent = Figures()

    def check_finite() -> None:
        """Waits for the device; stops the run if more is not finite than allowed."""
        for found in recent.look():
            clips = inputs.names(config, found.update - 1)
            if found.skipped > allowed:
                kept = checkpoints.save_not_finite(state, found, clips, allowed=allowed)
                raise FloatingPointError(f"{found}, of {', '.join(clips)}; the state before it is in {kept}")
            terminal.note(f"left out: {found}, of {', '.join(clips)}")

    def log() -> None:
        check_finite()
        updates, values = recent.take()
        spent = times.take(updates)
        terminal.update(step, values["loss"])
        values |= {"learning_rate": float(schedule(step - 1)), **spent, **utilisation(spent)}
        writer.scalars(step, values)

    def save() -> None:
        check_finite()  # or a state in which nothing changes any more would become the last
        with times.spent_on("saving"):
            checkpoints.save_last(step, state, loader.get_state())

    # ---- Validation ----
    def validate_now(pictures: int) -> Validation | None:
        def restore(blur: np.ndarray, voxels: np.ndarray | None) -> Mapping[int, np.ndarray]:
            clips = sharding.put_batch((blur, voxels), mesh, sharding.batch_parts(mesh))
            return sharding.own_clips(forward(state.best_params, *clips))

        with times.spent_on("validation"):
            found = validate(
                *(restore, inputs.val_set),
                frames=validation.frames,
                batch_size=sharding.batch_parts(mesh),
                rows=sharding.host_rows(mesh, sharding.batch_parts(mesh)),
                most=validation.sequences,
                pictures=pictures,
                lpips=lpips,
                sum_over_hosts=hosts.sum_over_hosts,
                stop=stop.requested,
            )
            if found is not None:
                checkpoints.save_best(step, state.best_params, found.scores)
                writer.scalars(step, found.scores)
                writer.pictures(step, found.pictures)
                terminal.note(f"step {step}: {summary(found.scores)}")
        return found

    # ---- Updates ----
    with StopRequest() as stop:
        if step < steps:
            terminal.note("compiling the training step ...")
        while step < steps and not stop.requested():
            position = loader.get_state()
            with times.spent_on("data"):
                batch = next(loader)
            profiler.before_update(step + 1)
            state, figures = train_step(state, sharding.put_batch(batch, mesh, batch_size))
            step += 1
            recent.add(step, figures, position)
            profiler.after_update(step, figures)
            writer.after_update(step)
            if not terminal.pace.started:
                jax.block_until_ready(figures)
                terminal.pace.start(step)
                times.take(1)
            # Reading a figure waits for the device: not at every step, so that the host can run ahead.
            if step % config.training.log_every == 0 or step == steps:
                log()
            # Validation before the checkpoint: when killed in between, the continued run does it again.
            if step % validation.every == 0 and step < steps:
                validate_now(validation.pictures if step % validation.pictures_every == 0 else 0)
            if step % config.training.checkpoint_every == 0 or step == steps:
                save()
        save()  # unless it was just done

        # ---- The end: validation with pictures, everything on disk, and where to find it ----
        found = None if stop.agreed else validate_now(validation.pictures)
        profiler.close()
        checkpoints.close()
        writer.close()
    if found is None:
        terminal.note(f"stopped at step {step}; the same command continues from there")
        return Outcome(step=step, scores=None, stopped_by=stop.signal)
    terminal.note(f"done: {steps} steps; {duration(terminal.elapsed())} since the start; {summary(found.scores)}")
    terminal.note(f"pictures:    {writer.picture_folder}")
    terminal.note(f"checkpoints: {checkpoints.folder}")
    return Outcome(step=step, scores=found.scores, stopped_by=None)
