"""Networks that are small enough for every test, with the interface of the real one, and tiny runs of them."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.inference.restored_stream import StreamSettings
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.pixel_depth import to_float32
from spikejax.models.traits import NetworkTraits
from spikejax.training.measure_split import TrainedNetwork
from spikejax.training.trainer import Trainer
from spikejax.training.validation import SequenceRestorer

PAIRS, NO_OVERLAP = Extent(2, 0, 0), Extent(0, 0, 0)


class Layer(nnx.Module):
    """A 1x1 convolution over the channels."""

    def __init__(self, features_in: int, features_out: int, *, rngs: nnx.Rngs):
        kernel = jax.random.normal(rngs.params(), (features_in, features_out)) * features_in**-0.5
        self.kernel = nnx.Param(kernel, axes=("features_in", "features_out"))
        self.bias = nnx.Param(jnp.zeros(features_out), axes=("features_out",))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies it."""
        y = lax.dot_general(x, self.kernel[...], (((x.ndim - 1,), (0,)), ((), ())))
        return y + self.bias[...].reshape((1,) * (x.ndim - 1) + (-1,))


class Convolution(nnx.Module):
    """A 3x3 convolution, which reaches into the rows of other devices."""

    def __init__(self, features: int, *, rngs: nnx.Rngs):
        kernel = jax.random.normal(rngs.params(), (3, 3, features, features)) * (9 * features) ** -0.5
        self.kernel = nnx.Param(kernel, axes=("kernel", "kernel", "features_in", "features_out"))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies it to every frame of a clip."""
        frames = x.reshape(-1, *x.shape[2:])
        y = lax.conv_general_dilated(
            frames, self.kernel[...], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y.reshape(x.shape)


class StandIn(nnx.Module):
    """Adds to the frames a residual of them and of the voxels; one branch is dropped at random in training."""

    needs_spikes = True

    def __init__(self, width: int, bins: int, *, drop: float, rngs: nnx.Rngs):
        self.spike_bins = bins
        self.drop = drop
        self.first = Layer(3 + bins, width, rngs=rngs)
        self.blocks = nnx.List([Layer(width, width, rngs=rngs) for _ in range(2)])
        self.neighbours = Convolution(width, rngs=rngs)
        self.last = Layer(width, 3, rngs=rngs)

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, key: jax.Array | None = None) -> jax.Array:
        """Restores clips, see `spikejax.models.restorer.Restorer`."""
        assert voxels is not None
        x = jnp.tanh(self.first(jnp.concatenate([clip, voxels], axis=-1)))
        for block in self.blocks:
            x = jnp.tanh(block(x))
        x = x + self.neighbours(x)
        if key is not None:
            kept = jax.random.bernoulli(key, 1 - self.drop, (len(x), 1, 1, 1, 1))
            x = x * kept.astype(x.dtype)
        return clip + 0.1 * self.last(x)


def build_stand_in(config: Mapping[str, Any], *, rngs: nnx.Rngs) -> StandIn:
    """Has the signature of `build_restorer`; the width is that of stage 1."""
    vrt, bins = config["vrt"], config["spike"]["bins"]
    return StandIn(vrt["dims"][0], bins, drop=vrt["drop_path"], rngs=rngs)


def tiny_config() -> ConfigDict:
    """A run of a few seconds."""
    config = defaults.get_config()
    config.model.vrt.dims, config.model.vrt.heads = (16,) * 11, (4,) * 11
    config.model.spike.channels = (16,) * 4
    config.model.spike.bins = 4
    config.data.source = "moving_photographs"
    config.data.frames = 2
    config.data.crop = 16
    config.data.batch_size = 2
    config.data.workers = 0
    config.data.scenes.train_sequences = 2
    config.data.scenes.val_sequences = 2
    config.data.scenes.frames = 3
    config.data.scenes.height = 32
    config.data.scenes.width = 40
    config.optimizer.peak_learning_rate = 1e-2
    config.optimizer.warmup_steps = 2
    config.training.steps = 8
    config.training.log_every = 2
    config.training.checkpoint_every = 4
    config.validation.every = 4
    config.validation.frames = 2
    config.validation.pictures = 1
    return config


def tiny_batch() -> dict[str, np.ndarray]:
    """A batch of 8 clips that a network can learn: sharp is the input plus what the voxels say."""
    rng = np.random.default_rng(0)
    clip = rng.uniform(0.2, 0.8, (8, 2, 8, 8, 3)).astype(np.float32)
    voxels = rng.normal(size=(8, 2, 8, 8, 4)).astype(np.float32)
    return {"input": clip, "voxels": voxels, "sharp": clip + 0.1 * np.tanh(voxels[..., :3])}


class KnownTiles:
    """A network of tiles that is a function, for tests of what is around it."""

    bytes = 0

    def __init__(
        self,
        function: Callable[[np.ndarray, np.ndarray | None], np.ndarray],
        traits: NetworkTraits | None = None,
    ) -> None:
        """Takes (frames in [0, 1], counts or None) -> restored frames."""
        self.function, self.shapes = function, []
        self.traits = traits or NetworkTraits(min_frames=1, min_side=8)

    def compiled(self, shape: Any, sigma: float | None, devices: Any) -> tuple["KnownTiles", float]:
        """See `spikejax.inference.restored_stream.TileNetwork`."""
        self.shapes.append(shape.frames)
        return self, 0.0

    def forget(self, shape: Any, sigma: float | None, devices: Any) -> None:
        """Likewise."""

    def in_float32(self) -> "KnownTiles":
        """Likewise."""
        return self

    def restore(self, tiles: Iterable[Any]) -> Iterator[np.ndarray]:
        """See `spikejax.inference.restored_stream.TileProgram`."""
        for frames, counts in tiles:
            yield self.function(to_float32(frames), counts)

    def restorer(self, tile: Extent = PAIRS, overlap: Extent = NO_OVERLAP) -> SequenceRestorer:
        """What restores sequences with it."""
        return SequenceRestorer(self, StreamSettings(tile, overlap))


class Blur3D(nnx.Module):
    """A network that sees its neighbours in space and time, and changes with the place of a tile's edge."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.kernel = nnx.Param(jnp.asarray(rng.random((3, 5, 5, 3, 3)) / 75, jnp.float32))

    def __call__(self, clip: jax.Array, voxels: None, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        dimensions = ("NDHWC", "DHWIO", "NDHWC")
        return jax.lax.conv_general_dilated(clip, self.kernel[...], (1, 1, 1), "SAME", dimension_numbers=dimensions)


def trained_of(traits: NetworkTraits, path: Path, statistics: Mapping[str, Any] | None = None) -> TrainedNetwork:
    """A trained network with such traits that does nothing."""
    known = None
    if traits.spike_bins is not None:
        moments = statistics or {"mean": 0.0, "std": 1.0}
        known = SpikeStatistics(traits.spike_bins, moments["mean"], moments["std"], windows=1)
    restorer = VideoRestorer(
        Blur3D(), traits, tile=Extent(2, 0, 0), overlap=Extent(0, 0, 0), statistics=known, name=str(path)
    )
    return TrainedNetwork(path, tiny_config(), "last/1", statistics, restorer)


def stopping_after(step: int, patch: pytest.MonkeyPatch) -> None:
    """Makes the loop of training receive SIGTERM when it has done `step` updates."""
    update = Trainer.update

    def update_and_stop(self: Trainer) -> None:
        update(self)
        if self.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(Trainer, "update", update_and_stop)
