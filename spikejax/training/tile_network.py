"""The network that is being trained as one that restores tiles, on the training's mesh."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32
from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.distributed.sharding import DeviceMesh
from spikejax.distributed.stall_watch import COLLECTIVE, compiling, one_done, waiting_for
from spikejax.inference.compiled_network import ClipShape, Devices, TileArrays, restore_tiles
from spikejax.inference.restored_stream import StreamSettings
from spikejax.models.traits import NetworkTraits
from spikejax.training.program import Program
from spikejax.training.step import NetworkDescription
from spikejax.training.validation import SequenceRestorer, middle_up_to, validation_tiles


class TrainingTileNetwork:
    """Restores tiles with parameters that change from validation to validation; compiled once for each shape.

    Attributes:
        traits: what the network does.
        params: of the network, on the mesh; to be set before it is used.
    """

    def __init__(self, network: NetworkDescription, mesh: DeviceMesh, statistics: tuple[float, float]) -> None:
        """Compiles nothing yet.

        Args:
            network: what is trained.
            mesh: where.
            statistics: mean and standard deviation of log1p of the counts.
        """
        self.traits: NetworkTraits = network.traits
        self.params: Any = None
        self._mesh, self._moments = mesh, np.array(statistics, np.float32)
        self._programs: dict[tuple[Any, ...], Callable[..., Array]] = {}
        graph, normalise = network.graph, network.traits.spike_normalise

        def forward(params: Any, frames: Array, counts: Array | None, moments: Array, level: Array) -> Array:
            # Rows are split over `space` whether it divides them or not.
            frames, counts = jax.lax.with_sharding_constraint((frames, counts), sharding.batch_sharding(mesh))
            return restore_tiles(nnx.merge(graph, params), frames, counts, moments, level, normalise=normalise)

        # Every host blends all tiles: of many hosts, each gets them all.
        many = mesh.mesh.is_multi_process
        self.forward = jax.jit(
            forward, out_shardings=sharding.replicated(mesh) if many else sharding.clip_sharding(mesh)
        )

    def compiled(self, shape: ClipShape, sigma: float | None, devices: Devices) -> tuple["TrainingTiles", float]:
        """What restores tiles, see `spikejax.inference.restored_stream.TileNetwork`; JAX compiles it when it runs."""
        return TrainingTiles(self, sigma), 0.0

    def forget(self, shape: ClipShape, sigma: float | None, devices: Devices) -> None:
        """Does nothing."""

    def in_float32(self) -> "TrainingTileNetwork":
        """The network itself: what is measured is what is being trained."""
        return self

    def run(self, tiles: list[TileArrays], level: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "b t2 h2 w2 3"]:
        """The restored tiles of a batch with one for each part of the mesh; all hosts give the same tiles."""
        parts = sharding.batch_parts(self._mesh)
        own = [tiles[row] for row in sharding.host_rows(self._mesh, parts)]
        frames = np.stack([frames for frames, _ in own])
        windows = [counts for _, counts in own if counts is not None]
        batch = sharding.put_batch((frames, np.stack(windows) if windows else None), self._mesh, parts)
        arguments = (self.params, *batch, self._moments, level)
        key = tuple((part.shape, part.dtype) for part in jax.tree.leaves((batch, level)))
        if key not in self._programs:
            # Apart from running it: waiting for another host's tiles is no part of compiling.
            with compiling():
                self._programs[key] = self.forward.lower(*arguments).compile()
        with waiting_for(COLLECTIVE):
            restored = np.asarray(self._programs[key](*arguments))
        one_done()
        return restored

    @property
    def batch(self) -> int:
        """Tiles that are restored at once."""
        return sharding.batch_parts(self._mesh)


class TrainingTiles:
    """The tiles' program, see `spikejax.inference.restored_stream.TileProgram`."""

    bytes = 0  # what the compiler says is asked for by `spikejax.train --check`

    def __init__(self, network: TrainingTileNetwork, sigma: float | None) -> None:
        self._network = network
        self._level = np.zeros(0, np.float32) if sigma is None else np.array([sigma / 255], np.float32)

    def restore(self, tiles: Iterable[TileArrays]) -> Iterator[Float32[np.ndarray, "t h w 3"]]:
        """Yields the restored tiles, in order."""
        stream, batch = iter(tiles), self._network.batch
        while group := list(islice(stream, batch)):
            # A last group that is too small is filled up with repetitions: the program has one shape.
            filled = [*group, *[group[-1]] * (batch - len(group))]
            yield from self._network.run(filled, self._level)[: len(group)]


class TrainingValidator(SequenceRestorer):
    """What restores the sequences of a validation with the network that is being trained."""

    network: TrainingTileNetwork


def training_validator(config: ConfigDict, program: Program, statistics: Mapping[str, Any] | None) -> TrainingValidator:
    """What validates a run, see `validation_tiles`; its network needs parameters before it is used.

    Args:
        config: of the run.
        program: what it computes.
        statistics: of the voxels it is trained with, if it takes spikes.
    """
    moments = (0.0, 1.0) if statistics is None else (statistics["mean"], statistics["std"])
    tile, overlap = validation_tiles(config)
    sigma = config.validation.noise_sigma if program.network.traits.noise_level else None
    network = TrainingTileNetwork(program.network, program.mesh, moments)
    settings = StreamSettings(tile, overlap, sigma=sigma, blacken_not_finite=True)
    return TrainingValidator(network, settings, middle_up_to(config))
