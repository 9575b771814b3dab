"""What a run would do, tried before it begins: the memory that it needs, or one update and one validated clip."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from spikejax.compile_cache import folder_in_use
from spikejax.config.keys import check_config
from spikejax.distributed import hosts, sharding
from spikejax.inference.tiling import Extent
from spikejax.io.bucket_mirror import disk_folder
from spikejax.io.paths import AnyPath, user_path
from spikejax.models.restorer import build_restorer
from spikejax.progress import byte_text
from spikejax.training.inputs import data_root, open_inputs
from spikejax.training.monitoring.console import summary
from spikejax.training.objective import make_loss, make_metrics
from spikejax.training.program import Program, describe_program
from spikejax.training.step import Build
from spikejax.training.step_identity import step_arguments
from spikejax.training.step_keeper import StepKeeper
from spikejax.training.tile_network import training_validator
from spikejax.training.validation import HostShare, Sequences, validate

CHECKS = ("run", "compile")
Note = Callable[[str], None]


def compile_only(config: ConfigDict, *, build: Build = build_restorer, note: Note = print) -> None:
    """Compiles the training step and one tile of validation, and says what memory of a device each needs.

    The step is kept, and the run itself takes it. No data is read: spikes are taken to be as large as the input, so
    that a run whose spikes are not compiles its own.

    Args:
        config: of the run.
        build: makes the network.
        note: told each line.
    """
    check_config(config, paths=False)
    loss = make_loss(config.loss, note=note, abstract=True)
    program = describe_program(config, build=build)
    step = _keeper(config, program, loss, build=build, spike_ratio=None).open(*step_arguments(config, program, loss))
    clip = f"{config.data.batch_size} clips of {Extent(config.data.frames, config.data.crop, config.data.crop)}"
    note(f"training step, {clip}: {_memory(step.call)}")
    tile = _tile(config, program)
    note(f"validation, a tile of {tile} for each device: {_memory(_lower_tile(config, program, tile).compile())}")


def _keeper(config: ConfigDict, program: Program, loss: Any, *, build: Build, spike_ratio: int | None) -> StepKeeper:
    """What keeps the step where the run itself looks for it."""
    return StepKeeper(
        config,
        program,
        loss,
        own_network=build is not build_restorer,
        spike_ratio=spike_ratio,
        folder=folder_in_use(),
        given=None,
        note=lambda text: None,
    )


def _tile(config: ConfigDict, program: Program) -> Extent:
    """The tile of validation; where it is a whole frame, whose size no configuration says, one of the crop's size."""
    validator = training_validator(config, program, None)
    side = config.data.crop
    tile = validator.settings.tile.or_all(Extent(config.data.frames, side, side))
    window = program.network.traits.window
    return dataclasses.replace(tile, frames=window) if program.network.traits.interpolates else tile


def _lower_tile(config: ConfigDict, program: Program, tile: Extent) -> Any:
    validator, traits = training_validator(config, program, None), program.network.traits
    parts, split = sharding.batch_parts(program.mesh), sharding.clip_sharding(program.mesh)
    frames = jax.ShapeDtypeStruct((parts, *tile.shape, traits.picture_channels), jnp.uint8, sharding=split)
    counts = None
    if traits.spike_bins is not None:
        counts = jax.ShapeDtypeStruct((parts, *tile.shape, traits.spike_bins), jnp.uint8, sharding=split)
    level = np.zeros(int(traits.noise_level), np.float32)
    forward: Any = validator.network.forward
    return forward.lower(program.abstract.params, frames, counts, np.zeros(2, np.float32), level)


def _memory(compiled: Any) -> str:
    analysis = compiled.memory_analysis()
    arguments, outputs = analysis.argument_size_in_bytes, analysis.output_size_in_bytes
    total = arguments + outputs - analysis.alias_size_in_bytes + analysis.temp_size_in_bytes
    total += analysis.generated_code_size_in_bytes
    return f"{byte_text(total)} a device, {byte_text(analysis.temp_size_in_bytes)} of it while it runs"


def try_run(config: ConfigDict, workdir: AnyPath, *, build: Build = build_restorer, note: Note = print) -> None:
    """Does one update and validates one clip, on the run's own data and devices; keeps nothing.

    Args:
        config: of the run.
        workdir: where an embedded data set goes, as in the run itself.
        build: makes the network.
        note: told each line.

    Raises:
        InputError: the configuration or the data do not fit.
        FloatingPointError: the loss is not finite.
    """
    check_config(config)
    loss, measures = make_loss(config.loss, note=note), make_metrics(config.validation, note=note)
    program = describe_program(config, build=build)
    note(f"network: {program.network.size:,} parameters, on {sharding.describe(program.mesh)}")
    root = data_root(config, disk_folder(user_path(workdir)))
    inputs = open_inputs(config, root, traits=program.network.traits, mesh=program.mesh)
    note(f"data: {inputs.describe()}")
    batch = sharding.put_batch(next(inputs.loader), program.mesh, inputs.batch_size)
    loss = jax.device_put(loss, sharding.replicated(program.mesh))
    keeper = _keeper(config, program, loss, build=build, spike_ratio=inputs.spike_ratio)
    fresh = program.fresh_state()
    state, metrics = keeper.open(fresh, batch, loss).call(fresh, batch, loss)
    value = float(metrics["loss"])
    if not np.isfinite(value):
        raise FloatingPointError(f"expected a finite loss of the first update, found {value}")
    note(f"one update: loss {value:.5f}")
    validator = training_validator(config, program, inputs.statistics)
    validator.network.params = state.best_params
    clip = FirstClip(inputs.val_set, config.validation.frames)
    share = HostShare(jax.process_index(), jax.process_count(), hosts.sum_over_hosts)
    validation = validate(validator, clip, measures=measures, share=share)
    assert validation is not None  # nobody asked it to stop
    note(f"one clip validated: {summary(validation.scores)}")
    note("the check is done; nothing of it is kept")


class FirstClip:
    """The first clip of the first sequence of a data set."""

    def __init__(self, dataset: Sequences, frames: int) -> None:
        """Takes the data set and the frames of a clip."""
        self._dataset, self._frames = dataset, frames

    def sequences(self) -> list[tuple[str, int]]:
        """See `Sequences`."""
        return [(name, min(length, self._frames)) for name, length in self._dataset.sequences()[:1]]

    def read_stored_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
        """See `Sequences`."""
        return self._dataset.read_stored_sequence(name, start, stop)
