"""The training loop: the order of events, from a configuration to a trained network. Read it from top to bottom."""

import dataclasses
import math
import signal
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from spikejax.models.restorer import build_restorer
from spikejax.training import sharding
from spikejax.training.checkpoint import Checkpoints, check_workdir
from spikejax.training.evaluate import Validation, validate
from spikejax.training.inputs import data_root, open_inputs, read_sequences
from spikejax.training.names import matching
from spikejax.training.objective import make_distance, make_loss
from spikejax.training.optimizer import make_optimizer, make_schedule
from spikejax.training.progress import Progress, duration, summary
from spikejax.training.step import (
    Build,
    abstract_state,
    create_state,
    describe_network,
    make_forward,
    make_train_step,
)
from spikejax.training.stopping import StopRequest
from spikejax.training.writers import RunWriter


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int  # updates done
    scores: Mapping[str, float] | None  # of the validation at the end; None if stopped before
    stopped_by: signal.Signals | None  # None = trained to the end


def train(config: ConfigDict, workdir: str | Path, *, build: Build = build_restorer) -> Outcome:
    """Trains the network of `config` in `workdir`, from its last checkpoint if there is one.

    Args:
        config: see configs/common.py.
        workdir: where checkpoints, logs and pictures go.
        build: makes the network.

    Raises:
        InputError: the configuration, the data set or the workdir's checkpoints do not fit.
        FloatingPointError: the loss is not finite any more.
    """
    workdir = Path(workdir).absolute()
    steps, validation = config.training.steps, config.validation
    progress = Progress(steps)

    # ---- What everything is and where it lies; nothing is computed or written yet ----
    check_workdir(workdir, config)
    root = data_root(config, workdir)
    mesh = sharding.make_mesh(config.mesh.to_dict())
    sharding.check_batch_size(config.data.batch_size, mesh)
    by_batch = sharding.batch_sharding(mesh)
    network = describe_network(lambda: build(config.model.to_dict(), rngs=nnx.Rngs(config.seed)))
    schedule = make_schedule(config.optimizer, steps=steps)
    frozen = matching(network.shapes, config.optimizer.frozen, key="optimizer.frozen")
    zeros = matching(network.shapes, config.training.start_at_zero, key="training.start_at_zero")
    optimizer = make_optimizer(config.optimizer, schedule, network.axes, frozen=frozen)
    abstract = abstract_state(network, optimizer, mesh)
    progress.note(f"network: {network.size:,} parameters, on {sharding.describe(mesh)}")
    loss = make_loss(config.loss, note=progress.note)
    lpips = make_distance(validation, note=progress.note)

    # ---- Data ----
    inputs = open_inputs(config, root, spike_bins=network.spike_bins)
    loader = inputs.loader
    progress.note(f"data: {inputs.describe()}")

    # ---- State: from the last checkpoint, or fresh ----
    checkpoints = Checkpoints(workdir, config, statistics=inputs.statistics)
    restored = checkpoints.restore_last(abstract)
    if restored:
        step, state, data_state = restored
        loader.set_state(data_state)
        progress.note(f"continuing from step {step} of {workdir}")
    else:
        step, state = 0, create_state(network, optimizer, abstract, zeros=zeros)

    # ---- The two compiled programs ----
    train_step = make_train_step(network, optimizer, loss, abstract, frozen=frozen, seed=config.seed)
    forward = make_forward(network, mesh)

    # ---- Logs ----
    writer = RunWriter(workdir, steps=steps, log_every=config.training.log_every)
    writer.hyper_parameters(config)

    def log(figures: Mapping[str, jax.Array]) -> None:
        values = {name: float(value) for name, value in figures.items()}
        progress.update(step, values["loss"])
        writer.scalars(step, values | {"learning_rate": float(schedule(step - 1))})
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(f"the loss is {values['loss']} at step {step}; the last checkpoint is older")

    # ---- Validation ----
    def validate_now(pictures: int) -> Validation:
        def restore(blur: np.ndarray, voxels: np.ndarray | None) -> np.ndarray:
            return np.asarray(forward(state.params, *sharding.put_batch((blur, voxels), by_batch)))

        sequences = read_sequences(inputs.val_set, most=validation.sequences)
        batch_size = sharding.batch_parts(mesh)
        found = validate(
            restore, sequences, frames=validation.frames, batch_size=batch_size, pictures=pictures, lpips=lpips
        )
        checkpoints.save_best(step, state.params, found.scores)
        writer.scalars(step, found.scores)
        writer.pictures(step, found.pictures)
        progress.note(f"step {step}: {summary(found.scores)}")
        return found

    # ---- Updates ----
    with StopRequest() as stop:
        if step < steps:
            progress.note("compiling the training step ...")
        while step < steps and not stop.signal:
            state, figures = train_step(state, sharding.put_batch(next(loader), by_batch))
            step += 1
            writer.after_update(step)
            if not progress.started:
                jax.block_until_ready(figures)
                progress.start(step)
            # Reading a figure waits for the device: not at every step, so that the host can run ahead.
            if step % config.training.log_every == 0 or step == steps:
                log(figures)
            # Validation before the checkpoint: when killed in between, the continued run does it again.
            if step % validation.every == 0 and step < steps and not stop.signal:
                validate_now(validation.pictures if step % validation.pictures_every == 0 else 0)
            if step % config.training.checkpoint_every == 0 or step == steps or stop.signal:
                checkpoints.save_last(step, state, loader.get_state())

        # ---- The end: validation with pictures, everything on disk, and where to find it ----
        scores = None if stop.signal else validate_now(validation.pictures).scores
        checkpoints.close()
        writer.close()
    if scores is None:
        progress.note(f"stopped at step {step}; the same command continues from there")
    else:
        progress.note(f"done: {steps} steps; {duration(progress.elapsed())} since the start; {summary(scores)}")
        progress.note(f"pictures:    {writer.picture_folder}\ncheckpoints: {checkpoints.folder}")
    return Outcome(step=step, scores=scores, stopped_by=stop.signal if scores is None else None)
