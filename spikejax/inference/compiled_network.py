"""A network compiled for tiles of one shape, run on one or several devices.

Several devices each take a tile of their own, or (`space`) all work on the rows of the same one. Frames and counts are
sent as they are stored, 8 or 16 bits; the device makes float32 of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Float32, Num

from spikejax.data.spikes.voxels import standardise
from spikejax.distributed import sharding
from spikejax.distributed.sharding import DeviceMesh
from spikejax.distributed.stall_watch import COLLECTIVE, compiling, one_done, waiting_for
from spikejax.errors import InputError
from spikejax.kernels.choice import trace_for

# A tile's frames, uint8 or uint16 of their whole range or float32 in [0, 1], and its counts if the network takes any.
TileArrays = tuple[Num[np.ndarray, "t h w 3"], Num[np.ndarray, "t h3 w3 k"] | None]


@dataclass(frozen=True)
class ClipShape:
    """What a network is compiled for.

    Attributes:
        frames: frames, rows and columns of a clip.
        dtype: of its pixels: "uint8", "uint16" or "float32".
        counts: frames, rows, columns and bins of its counts; None = without spikes.
        counts_dtype: "uint8" or "uint16".
    """

    frames: tuple[int, int, int]
    dtype: str = "uint8"
    counts: tuple[int, int, int, int] | None = None
    counts_dtype: str = "uint8"


@dataclass(frozen=True)
class Devices:
    """The devices that restore.

    Attributes:
        mesh: of them, see `spikejax.distributed.sharding.tile_mesh`.
        space: whether they split the rows of every tile; otherwise each device has tiles of its own.
    """

    mesh: DeviceMesh
    space: bool = False

    @property
    def batch(self) -> int:
        """Tiles that are restored at once."""
        return sharding.batch_parts(self.mesh)


def use_devices(count: int | None = None, *, space: bool = False) -> Devices:
    """The first `count` devices, as many of each host; None = all of them.

    Raises:
        InputError: there are not that many, or hosts cannot have an equal share.
    """
    available, hosts = jax.devices(), jax.process_count()
    count = len(available) if count is None else count
    if not 1 <= count <= len(available):
        raise InputError(f"expected 1 to {len(available)} devices, which is what JAX finds here, found {count}")
    if count % hosts:
        raise InputError(f"expected a multiple of {hosts} devices, as many on each of the {hosts} hosts, found {count}")
    by_host = [[device for device in available if device.process_index == host] for host in range(hosts)]
    devices = [device for own in by_host for device in own[: count // hosts]]
    return Devices(sharding.tile_mesh(devices, split_rows=space), space)


class CompiledNetwork:
    """Restores tiles of one shape.

    Attributes:
        compile_seconds: what compiling took.
        seconds: how long `restore` has waited for the devices, all calls together.
        bytes: what a device needs for the program: parameters, inputs, outputs and everything in between.
    """

    def __init__(
        self,
        model: nnx.Module,
        shape: ClipShape,
        *,
        statistics: tuple[float, float] = (0.0, 1.0),
        normalise: str = "statistics",
        sigma: float | None = None,
        devices: Devices | None = None,
    ) -> None:
        """Compiles the network.

        Args:
            model: a Restorer, called as model(clip, voxels, key=None).
            shape: of the clips.
            statistics: mean and standard deviation of log1p of the counts.
            normalise: how the network wants counts normalised; by "clip", each tile by its own mean.
            sigma: standard deviation of the noise, of 255, for a network that takes it.
            devices: None = the first one.

        Raises:
            InputError: the network cannot take such a clip.
        """
        self.shape = shape
        self._devices = devices or use_devices(1)
        mesh = self._devices.mesh
        graphdef, state = nnx.split(model)
        self._params = self._everywhere(state)
        level = np.zeros(0, np.float32) if sigma is None else np.array([sigma / 255], np.float32)
        self._extra = (np.array(statistics, np.float32), level)

        def forward(params: Any, frames: Array, counts: Array | None, moments: Array, level: Array) -> Array:
            if self._devices.space:
                frames = jax.lax.with_sharding_constraint(frames, sharding.batch_sharding(mesh))
            network = nnx.merge(graphdef, params)
            if isinstance(network, StoredProgram):
                return network.restore_stored(frames, counts, level)
            with trace_for(sharding.kernel_target(mesh, whole=self._devices.space)):
                return restore_tiles(network, frames, counts, moments, level, normalise=normalise)

        started = time.perf_counter()
        with compiling():
            self._forward = self._spread(forward).lower(self._params, *self._abstract(), *self._extra).compile()
        self.compile_seconds = time.perf_counter() - started
        self.seconds = 0.0
        self.bytes = _needed_bytes(self._forward)

    def restore(self, tiles: Iterable[TileArrays]) -> Iterator[Float32[np.ndarray, "t2 h2 w2 3"]]:
        """Yields the restored tiles, about [0, 1], in order.

        The next tiles are cut and sent while the devices still work on those before.
        """
        running: deque[tuple[int, Array]] = deque()
        stream = iter(tiles)
        while group := list(islice(stream, self._devices.batch)):
            running.append((len(group), self._submit(group)))
            if len(running) > 1:
                yield from self._collect(*running.popleft())
        while running:
            yield from self._collect(*running.popleft())

    def _submit(self, tiles: Sequence[TileArrays]) -> Array:
        started = time.perf_counter()
        # A last group that is too small is filled up with repetitions: the program has one shape.
        filled = [*tiles, *[tiles[-1]] * (self._devices.batch - len(tiles))]
        frames = self._put([frames for frames, _ in filled])
        windows = [counts for _, counts in filled if counts is not None]
        counts = self._put(windows) if windows else None
        with waiting_for(COLLECTIVE):
            submitted = self._forward(self._params, frames, counts, *self._extra)
        self.seconds += time.perf_counter() - started
        return submitted

    def _collect(self, count: int, restored: Array) -> Sequence[Float32[np.ndarray, "t2 h2 w2 3"]]:
        started = time.perf_counter()
        with waiting_for(COLLECTIVE):
            arrays = list(np.asarray(restored)[:count])
        one_done()
        self.seconds += time.perf_counter() - started
        return arrays

    def _spread(self, forward: Any) -> Any:
        """The jitted function for the devices."""
        mesh = self._devices.mesh
        # The host that writes can read what its own devices hold: of many hosts, each gets all tiles.
        answers = sharding.replicated(mesh) if mesh.mesh.is_multi_process else None
        if self._devices.space:
            return jax.jit(forward, out_shardings=answers)
        # Mapped and not partitioned: every device runs the very program that one device alone would run.
        each, everywhere = sharding.clip_sharding(mesh).spec, sharding.replicated(mesh).spec
        specs = (everywhere, each, each, everywhere, everywhere)
        mapped = jax.shard_map(forward, mesh=mesh.mesh, in_specs=specs, out_specs=each, check_vma=False)
        return jax.jit(mapped, out_shardings=answers)

    def _abstract(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct | None]:
        batch, split = self._devices.batch, self._input_sharding
        frames = jax.ShapeDtypeStruct((batch, *self.shape.frames, 3), self.shape.dtype, sharding=split)
        if self.shape.counts is None:
            return frames, None
        return frames, jax.ShapeDtypeStruct((batch, *self.shape.counts), self.shape.counts_dtype, sharding=split)

    @property
    def _input_sharding(self) -> NamedSharding:
        # Rows are split on the devices: whatever their number, not all of a tile's sizes are multiples of it.
        return sharding.clip_sharding(self._devices.mesh)

    def _put(self, values: Sequence[np.ndarray]) -> Array:
        """The values as one array; a device gets those that are its own."""

        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            return np.stack(values[index[0]])

        return jax.make_array_from_callback((len(values), *values[0].shape), self._input_sharding, part)

    def _everywhere(self, state: Any) -> Any:
        """The parameters on all devices."""
        everywhere = sharding.replicated(self._devices.mesh)
        if not self._devices.mesh.mesh.is_multi_process:
            return jax.device_put(state, everywhere)

        def replicate(leaf: Array) -> Array:
            array = np.asarray(leaf)
            return jax.make_array_from_callback(array.shape, everywhere, array.__getitem__)

        return jax.tree.map(replicate, state)


class StoredProgram(nnx.Module):
    """A network that takes frames and counts as they are stored: all of `restore_tiles` is in its program."""

    def restore_stored(self, frames: Array, counts: Array | None, level: Array) -> Array:
        """The restored tiles; see `restore_tiles` for the arguments."""
        raise NotImplementedError


def restore_tiles(
    network: Any,
    frames: Num[Array, "b t h w 3"],
    counts: Num[Array, "b t h3 w3 k"] | None,
    moments: Float[Array, " 2"],
    level: Float[Array, " n"],
    *,
    normalise: str,
) -> Float32[Array, "b t2 h2 w2 3"]:
    """The restored tiles, about [0, 1], of tiles as they are stored.

    Args:
        network: called as network(clip, voxels, key=None).
        frames: uint8 or uint16, or floats in [0, 1].
        counts: whole numbers, if the network takes spikes.
        moments: mean and standard deviation that counts are standardised with.
        level: the standard deviation of the noise (of 1) for a network that takes it, else nothing.
        normalise: how the network wants counts normalised.
    """
    clip = _to_float(frames)
    noise = jnp.broadcast_to(level.astype(clip.dtype), (*clip.shape[:-1], *level.shape))
    voxels = None
    if counts is not None:
        voxels = standardise(jnp, counts, mean=moments[0], std=moments[1], by=normalise)
    return network(jnp.concatenate([clip, noise], axis=-1), voxels, key=None).astype(jnp.float32)


def _to_float(frames: Num[Array, "b t h w 3"]) -> Float[Array, "b t h w 3"]:
    if jnp.issubdtype(frames.dtype, jnp.floating):
        return frames
    return frames.astype(jnp.float32) / jnp.iinfo(frames.dtype).max


def _needed_bytes(compiled: Any) -> int:
    memory = compiled.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )
