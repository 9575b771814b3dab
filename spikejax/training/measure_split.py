"""A trained network on a split of a data set, measured as validation in training does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.files import read_saved_config
from spikejax.config.networks import Tiles, tiles_of_unpublished
from spikejax.config.relations import fitting_degradations
from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.datasets.degradation import Degradation
from spikejax.data.datasets.voxel_statistics import statistics_from
from spikejax.data.sources import open_dataset
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import MISSING_STATISTICS, RestoreSettings, VideoRestorer
from spikejax.io.paths import AnyPath, UserPath
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.traits import NetworkTraits
from spikejax.training.degradation_config import degradation_of
from spikejax.training.step import describe_network
from spikejax.training.trained_params import read_network
from spikejax.training.validation import SequenceRestorer, middle_up_to, validation_tiles
from spikejax.training.workdir import CONFIG_FILE, is_workdir


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and what it was trained with.

    Attributes:
        path: where it was trained, or the weights that it was read from.
        config: of its training; of weights, which name a model alone, the defaults that fit it.
        checkpoint: which one it is, such as "best_psnr/250"; the name of weights.
        statistics: of the voxels it was trained with, if there were any.
        restorer: the network.
    """

    path: UserPath
    config: ConfigDict
    checkpoint: str
    statistics: Mapping[str, Any] | None
    restorer: VideoRestorer

    @property
    def traits(self) -> NetworkTraits:
        """What the network does to a clip."""
        return self.restorer.traits

    def validator(self, dataset: ClipDataset, *, frames: int | None = None) -> SequenceRestorer:
        """What restores the sequences of a data set as a validation of the training does.

        Args:
            dataset: a split.
            frames: that the network sees at once; None = as the configuration says.
        """
        tile, overlap = validation_tiles(self.config, frames=frames)
        sigma = dataset.degradation.sigma[0] if self.traits.noise_level else None
        return SequenceRestorer(
            self.restorer.network,
            self.restorer.settings(RestoreSettings(tile=tile, overlap=overlap, sigma=sigma)),
            middle_up_to(self.config),
        )


def load_trained(
    path: UserPath,
    *,
    which: str | None = None,
    dtype: str | None = None,
    precision: str = "highest",
    statistics: AnyPath | None = None,
    trust_code: bool = False,
) -> TrainedNetwork:
    """The trained network of a workdir, or of weights.

    Args:
        path: where it was trained; or weights, see `read_any_weights` in `spikejax.training.trained_params`.
        which: "best_psnr" or "last", of a workdir; None = the best if there is one, else the last.
        dtype: "float32" or "bfloat16", what features are computed in; None = as it was trained.
        precision: of float32 products, see `spikejax.inference.precision`.
        statistics: a file of those of the spikes, for a network that comes without.
        trust_code: whether code that the network's configuration names (FILE.py:NAME) may be run.

    Raises:
        InputError: there is no such checkpoint, it is damaged, or the weights are of another network.
    """
    weights = read_network(path, which=which, build=build_restorer, statistics=statistics, trust_code=trust_code)
    assert weights.model is not None, path
    model = {**weights.model} if dtype is None else {**weights.model, "compute_dtype": dtype}
    network = describe_network(lambda: build_restorer(model, rngs=make_rngs(0)))
    traits, bins = network.traits, network.traits.spike_bins
    params = jax.device_put(weights.params)

    def in_float32() -> nnx.Module:
        exact = describe_network(lambda: build_restorer({**model, "compute_dtype": "float32"}, rngs=make_rngs(0)))
        return nnx.merge(exact.graph, params)

    known = None
    if bins is not None and weights.statistics is not None:
        known = statistics_from(weights.statistics, bins=bins, source=str(path))
    own = _tiles_of(traits)
    if weights.restore:
        own = Tiles(tuple(weights.restore["tile"]), tuple(weights.restore["overlap"]))
    restorer = VideoRestorer(
        nnx.merge(network.graph, params),
        traits,
        statistics=known,
        tile=Extent(*own.tile),
        overlap=Extent(*own.overlap),
        name=str(path),
        precision=precision,
        build_float32=None if model.get("compute_dtype") == "float32" else in_float32,
    )
    if is_workdir(path):
        assert weights.training is not None, path
        config = read_saved_config(path / CONFIG_FILE, trust_code=trust_code)
        return TrainedNetwork(path, config, weights.training["checkpoint"], weights.statistics, restorer)
    config = fitting_config(weights.model, traits)
    with config.unlocked():
        config.restore.tile, config.restore.overlap = own.tile, own.overlap
    return TrainedNetwork(path, config, path.name, weights.statistics, restorer)


def _tiles_of(traits: NetworkTraits) -> Tiles:
    """The tiles of weights that say nothing about them."""
    return tiles_of_unpublished(
        upscale=traits.upscale,
        interpolates=traits.interpolates,
        noise_level=traits.noise_level,
        window=traits.window,
        spikes=traits.spike_bins is not None,
    )


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


def fewest_frames(config: ConfigDict, degradation: Degradation) -> int:
    """The frames that a sequence has to have to be measured.

    A network that interpolates takes as many as it was made for; another one any number.
    """
    return config.validation.frames if degradation.kind == "interpolation" else 2


def open_split(
    trained: TrainedNetwork, root: UserPath, split: str, *, source: str = "folder", threshold_factor: float = 1.0
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
    if bins is not None and trained.traits.needs_statistics:
        if trained.statistics is None:
            raise InputError(f"{MISSING_STATISTICS} in {trained.path}")
        statistics = statistics_from(trained.statistics, bins=bins, source=str(trained.path))
    degradation = degradation_of(trained.config, trained.traits, validation=True)
    spec = ClipSpec(
        fewest_frames(trained.config, degradation),
        bins,
        degradation=degradation,
        statistics=statistics,
        normalise=trained.traits.spike_normalise,
        threshold_factor=threshold_factor,
    )
    return open_dataset(source, root, split, spec)
