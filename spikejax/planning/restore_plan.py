"""One plan of restoring: tiles, memory and time of a whole input, here or on a device that is not here."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import SingleDeviceSharding
from jaxtyping import Float32

from spikejax.errors import InputError
from spikejax.hardware.devices import describe_devices
from spikejax.hardware.flops import count_flops
from spikejax.inference.clip_blending import InputFrame
from spikejax.inference.compiled_network import ClipShape, Devices, TileArrays, restore_tiles, use_devices
from spikejax.inference.restored_stream import ClipNetwork, RestoredStream, StreamSettings
from spikejax.inference.tile_search import available_bytes
from spikejax.inference.tiling import Extent, tile_starts
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.kernels.choice import Target, trace_for
from spikejax.models.traits import NetworkTraits
from spikejax.planning.step_plan import memory_of, read_program, roofline_of
from spikejax.planning.topology import Topology


@dataclasses.dataclass(frozen=True)
class RestoredInput:
    """What is to be restored.

    Attributes:
        name: for the plan's head.
        frames: their number; None if nobody knows.
        height: of a frame.
        width: of a frame.
        dtype: of its pixels, "uint8" or "uint16".
        spike_ratio: how many times larger frames are than spikes, of a network that takes them.
    """

    name: str
    frames: int | None
    height: int
    width: int
    dtype: str = "uint8"
    spike_ratio: int = 1


@dataclasses.dataclass(frozen=True)
class RestorePlan:
    """What restoring an input takes.

    Attributes:
        input: what is restored.
        devices: that restore, in words.
        tiles_at_once: that they restore, each its own.
        tile: frames, rows and columns that the network sees at once.
        overlap: of neighbouring tiles.
        tiles: that cover a frame, once for each mirrored or turned copy.
        clips: that cover the frames; None if nobody knows how many there are.
        restored: frames that come out, likewise.
        needed: bytes of a device's memory.
        available: bytes that a device has.
        seconds_a_tile: of a device for one tile; None if nobody knows.
        measured: whether it was measured on one tile; otherwise it is a bound: no tile is faster.
        compile_seconds: what compiling took here.
    """

    input: RestoredInput
    devices: str
    tiles_at_once: int
    tile: Extent
    overlap: Extent
    tiles: int
    clips: int | None
    restored: int | None
    needed: int
    available: int
    seconds_a_tile: float | None
    measured: bool
    compile_seconds: float

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.needed <= self.available

    @property
    def seconds_a_frame(self) -> float | None:
        """Of a restored frame; of endless frames where their number is not known."""
        if self.seconds_a_tile is None:
            return None
        clips, frames = self.clips, self.restored
        if clips is None or frames is None:
            clips, frames = 1, max(self.tile.frames - self.overlap.frames, 1)
        return self.seconds_a_tile * self.tiles * clips / frames / self.tiles_at_once

    @property
    def seconds(self) -> float | None:
        """Of all frames, without compiling; None if nobody knows."""
        each = self.seconds_a_frame
        return None if each is None or self.restored is None else each * self.restored


def plan_here(restorer: VideoRestorer, given: RestoredInput, settings: StreamSettings) -> RestorePlan:
    """The plan on this machine's devices: compiles the network as restoring would, and restores one tile on each.

    Args:
        restorer: the network.
        given: what is to be restored; it is not read.
        settings: how.

    Raises:
        InputError: as restoring would.
    """
    devices = settings.devices or use_devices()
    settings = dataclasses.replace(settings, devices=devices)
    stream = RestoredStream(restorer.network, _blank(given, restorer.traits), settings, name=given.name)
    program, _ = restorer.network.compiled(stream.shape, settings.sigma, devices)
    tiles = [_blank_tile(stream.shape)] * devices.batch
    list(program.restore(tiles))  # the first run of a program takes longer
    started = time.perf_counter()
    list(program.restore(tiles))
    seconds = time.perf_counter() - started
    local = devices.mesh.local_devices
    return _plan(
        given,
        restorer.traits,
        settings,
        stream,
        devices=describe_devices(),
        at_once=devices.batch,
        needed=int(program.bytes),
        available=available_bytes(local[0], sharing=len(local), limit=settings.memory),
        seconds=seconds,
        measured=True,
    )


def plan_elsewhere(
    restorer: VideoRestorer,
    given: RestoredInput,
    settings: StreamSettings,
    topology: Topology,
    *,
    dtype: str | None = None,
) -> RestorePlan:
    """The plan on devices that need not be here, each with tiles of its own: compiles the network for one of them.

    Args:
        restorer: the network.
        given: what is to be restored.
        settings: how; with a tile that is chosen by memory, the largest that fits there.
        topology: the devices.
        dtype: "float32" or "bfloat16" of the network's features, whose products have a peak; None = as it says itself.

    Raises:
        InputError: the network is a program that was compiled already, or no tile fits.
    """
    if not isinstance(restorer.network, ClipNetwork):
        raise InputError(f"expected a network, found a program that is compiled already: {restorer.name}")
    network = _AbsentNetwork(restorer.network, topology)
    settings = dataclasses.replace(settings, devices=use_devices(1))
    stream = _AbsentStream(network, _blank(given, restorer.traits), settings, name=given.name)
    program = network.programs[stream.shape]
    traffic, schedule = read_program(program.compiled, topology.chip)
    dtype = dtype or _dtype_of(restorer.network.model)
    roofline = roofline_of(topology, dtype, program.flops, traffic, precision=restorer.network.precision)
    return _plan(
        given,
        restorer.traits,
        settings,
        stream,
        devices=topology.name,
        at_once=len(topology.devices),
        needed=int(program.bytes),
        available=topology.memory_bytes,
        seconds=None if roofline is None else max(roofline.step, schedule.seconds if schedule else 0.0),
        measured=False,
    )


def _dtype_of(model: nnx.Module) -> str:
    """What a network computes features in: those that know say so in `compute_dtype`, as `Restorer` does."""
    return "bfloat16" if getattr(model, "compute_dtype", None) == jnp.bfloat16 else "float32"


def _plan(
    given: RestoredInput,
    traits: NetworkTraits,
    settings: StreamSettings,
    stream: RestoredStream,
    *,
    devices: str,
    at_once: int,
    needed: int,
    available: int,
    seconds: float | None,
    measured: bool,
) -> RestorePlan:
    plan = stream.plan
    rows, columns = (
        len(tile_starts(max(length, tile), tile, overlap))
        for length, tile, overlap in (
            (given.height, plan.tile.height, plan.overlap.height),
            (given.width, plan.tile.width, plan.overlap.width),
        )
    )
    passes = settings.passes if traits.interpolates else 1
    clips = restored = None
    if given.frames is not None:
        clips, restored = 0, given.frames
        for _ in range(passes):
            # A network that interpolates sees a clip for each gap between two frames.
            length, tile = max(restored, plan.tile.frames), plan.tile.frames
            clips += restored - 1 if traits.interpolates else len(tile_starts(length, tile, plan.overlap.frames))
            restored = traits.restored_count(restored)
    return RestorePlan(
        input=given,
        devices=devices,
        tiles_at_once=at_once,
        tile=plan.tile,
        overlap=plan.overlap,
        tiles=rows * columns * len(plan.variants),
        clips=clips,
        restored=restored,
        needed=needed,
        available=available,
        seconds_a_tile=seconds,
        measured=measured,
        compile_seconds=stream.compile_seconds,
    )


@dataclasses.dataclass(frozen=True)
class _AbsentProgram:
    """The network compiled for tiles of one shape on a device that is not here."""

    compiled: Any
    flops: float
    bytes: int

    def restore(self, tiles: Iterable[TileArrays]) -> Iterator[Float32[np.ndarray, "t h w 3"]]:
        raise AssertionError("a program for a device that is not here cannot run")


class _AbsentNetwork:
    """A network that is compiled for a topology; see `TileNetwork`."""

    def __init__(self, network: ClipNetwork, topology: Topology) -> None:
        self.traits = network.traits
        self.programs: dict[ClipShape, _AbsentProgram] = {}
        self._network, self._topology = network, topology

    def compiled(self, shape: ClipShape, sigma: float | None, devices: Devices) -> tuple[_AbsentProgram, float]:
        """See `TileNetwork.compiled`; raises what the compiler does where a device has not enough memory."""
        if shape in self.programs:
            return self.programs[shape], 0.0
        started = time.monotonic()
        with self._topology.described():
            traced = self._trace(shape, sigma)
            lowered = traced.lower()
        compiled = lowered.compile()
        flops = count_flops(traced.jaxpr, platform=self._topology.platform)
        self.programs[shape] = _AbsentProgram(compiled, flops, memory_of(compiled).total)
        return self.programs[shape], time.monotonic() - started

    def forget(self, shape: ClipShape, sigma: float | None, devices: Devices) -> None:
        """See `TileNetwork.forget`."""
        self.programs.pop(shape, None)

    def in_float32(self) -> _AbsentNetwork:
        """See `TileNetwork.in_float32`; nothing is computed that might not be finite."""
        return self

    def _trace(self, shape: ClipShape, sigma: float | None) -> Any:
        there = SingleDeviceSharding(self._topology.devices[0])

        def absent(array: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=there)

        graphdef, state = nnx.split(self._network.model)
        frames, counts = _blank_tile(shape)
        level = np.zeros(0 if sigma is None else 1, np.float32)

        def forward(params: Any, frames: Any, counts: Any, moments: Any, level: Any) -> Any:
            network = nnx.merge(graphdef, params)
            normalise = self.traits.spike_normalise
            return restore_tiles(network, frames, counts, moments, level, normalise=normalise)

        batch = (frames[np.newaxis], None if counts is None else counts[np.newaxis])
        moments = np.array(self._network.moments, np.float32)
        # As `CompiledNetwork` and `ClipNetwork` trace it there: with the kernels and the products of that device.
        with trace_for(Target(self._topology.platform)), jax.default_matmul_precision(self._network.precision):
            return jax.jit(forward).trace(*jax.tree.map(absent, (state, *batch, moments, level)))


class _AbsentStream(RestoredStream):
    """A stream whose tiles are chosen by the memory of devices that are not here."""

    def _available_bytes(self, frames: int) -> int:
        assert isinstance(self._network, _AbsentNetwork)
        return self._network._topology.memory_bytes


def _blank_tile(shape: ClipShape) -> TileArrays:
    counts = None if shape.counts is None else np.zeros(shape.counts, shape.counts_dtype)
    return np.zeros((*shape.frames, 3), shape.dtype), counts


def _blank(given: RestoredInput, traits: NetworkTraits) -> Callable[[int], Iterator[InputFrame]]:
    """Black frames like the input's."""
    frame = np.zeros((given.height, given.width, 3), given.dtype)
    counts = None
    if traits.spike_bins is not None:
        ratio = given.spike_ratio
        counts = np.zeros((given.height // ratio, given.width // ratio, traits.spike_bins), np.uint8)

    def frames_from(start: int) -> Iterator[InputFrame]:
        item = InputFrame(frame, counts)
        return repeat(item) if given.frames is None else iter(repeat(item, given.frames - start))

    return frames_from
