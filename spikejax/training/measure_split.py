"""A trained network on a split of a data set, measured as validation in training does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.files import read_saved_config
from spikejax.config.relations import fitting_degradations
from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.datasets.voxel_statistics import statistics_from
from spikejax.data.sources import open_dataset
from spikejax.distributed import sharding
from spikejax.errors import InputError
from spikejax.io.paths import UserPath
from spikejax.models.restorer import build_restorer
from spikejax.models.traits import NetworkTraits
from spikejax.quality.metrics import STANDARD, Distance
from spikejax.training.degradation_config import degradation_of
from spikejax.training.step import describe_network, make_forward
from spikejax.training.trained_params import checkpoint_for_inference, read_network
from spikejax.training.validation import BatchRestorer, Restore, validate
from spikejax.training.workdir import CONFIG_FILE, is_workdir


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and what it was trained with.

    Attributes:
        workdir: where it was trained, or the weights that it was read from.
        config: of its training; of weights, which name a model alone, the defaults that fit it.
        checkpoint: which one it is, such as "best_psnr/250"; the name of weights.
        statistics: of the voxels it was trained with, if there were any.
        restore: runs it on all devices.
        traits: what it does to a clip.
        batch_size: clips it takes at once.
    """

    workdir: UserPath
    config: ConfigDict
    checkpoint: str
    statistics: Mapping[str, Any] | None
    restore: Restore
    traits: NetworkTraits
    batch_size: int


def load_on_all_devices(path: UserPath, *, which: str | None = None, trust_code: bool = False) -> TrainedNetwork:
    """The trained network of a workdir, or of weights, with a copy of its parameters on every device.

    Args:
        path: where it was trained; or a .safetensors file or a folder of weights, see `spikejax.io.weights`.
        which: "best_psnr" or "last", of a workdir; None = the best if there is one, else the last.
        trust_code: whether code that the network's configuration names (FILE.py:NAME) may be run.

    Raises:
        InputError: there is no such checkpoint, it is damaged, or the weights are of another network.
    """
    mesh = sharding.batch_mesh()
    weights = read_network(path, which=which, build=build_restorer, trust_code=trust_code)
    network = describe_network(lambda: build_restorer(weights.model, rngs=nnx.Rngs(0)))
    if is_workdir(path):
        config = read_saved_config(path / CONFIG_FILE, trust_code=trust_code)
        checkpoint = checkpoint_for_inference(path, which=which)
    else:
        config, checkpoint = fitting_config(weights.model, network.traits), path.name
    params, statistics = weights.params, weights.statistics
    params = jax.device_put(params, sharding.replicated(mesh))
    forward = make_forward(network, mesh)
    batch_size = sharding.batch_parts(mesh)

    def restore(clips: np.ndarray, voxels: np.ndarray | None) -> Mapping[int, np.ndarray]:
        return sharding.own_clips(forward(params, *sharding.put_batch((clips, voxels), mesh, batch_size)))

    return TrainedNetwork(path, config, checkpoint, statistics, restore, network.traits, batch_size)


def fitting_config(model: Any, traits: NetworkTraits) -> ConfigDict:
    """The defaults with a model, and with the input and the clips that it is for."""
    config = defaults.get_config()
    fitting, _ = fitting_degradations(
        upscale=traits.upscale, interpolates=traits.interpolates, noise_level=traits.noise_level
    )
    with config.unlocked():
        config.model = ConfigDict(model)
    # Of a network that enlarges, which can be for several, the one that reads what the data set has.
    config.data.degradation = "none" if "none" in fitting else fitting[0]
    if traits.interpolates:
        config.data.frames = config.validation.frames = traits.window
    return config


def open_split(
    trained: TrainedNetwork, root: Path, split: str, *, source: str = "folder", threshold_factor: float = 1.0
) -> ClipDataset:
    """A split of a data set, its voxels standardised as those that the network was trained with.

    Args:
        trained: the network.
        root: the data set.
        split: "train" or "val".
        source: its kind, see `spikejax.data.sources`.
        threshold_factor: the spikes are those of a camera whose threshold is so many times as high.

    Raises:
        InputError: there is no such split, or the network takes spikes and has no statistics.
    """
    statistics, bins = None, trained.traits.spike_bins
    if bins is not None:
        if trained.statistics is None:
            raise InputError(f"expected the training statistics of the spikes, found none in {trained.workdir}")
        statistics = statistics_from(trained.statistics, bins=bins, source=str(trained.workdir))
    degradation = degradation_of(trained.config, trained.traits, validation=True)
    # A network that interpolates takes as many frames as it was made for; another one any number.
    frames = trained.config.validation.frames if degradation.kind == "interpolation" else 2
    spec = ClipSpec(
        frames,
        bins,
        degradation=degradation,
        statistics=statistics,
        normalise=trained.traits.spike_normalise,
        threshold_factor=threshold_factor,
    )
    return open_dataset(source, root, split, spec)


def measure_split(
    restore: Restore,
    dataset: ClipDataset,
    *,
    frames: int,
    batch_size: int = 1,
    limit: int = 0,
    metrics: Mapping[str, Distance] = STANDARD,
) -> dict[str, list[dict[str, float]]]:
    """The scores of every frame, by sequence.

    Args:
        restore: the network.
        dataset: the split.
        frames: frames the network sees at once.
        batch_size: clips at once.
        limit: how many sequences are used, from the first; 0 = all.
        metrics: what is measured, by name.
    """
    restorer = BatchRestorer(restore, frames, batch_size)
    validation = validate(restorer, dataset, limit=limit, measures=metrics, task="evaluating")
    assert validation is not None  # nobody asked it to stop
    return validation.frames
