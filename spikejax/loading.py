"""Trained networks by their path, ready to restore: `spikejax.load`."""

from __future__ import annotations

import os
from pathlib import Path

import jax
from flax import nnx

from spikejax.config.networks import PUBLISHED, Tiles, tiles_of_unpublished
from spikejax.data.datasets.voxel_statistics import statistics_from
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.paths import AnyPath, UserPath, scheme_of, user_path
from spikejax.io.weights import Weights
from spikejax.models.restorer import Restorer, build_restorer
from spikejax.models.traits import NetworkTraits, traits_of
from spikejax.training.step import describe_network
from spikejax.training.trained_params import read_network


def load(path: AnyPath, *, dtype: str | None = None, trust_code: bool = False) -> VideoRestorer:
    """A trained network.

    Args:
        path: the folder that training wrote to (its best parameters are taken), or a `.safetensors` file or a folder
            that `spikejax convert` wrote.
        dtype: "float32" or "bfloat16", what features are computed in; None = as the network was trained.
        trust_code: whether code that the network's configuration names (FILE.py:NAME) is run; whoever made the folder
            or the file chose it.

    Raises:
        InputError: there is no such network, it is damaged, or it does not restore pictures.
    """
    path = user_path(path) if scheme_of(path) else Path(path)
    if not (os.path.lexists(path) if isinstance(path, Path) else path.exists()):
        raise InputError(f"expected a folder of training, or weights of spikejax convert, found no {path}{_hint(path)}")
    return _restorer(path, read_network(path, build=build_restorer, trust_code=trust_code), dtype)


def _hint(path: UserPath) -> str:
    """Where weights come from, for a path that is rather the name of a published network."""
    name = str(path)
    if name not in PUBLISHED:
        return ""
    return f" (spikejax convert to-jax --network {name} makes it of published weights, see docs/weights.md)"


def _restorer(path: UserPath, weights: Weights, dtype: str | None) -> VideoRestorer:
    assert weights.model is not None, path
    model, tiles = {**weights.model}, weights.restore
    if dtype is not None:
        model["compute_dtype"] = dtype
    network = describe_network(lambda: build_restorer(model, rngs=nnx.Rngs(0)))
    restorer: Restorer = nnx.merge(network.graph, jax.device_put(weights.params))
    traits = traits_of(restorer)
    bins = traits.spike_bins
    known = None
    if bins is not None and weights.statistics is not None:
        known = statistics_from(weights.statistics, bins=bins, source=str(path))
    own = Tiles(tuple(tiles["tile"]), tuple(tiles["overlap"])) if tiles else _tiles_of(traits)
    return VideoRestorer(
        restorer,
        traits,
        statistics=known,
        tile=Extent(*own.tile),
        overlap=Extent(*own.overlap),
        name=str(path),
    )


def _tiles_of(traits: NetworkTraits) -> Tiles:
    """The tiles of weights that say nothing about them."""
    return tiles_of_unpublished(
        upscale=traits.upscale,
        interpolates=traits.interpolates,
        noise_level=traits.noise_level,
        window=traits.window,
        spikes=traits.spike_bins is not None,
    )
