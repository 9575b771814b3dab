"""Parameters of trained networks, read from a workdir: for restoring, evaluating, and as a beginning of other runs."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax import nnx
from ml_collections import ConfigDict

from spikejax.config.files import read_saved_config, read_saved_model
from spikejax.data.datasets.voxel_statistics import read_statistics_file
from spikejax.errors import InputError
from spikejax.installed import load_module
from spikejax.io.json_files import read_json
from spikejax.io.paths import AnyPath, UserPath, as_local_file, user_path
from spikejax.io.weights import MismatchError, Weights, compare_params, flatten_params, read_weights
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.traits import NetworkTraits, traits_of
from spikejax.progress import say
from spikejax.quality.losses import acting_terms
from spikejax.training import checkpoint_integrity
from spikejax.training.checkpoint_manager import STATE_ITEMS, check_arrays, folder_of, open_manager, validated_item
from spikejax.training.step import Build
from spikejax.training.workdir import BEST, CHECKPOINTS, CONFIG_FILE, LAST, STATISTICS_FILE, is_workdir

# Of what `torch.save` writes; other programs' .safetensors and .npz take `spikejax convert`.
TORCH_SUFFIXES = (".pth", ".pt", ".ckpt")
_LOGGER = logging.getLogger(__name__)


class TrainedParams(NamedTuple):
    """What a run has left.

    Attributes:
        config: locked.
        params: nested dict, as `nnx.merge` takes it, on one device.
        statistics: of the voxels, {"mean", "std", "bins", ...}; None if the network takes no spikes.
        checkpoint: which one it is, as "best_psnr/STEP" or "last/STEP".
        validation: what its validation measured, if it is the best.
    """

    config: ConfigDict
    params: dict
    statistics: dict | None
    checkpoint: str
    validation: dict[str, float] | None


def load_for_inference(
    workdir: AnyPath, *, which: str | None = None, build: Build = build_restorer, trust_code: bool = False
) -> TrainedParams:
    """A trained network's parameters and what belongs to them.

    Args:
        workdir: the folder that training wrote to.
        which: "best_psnr" or "last"; None = the best if there is one, else the last.
        build: makes the network of `config.model`, to know what the checkpoint should hold.
        trust_code: whether the configuration may name code (FILE.py:NAME), which is run; a workdir may be anybody's.

    Raises:
        InputError: no run or no checkpoint there, or a checkpoint of another network than config.json says.
    """
    workdir = user_path(workdir)
    config = read_saved_config(workdir / CONFIG_FILE, trust_code=trust_code)
    with _newest(workdir, [which] if which else [BEST, LAST]) as (manager, step):
        params = _restore_params(manager, step, _abstract_params(build, config))
        # Read with the parameters: a run that still trains may have another best a moment later.
        checkpoint = f"{manager.directory.name}/{step}"
        measured = manager.metrics(step) if manager.directory.name == BEST else None
        validation = measured and {name: float(value) for name, value in measured.items()}
        return TrainedParams(config, params, read_json(workdir / STATISTICS_FILE), checkpoint, validation)


def read_network(
    path: AnyPath,
    *,
    which: str | None = None,
    build: Build = build_restorer,
    statistics: AnyPath | None = None,
    any_kind: bool = False,
    trust_code: bool = False,
) -> Weights:
    """A trained network, whatever it lies in: the one reader of all that restore, measure, convert and export.

    Args:
        path: a workdir; or weights, see `read_any_weights`.
        which: "best_psnr" or "last", of a workdir; None = the best if there is one, else the last.
        build: makes the network of a `model` section.
        statistics: a file of those of the spikes, for a network that comes without; see `with_statistics`.
        any_kind: whether weights of a network that does not restore are given back as they are.
        trust_code: whether the network's configuration may name code (FILE.py:NAME), which is run.

    Returns:
        Weights of the kind "restorer", whose parameters are those that the network has; the model has every key of
        today.

    Raises:
        InputError: there is no network there, it is damaged, or its parameters are another network's, which are listed.
    """
    path = user_path(path)
    if is_workdir(path):
        trained = load_for_inference(path, which=which, build=build, trust_code=trust_code)
        config = trained.config
        weights = Weights(
            "restorer", config.model.to_dict(), trained.params, trained.statistics, config.restore.to_dict()
        )
        weights = dataclasses.replace(weights, training=_training_summary(trained))
    else:
        if which is not None:
            raise InputError(f"expected a workdir, which has the checkpoint {which}, found weights: {path}")
        weights = read_any_weights(path)
        if weights.kind == "restorer" or not any_kind:
            weights = _checked(weights, path, build=build, trust_code=trust_code)
    if statistics is None:
        return weights
    return with_statistics(weights, statistics, source=path, build=build)


def read_any_weights(path: UserPath) -> Weights:
    """The weights in a file or a folder, see `spikejax.io.weights`, or in a file of PyTorch's, converted in memory.

    Nothing that a file of PyTorch's names is imported or run, see `convert.pickles`. What was taken of it is said.

    Raises:
        InputError: there are none, they are damaged, or of no network that is known.
    """
    if path.suffix.lower() not in TORCH_SUFFIXES or not path.is_file():
        return read_weights(path)
    conversion = load_module("convert.conversion")
    with as_local_file(path) as local:
        weights: Weights = conversion.convert_files([local], note=say)[0]
    return weights


def _checked(weights: Weights, path: UserPath, *, build: Build, trust_code: bool) -> Weights:
    """The weights of a network that restores pictures, whose parameters are those that it has, in float32."""
    _check_restores(weights, path)
    section = read_saved_model(weights.model, source=path, trust_code=trust_code)
    # Of weights that are kept in fewer bits; networks have float32.
    weights = dataclasses.replace(weights, model=section, params=jax.tree.map(_as_float32, weights.params))
    model = nnx.eval_shape(lambda: build(section, rngs=make_rngs(0)))
    wanted = flatten_params(nnx.to_pure_dict(nnx.state(model)))
    if problems := compare_params(flatten_params(weights.params), wanted):
        raise MismatchError("the parameters that the network has", problems, path)
    return weights


def _check_restores(weights: Weights, path: UserPath) -> None:
    if weights.kind != "restorer":
        raise InputError(f"expected a network that restores pictures, found weights of {weights.kind}: {path}")


def spike_bins(weights: Weights, *, build: Build = build_restorer) -> int | None:
    """The time bins of the spikes that a network takes; None if it takes none, or restores nothing."""
    return None if weights.model is None else restorer_traits(weights, build=build).spike_bins


def restorer_traits(weights: Weights, *, build: Build = build_restorer) -> NetworkTraits:
    """What a network that restores does to a clip."""
    return traits_of(nnx.eval_shape(lambda: build(weights.model, rngs=make_rngs(0))))


def with_statistics(weights: Weights, file: AnyPath, *, source: AnyPath, build: Build = build_restorer) -> Weights:
    """`weights` with the statistics of the spikes that the network was trained on.

    Args:
        weights: of a network that takes spikes and comes without them, as one that other programs trained does.
        file: statistics.json of a data set or a workdir, or the folder that it lies in.
        source: of the weights, for messages.
        build: makes the network of a `model` section.

    Raises:
        InputError: the network takes no spikes, or has other statistics already; or there are none in `file`, or those
            of other bins.
    """
    bins = spike_bins(weights, build=build)
    if bins is None:
        raise InputError(f"expected no --statistics with a network that takes no spikes, found {file}: {source}")
    given = dataclasses.asdict(read_statistics_file(file, bins=bins))
    own = weights.statistics
    if own is not None and any(own.get(name) != given[name] for name in ("mean", "std")):
        found = f"mean {given['mean']:g} and std {given['std']:g} in {file}"
        raise InputError(f"expected the statistics that the network has, or no --statistics, found {found}: {source}")
    return dataclasses.replace(weights, statistics=given)


def _as_float32(leaf: np.ndarray) -> np.ndarray:
    return leaf.astype(np.float32) if leaf.dtype in (np.float16, jnp.bfloat16) else leaf


def _training_summary(trained: TrainedParams) -> dict[str, Any]:
    """What people want to know of a training, and nothing of the machine that it was on."""
    config = trained.config
    return {
        "checkpoint": trained.checkpoint,
        "updates": int(trained.checkpoint.partition("/")[2]),
        "validation": trained.validation,
        "data": {name: config.data[name] for name in ("source", "degradation", "frames", "crop", "batch_size", "seed")},
        "loss": acting_terms(config.loss),
        "optimizer": {name: config.optimizer[name] for name in ("kind", "peak_learning_rate")},
    }


def read_params(path: AnyPath, *, any_kind: bool = False) -> dict[str, np.ndarray]:
    """The parameters of a network by their dotted names, for those who compare them with another network's.

    Args:
        path: a workdir, of which the best checkpoint is taken, or the last; or weights, see `read_any_weights`.
        any_kind: whether weights of a network that does not restore will do.

    Raises:
        InputError: there is no checkpoint, or there are no weights of a network that restores pictures.
    """
    path = user_path(path)
    if not is_workdir(path):
        weights = read_any_weights(path)
        if not any_kind:
            _check_restores(weights, path)
        return flatten_params(weights.params)
    with _newest(path, [BEST, LAST]) as (manager, step):
        metadata = manager.item_metadata(step)
        name = validated_item(metadata)
        on_host = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), metadata[name].tree)
        restored = manager.restore(step, args=ocp.args.Composite(**{name: ocp.args.StandardRestore(on_host)}))
        return flatten_params(restored[name])


@contextmanager
def _newest(workdir: UserPath, names: Sequence[str]) -> Iterator[tuple[ocp.CheckpointManager, int]]:
    """Yields the first of the named managers that has a whole checkpoint, and its newest step."""
    folders = [workdir / CHECKPOINTS / name for name in names]
    for folder in folders:
        if not folder.is_dir():
            continue
        with open_manager(folder, *STATE_ITEMS, create=False) as manager:
            for step in sorted(manager.all_steps(), reverse=True):
                wrong = checkpoint_integrity.damage(folder_of(manager) / str(step))
                if wrong is None:
                    yield manager, step
                    return
                _LOGGER.warning("the checkpoint %s is damaged and not used: %s", folder / str(step), wrong)
    raise InputError(f"expected a checkpoint in {' or '.join(str(folder) for folder in folders)}, found none")


def _abstract_params(build: Build, config: ConfigDict) -> dict:
    model = nnx.eval_shape(lambda: build(config.model.to_dict(), rngs=make_rngs(0)))
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), nnx.to_pure_dict(nnx.state(model))
    )


def _restore_params(manager: ocp.CheckpointManager, step: int, abstract: dict) -> dict:
    metadata = manager.item_metadata(step)
    name = validated_item(metadata)
    check_arrays(manager.directory / str(step), "network", metadata[name], abstract)
    return manager.restore(step, args=ocp.args.Composite(**{name: ocp.args.StandardRestore(abstract)}))[name]
