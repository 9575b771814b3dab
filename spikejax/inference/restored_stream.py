"""Restoring a stream of frames with a network: how it is cut up, what is compiled, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float32

from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.distributed import hosts
from spikejax.errors import InputError
from spikejax.inference.clip_blending import (
    ClipPlan,
    CutTile,
    InputFrame,
    RestoredFrame,
    first_interpolated,
    interpolate_stream,
    restore_stream,
)
from spikejax.inference.compiled_network import ClipShape, CompiledNetwork, Devices, TileArrays, use_devices
from spikejax.inference.ensemble import choose_variants
from spikejax.inference.finite_tiles import FiniteTiles
from spikejax.inference.mirrored_edges import MirroredEdges, mirrored_edges
from spikejax.inference.tile_search import CompilerMemory, available_bytes, largest_tile
from spikejax.inference.tiling import PROTOCOLS, UNLIMITED, Extent, smallest_tile, tile_starts
from spikejax.io.pixel_depth import to_float32
from spikejax.models.traits import NetworkTraits

# The sides of tiles that are chosen: the scales of the network divide them.
_SIDE_MULTIPLE = 8
# More of them are a mistake: nearly all the work would be for what they overlap.
_TILE_LIMIT = 4096
# The input frames of a source from a number on.
FramesFrom = Callable[[int], Iterator[InputFrame]]


@dataclass(frozen=True)
class StreamSettings:
    """How to restore.

    Attributes:
        tile: frames, rows and columns the network sees at once; 0 = all there are.
        overlap: of neighbouring tiles, smaller than `tile`.
        auto: whether the tile's rows and columns are the largest that fit into memory instead.
        memory: bytes that may be used for that, of a device or, on CPUs, by the process; None = what is free.
        sigma: standard deviation of the noise, of 255, for a network that takes a noise level.
        ensemble: "none", "flips" (mean of 4 copies) or "turns" (of 8).
        passes: of interpolation; each doubles the rate.
        devices: None = all.
        protocol: how overlapping tiles are blended, see `spikejax.inference.tiling`. With "published", frames that are
            not cut into tiles are lengthened as the published evaluation lengthens them, too.
        blacken_not_finite: whether a tile that is not finite becomes black and is counted; otherwise it ends the work.
    """

    tile: Extent
    overlap: Extent
    auto: bool = False
    memory: int | None = None
    sigma: float | None = None
    ensemble: str = "none"
    passes: int = 1
    devices: Devices | None = None
    protocol: str = PROTOCOLS[0]
    blacken_not_finite: bool = False

    @property
    def published(self) -> bool:
        """Whether all is done as for published figures."""
        return self.protocol == "published"


@runtime_checkable
class TileProgram(Protocol):
    """A network compiled for tiles of one shape."""

    @property
    def bytes(self) -> int:
        """What a device needs to run it, as its compiler says."""

    def restore(self, tiles: Iterable[TileArrays]) -> Iterator[Float32[np.ndarray, "t h w 3"]]:
        """Yields the restored tiles, in order."""


@runtime_checkable
class TileNetwork(Protocol):
    """A network that restores tiles: one of `ClipNetwork`, or one that is being trained."""

    @property
    def traits(self) -> NetworkTraits:
        """What it does to a clip."""

    def compiled(self, shape: ClipShape, sigma: float | None, devices: Devices) -> tuple[TileProgram, float]:
        """The program for tiles of that shape and the seconds its compilation took, 0 if it was there already."""

    def forget(self, shape: ClipShape, sigma: float | None, devices: Devices) -> None:
        """Lets go of a program that was compiled in vain."""

    def in_float32(self) -> TileNetwork:
        """The same network with all features in float32, for tiles that are not finite."""


class ClipNetwork:
    """A network, and the programs compiled of it so far."""

    def __init__(
        self,
        model: nnx.Module,
        traits: NetworkTraits,
        statistics: SpikeStatistics | None,
        *,
        build_float32: Callable[[], nnx.Module] | None = None,
        precision: str = "highest",
    ) -> None:
        """Compiles nothing yet.

        Args:
            model: the network.
            traits: what it does.
            statistics: of the spikes it was trained on.
            build_float32: makes the same network with features in float32; None = `model` is it, or there is none.
            precision: of float32 products, see `spikejax.inference.precision`.
        """
        self.model = model
        self.traits = traits
        self.moments = (0.0, 1.0) if statistics is None else (statistics.mean, statistics.std)
        self._statistics, self._build_float32, self.precision = statistics, build_float32, precision
        self._in_float32: ClipNetwork | None = None
        self._programs: dict[tuple[ClipShape, float | None, Devices], CompiledNetwork] = {}

    def compiled(self, shape: ClipShape, sigma: float | None, devices: Devices) -> tuple[CompiledNetwork, float]:
        """The program for clips of that shape and the seconds its compilation took, 0 if it was there already."""
        key = (shape, sigma, devices)
        if key in self._programs:
            return self._programs[key], 0.0
        normalise = self.traits.spike_normalise
        with jax.default_matmul_precision(self.precision):
            program = CompiledNetwork(
                self.model, shape, statistics=self.moments, normalise=normalise, sigma=sigma, devices=devices
            )
        self._programs[key] = program
        return program, program.compile_seconds

    def forget(self, shape: ClipShape, sigma: float | None, devices: Devices) -> None:
        """Lets go of a program that was compiled in vain."""
        self._programs.pop((shape, sigma, devices), None)

    def in_float32(self) -> ClipNetwork:
        """The same network with all features in float32; made when it is asked for, once."""
        if self._in_float32 is None:
            model = self.model if self._build_float32 is None else self._build_float32()
            self._in_float32 = ClipNetwork(model, self.traits, self._statistics, precision="highest")
        return self._in_float32


class RestoredStream:
    """Iterates over restored frames; says how they are cut up and what that takes.

    Attributes:
        plan: how the frames are cut up.
        dtype: of the frames that came in.
        compile_seconds: what compiling took, the search for a tile included.
        device_bytes: what the program needs on a device, as its compiler says.
        devices: how many restore.
        finite: what looks at every tile, and counts those that were not finite.
    """

    def __init__(
        self,
        network: TileNetwork,
        frames_from: FramesFrom,
        settings: StreamSettings,
        *,
        done: int = 0,
        name: str = "the clip",
    ) -> None:
        """Reads the first frames and compiles the network for them.

        Args:
            network: what restores.
            frames_from: the frames; asked for number 0 on, and again if the work begins later.
            settings: how to restore.
            done: restored frames at the start that are not wanted.
            name: of the source, for messages.

        Raises:
            InputError: too few or too small frames, or settings that do not fit them or the network.
        """
        self._network, self._settings = network, settings
        self._devices = settings.devices or use_devices()
        traits = network.traits
        self.finite = FiniteTiles(
            self._compute_again,
            interpolates=traits.interpolates,
            upscale=traits.upscale,
            blacken=settings.blacken_not_finite,
        )
        traits.check_sigma(settings.sigma)
        tile, smallest = settings.tile, smallest_tile(traits)
        if smallest.within(tile.or_all(smallest)) != smallest and not traits.interpolates:
            raise InputError(f"expected a --tile of at least {smallest}, found {tile}")
        if settings.published and 0 < tile.frames < traits.window and not traits.interpolates:
            raise InputError(
                f"expected a --tile of at least the {traits.window} frames of the network's window with the published "
                f"protocol, found {tile}"
            )
        input_frames = frames_from(0)
        head = list(islice(input_frames, self._head_length()))
        _check_size(head, traits, name)
        length = len(head)
        head += head[::-1][: self._missing_frames(length)]
        self._edges = self._mirrored_edges(head[0])
        first = self._edges.lengthen(head[0])
        self._first = _floats(first) if traits.interpolates else first
        self.dtype = head[0].frame.dtype
        self.devices = len(self._devices.mesh.devices)
        self.compile_seconds = 0.0
        self.plan = self._make_plan(len(head))
        self.device_bytes = self._program(self._shape(self.plan.tile)).bytes
        start = self._start(done)
        if start and isinstance(input_frames, Generator):
            input_frames.close()  # it reads ahead, beside the one that begins later
        lengthened = map(self._edges.lengthen, frames_from(start) if start else chain(head, input_frames))
        restored = map(self._edges.cut, self._restore(lengthened, done, start))
        self._restored = islice(restored, length - done) if len(head) > length else restored

    def __iter__(self) -> Iterator[RestoredFrame]:
        return self._restored

    @property
    def shape(self) -> ClipShape:
        """What the network is compiled for."""
        return self._shape(self.plan.tile)

    def _head_length(self) -> int | None:
        """How many frames have to be read before the first is restored; None = all of them."""
        traits = self._network.traits
        if traits.interpolates:
            return traits.min_frames
        return max(self._settings.tile.frames, traits.window) if self._settings.tile.frames else None

    def _missing_frames(self, length: int) -> int:
        """How many frames have to be added to a clip of so many, which are all there are."""
        traits, settings = self._network.traits, self._settings
        if traits.upscale > 1 and length < traits.window:
            # As the published evaluation fills the 7 frames of Vimeo up to the 8 of the window.
            return traits.window - length
        if settings.published and not settings.tile.frames and not traits.interpolates:
            return -length % traits.window
        return 0

    def _mirrored_edges(self, first: InputFrame) -> MirroredEdges:
        """The rows and columns that have to be added to frames like the first."""
        if not self._settings.published:
            return MirroredEdges()
        (height, width), tile, traits = first.frame.shape[:2], self._settings.tile, self._network.traits
        for side, length in ((tile.height, height), (tile.width, width)):
            if 0 < side < length and side % traits.side_multiple:
                raise InputError(
                    f"expected a --tile whose rows and columns are multiples of {traits.side_multiple} with the "
                    f"published protocol, found {tile}"
                )
        ratio = 1 if first.counts is None else height // first.counts.shape[0]
        return mirrored_edges(height, width, tile=tile, traits=traits, spike_ratio=ratio)

    def _make_plan(self, frames: int) -> ClipPlan:
        traits, settings = self._network.traits, self._settings
        height, width = self._first.frame.shape[:2]
        if traits.interpolates:
            frames = traits.window
            settings = replace(settings, tile=replace(settings.tile, frames=frames))
            settings = replace(settings, overlap=replace(settings.overlap, frames=frames - 1))
        whole = Extent(frames, height, width)
        tile = settings.tile.or_all(whole).within(whole)
        if settings.auto:
            tile = self._largest_tile(tile)
        self._check_ratio(tile)
        if not settings.auto and not settings.overlap.smaller_than(settings.tile.or_all(UNLIMITED)):
            raise InputError(f"expected an --overlap smaller than the tile {tile}, found {settings.overlap}")
        # A tile that was cut down to the frames has no neighbour on that axis.
        overlap = settings.overlap.within(Extent(*(side - 1 for side in tile.shape)))
        tiles = [
            len(tile_starts(*axis))
            for axis in ((height, tile.height, overlap.height), (width, tile.width, overlap.width))
        ]
        if math.prod(tiles) > _TILE_LIMIT:
            raise InputError(
                f"expected a tile that covers a frame at most {_TILE_LIMIT} times, "
                f"found {math.prod(tiles)} tiles of {tile} in a frame of {height}x{width}"
            )
        variants = choose_variants(settings.ensemble)
        return ClipPlan(tile, overlap, upscale=traits.upscale, variants=variants, protocol=settings.protocol)

    def _check_ratio(self, tile: Extent) -> None:
        """Raises InputError for spikes of half the resolution, and tiles that start or end inside their pixels."""
        ratio, overlap = self._ratio, self._settings.overlap
        if any(side % ratio for side in (tile.height, tile.width, overlap.height, overlap.width)):
            raise InputError(
                f"expected --tile and --overlap with sides that are multiples of {ratio}, since the spikes have "
                f"1/{ratio} of the frames' resolution, found tiles of {tile} with overlap {overlap}"
            )

    @property
    def _ratio(self) -> int:
        """How many times larger the frames are than the spikes."""
        counts = self._first.counts
        return 1 if counts is None else self._first.frame.shape[0] // counts.shape[0]

    def _largest_tile(self, start: Extent) -> Extent:
        tried: list[Extent] = []
        before, compiler = self._available_bytes(start.frames), CompilerMemory(self._devices.mesh.local_devices[0])

        def available() -> int:
            # What --memory says is meant apart from what compiling takes. All hosts have to choose the same tile.
            taken = 0 if self._settings.memory is not None else compiler.held // self._sharing
            return int(hosts.gather_from_all(np.array([max(0, before - taken)])).min())

        def compiled_bytes(tile: Extent) -> float:
            tried.append(tile)
            try:
                return self._program(self._shape(tile)).bytes
            except jax.errors.JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                return math.inf

        best = largest_tile(
            self._first.frame.shape[:2],
            start=start,
            overlap=self._settings.overlap,
            multiple=math.lcm(_SIDE_MULTIPLE, self._ratio),
            min_side=self._network.traits.min_side,
            available=available,
            compiled_bytes=compiled_bytes,
        )
        for tile in tried:
            if tile != best:
                self._network.forget(self._shape(tile), self._settings.sigma, self._devices)
        return best

    @property
    def _sharing(self) -> int:
        """How many devices of this host share its memory."""
        return len(self._devices.mesh.local_devices)

    def _available_bytes(self, frames: int) -> int:
        """Memory for the network's program on each device."""
        device = self._devices.mesh.local_devices[0]
        if device.platform != "cpu":
            return available_bytes(device, limit=self._settings.memory)
        # The program shares the host's memory with the input frames of four clips (one that is blended, one that is
        # restored, one that is cut, one that is read) and with the float32 results of two: one that is blended, one
        # that waits to be written.
        held = 4 * self._first.frame.nbytes + 2 * 4 * self._first.frame.size * self._network.traits.upscale**2
        if self._first.counts is not None:
            held += 4 * self._first.counts.nbytes
        return available_bytes(device, sharing=self._sharing, held=frames * held, limit=self._settings.memory)

    def _shape(self, tile: Extent, *, swapped: bool = False) -> ClipShape:
        frames, *sides = tile.shape
        rows, columns = reversed(sides) if swapped else sides
        counts = self._first.counts
        if counts is None:
            return ClipShape((frames, rows, columns), str(self._first.frame.dtype))
        spikes = (frames, rows // self._ratio, columns // self._ratio, counts.shape[2])
        return ClipShape((frames, rows, columns), str(self._first.frame.dtype), spikes, str(counts.dtype))

    def _program(self, shape: ClipShape) -> TileProgram:
        program, seconds = self._network.compiled(shape, self._settings.sigma, self._devices)
        self.compile_seconds += seconds
        return program

    def _restore_tiles(self, tiles: Iterator[CutTile]) -> Iterator[Float32[np.ndarray, "t h w 3"]]:
        # Square tiles have one program whether their rows and columns are swapped or not, and no gap between them.
        for shape, group in groupby(tiles, key=self._shape_of):
            yield from self.finite.restored(group, self._program(shape).restore)

    def _shape_of(self, cut: CutTile) -> ClipShape:
        return self._shape(self.plan.tile, swapped=cut.variant.swapped)

    def _compute_again(self, cut: CutTile) -> Float32[np.ndarray, "t h w 3"]:
        program, seconds = self._network.in_float32().compiled(self._shape_of(cut), self._settings.sigma, self._devices)
        self.compile_seconds += seconds
        return next(iter(program.restore([cut.arrays])))

    def _start(self, done: int) -> int:
        """The first input frame that is needed after so many restored frames."""
        if not self._network.traits.interpolates:
            return self.plan.first_input_frame(done)
        for _ in range(self._settings.passes):
            done = first_interpolated(done, window=self.plan.tile.frames)
        return done

    def _restore(self, input_frames: Iterable[InputFrame], done: int, start: int) -> Iterator[RestoredFrame]:
        if not self._network.traits.interpolates:
            return restore_stream(input_frames, self._restore_tiles, self.plan, skip=done - start, first=start)
        # What the later passes leave out, the earlier ones need not make.
        skips = [done]
        for _ in range(self._settings.passes - 1):
            skips.insert(0, first_interpolated(skips[0], window=self.plan.tile.frames))
        input_frames = (_floats(input_frame) for input_frame in input_frames)
        for skip in skips:
            restored = interpolate_stream(input_frames, self._restore_tiles, self.plan, skip=skip)
            input_frames = (InputFrame(item.frame, time=item.time, alpha=item.alpha) for item in restored)
        return restored


def _check_size(head: list[InputFrame], traits: NetworkTraits, name: str) -> None:
    if len(head) < traits.min_frames:
        raise InputError(f"expected at least {traits.min_frames} frames, found {len(head)}: {name}")
    height, width = head[0].frame.shape[:2]
    smallest = traits.min_side
    if min(height, width) < smallest:
        raise InputError(
            f"expected frames of at least {smallest}x{smallest}, found {height}x{width} (height x width): {name}"
        )


def _floats(input_frame: InputFrame) -> InputFrame:
    return InputFrame(to_float32(input_frame.frame), time=input_frame.time)
