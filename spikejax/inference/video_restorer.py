"""A network with all it takes to restore clips of any size and length; what `spikejax.load` returns."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypedDict, Unpack, overload

import jax
import numpy as np
from flax import nnx

from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.errors import InputError
from spikejax.inference.array_frames import frames_of_arrays
from spikejax.inference.compiled_network import use_devices
from spikejax.inference.restored_stream import ClipNetwork, FramesFrom, RestoredStream, StreamSettings
from spikejax.inference.tiling import PROTOCOLS, UNLIMITED, AutoTile, Extent
from spikejax.io.pixel_depth import to_depth
from spikejax.models.traits import NetworkTraits

MISSING_STATISTICS = "expected the training statistics of the spikes (--statistics FILE), found none"


class RestoreKeywords(TypedDict, total=False):
    """How to restore: keywords of `VideoRestorer.restore`, each of which may be left out.

    Attributes:
        tile: frames, rows and columns the network sees at once, 0 = all there are; "auto" = rows and columns as large
            as memory allows; None = the network's own.
        overlap: of neighbouring tiles; None = the network's own, or half the tile where that is smaller.
        memory: bytes that `tile="auto"` may use, of a device or, on CPUs, by the process, beside what compiling takes
            for a while; None = what is free.
        sigma: standard deviation of the noise, of 255, for a network that removes noise of a known level.
        ensemble: "none", "flips" (mean over 4 mirrored copies) or "turns" (8, with quarter turns).
        times: 2, 4 or 8, how many frames a network that interpolates makes of one; None = 2.
        devices: how many restore; None = all.
        space: whether they share the rows of each tile, instead of having tiles of their own.
        protocol: how overlapping tiles are blended: "tapered", with weights that fall off towards their edges, or as
            published figures are measured, "published".
    """

    tile: tuple[int, int, int] | str | None
    overlap: tuple[int, int, int] | None
    memory: int | None
    sigma: float | None
    ensemble: str
    times: int | None
    devices: int | None
    space: bool
    protocol: str


@dataclass(frozen=True)
class RestoreSettings:
    """How to restore, with whatever network; see `RestoreKeywords` for what is not said here.

    Attributes:
        tile: what the network sees at once; None = the network's own.
        overlap: of neighbouring tiles.
        memory: bytes that an `AutoTile` may use.
        sigma: of the noise.
        ensemble: of copies.
        times: frames that interpolation makes of one.
        devices: their number.
        space: whether they share tiles.
        protocol: of blending.
    """

    tile: Extent | AutoTile | None = None
    overlap: Extent | None = None
    memory: int | None = None
    sigma: float | None = None
    ensemble: str = "none"
    times: int | None = None
    devices: int | None = None
    space: bool = False
    protocol: str = PROTOCOLS[0]


class VideoRestorer:
    """A trained network that restores clips of any size and length.

    Attributes:
        network: the network itself, with the programs that are compiled of it.
        traits: what it does.
        name: where it came from.
        tile: frames, rows and columns it sees at once unless another tile is given; 0 = all there are.
        overlap: of neighbouring tiles, likewise.
    """

    def __init__(
        self,
        model: nnx.Module,
        traits: NetworkTraits,
        *,
        tile: Extent,
        overlap: Extent,
        statistics: SpikeStatistics | None = None,
        name: str = "the network",
        build_float32: Callable[[], nnx.Module] | None = None,
        precision: str = "highest",
    ) -> None:
        """Compiles nothing yet.

        Args:
            model: the network, called as model(clip, voxels, key=None).
            traits: what it does, see `spikejax.models.traits.traits_of`.
            tile: what it sees at once unless another tile is given.
            overlap: of neighbouring tiles, likewise.
            statistics: of the spikes it was trained on, needed if it takes spikes.
            name: for messages, such as the file it came from.
            build_float32: makes the same network with features in float32, for tiles that are not finite; None = the
                network is it.
            precision: of float32 products, see `spikejax.inference.precision`.

        Raises:
            InputError: it takes spikes and there are no statistics.
        """
        self.network = ClipNetwork(model, traits, statistics, build_float32=build_float32, precision=precision)
        self.traits = traits
        self.name = name
        self.tile = tile
        self.overlap = overlap
        if self.traits.needs_statistics and statistics is None:
            raise InputError(f"{MISSING_STATISTICS} in {name}")

    @overload
    def restore(  # type: ignore[overload-overlap]  # arrays are iterables as well; the first that fits counts
        self,
        clip: np.ndarray | jax.Array,
        spikes: Any = None,
        *,
        counts: Any = None,
        **how: Unpack[RestoreKeywords],
    ) -> np.ndarray: ...

    @overload
    def restore(
        self, clip: Iterable[Any], spikes: Any = None, *, counts: Any = None, **how: Unpack[RestoreKeywords]
    ) -> Iterator[np.ndarray]: ...

    def restore(
        self, clip: Any, spikes: Any = None, *, counts: Any = None, **how: Unpack[RestoreKeywords]
    ) -> np.ndarray | Iterator[np.ndarray]:
        """The restored clip: an array of an array, an iterator of an iterable.

        Args:
            clip: RGB frames [t,h,w,3], a NumPy or JAX array of uint8 or uint16 or of floats in [0, 1]; or an iterable
                of such frames [h,w,3], which need not fit into memory.
            spikes: the spikes of each frame's exposure, [t,s,h',w'] of 0 and 1 (or an iterable of [s,h',w']), if the
                network takes spikes. h' and w' are h and w or a whole part of them.
            counts: instead of `spikes`, their counts per time bin, [t,h',w',k] (or an iterable of [h',w',k]).
            **how: `tile`, `overlap`, `memory`, `sigma`, `ensemble`, `times`, `devices`, `space`, `protocol`: see
                `RestoreKeywords`.

        Returns:
            A NumPy array [t',h2,w2,3], of the clip's dtype for uint8 and uint16 (rounded and clipped), else float32.
            For an iterable: an iterator of such frames. Super-resolution changes h and w; interpolation by `times` r
            makes r (t - 1) + 1 frames of t.

        Raises:
            InputError: what is given does not fit together, or not to the network, or is not finite.
            FloatingPointError: what the network makes of it is not finite, in float32 either.
        """
        is_array = hasattr(clip, "ndim")
        if is_array and clip.ndim != 4:
            raise InputError(f"expected a clip [t,h,w,3], found an array of shape {tuple(clip.shape)}")
        if spikes is not None and counts is not None:
            raise InputError("expected spikes or counts of spikes, found both")
        self.check_spikes(spikes is not None or counts is not None)
        frames = frames_of_arrays(clip, spikes=spikes, counts=counts, bins=self.traits.spike_bins)
        settings = self.settings(_settings_of(**how))
        stream = self.stream(lambda start: islice(frames, start, None), settings)
        restored = (to_depth(item.frame, stream.dtype) for item in stream)
        return np.stack(list(restored)) if is_array else restored

    def settings(self, chosen: RestoreSettings) -> StreamSettings:
        """How to restore with this network: what is chosen, and its own tile and overlap where none is.

        Raises:
            InputError: the network does not interpolate, or not that many times; there are not so many devices; there
                is no such protocol, or it knows no tile that is chosen by memory.
        """
        if chosen.protocol not in PROTOCOLS:
            raise InputError(f"expected a protocol ({', '.join(PROTOCOLS)}), found {chosen.protocol!r}")
        if chosen.protocol == "published" and isinstance(chosen.tile, AutoTile):
            raise InputError(f"expected a --tile of three numbers with the published protocol, found {chosen.tile}")
        tile = chosen.tile or self.tile
        if isinstance(tile, AutoTile):
            # The search begins with the network's own tile.
            tile = replace(self.tile, frames=self.tile.frames if tile.frames is None else tile.frames)
        return StreamSettings(
            tile=tile,
            overlap=chosen.overlap or self.overlap_of(tile),
            auto=isinstance(chosen.tile, AutoTile),
            memory=chosen.memory,
            sigma=chosen.sigma,
            ensemble=chosen.ensemble,
            passes=self._passes_for(chosen.times),
            devices=use_devices(chosen.devices, space=chosen.space),
            protocol=chosen.protocol,
        )

    def stream(
        self, frames_from: FramesFrom, settings: StreamSettings, *, done: int = 0, name: str = "the clip"
    ) -> RestoredStream:
        """Restores frames one by one, see `RestoredStream`."""
        return RestoredStream(self.network, frames_from, settings, done=done, name=name)

    def overlap_of(self, tile: Extent) -> Extent:
        """The overlap of tiles that somebody asks for: the network's own, or half the tile where that is smaller."""
        whole = tile.or_all(UNLIMITED)
        # Even, for spikes of half the resolution.
        return self.overlap.within(Extent(whole.frames // 2, whole.height // 4 * 2, whole.width // 4 * 2))

    def _passes_for(self, times: int | None) -> int:
        """The passes of interpolation that multiply the rate by so much, None = one; 1 for all other networks."""
        if times is None:
            return 1
        if not self.traits.interpolates:
            raise InputError(f"expected no --times, the network in {self.name} does not interpolate")
        if times not in (2, 4, 8):
            raise InputError(f"expected 2, 4 or 8 times as many frames, found {times}")
        return times.bit_length() - 1

    def check_spikes(self, given: bool) -> None:
        """Raises InputError if spikes are missing, or given to a network that takes none."""
        if given != (self.traits.spike_bins is not None):
            wanted, takes = ("no spikes", "takes none") if given else ("spikes", "needs them")
            raise InputError(f"expected {wanted}, the network in {self.name} {takes}")

    @property
    def params(self) -> dict[str, Any]:
        """The network's parameters, a nested dict of arrays."""
        return nnx.to_pure_dict(nnx.state(self.network.model))

    def fingerprint(self) -> str:
        """A checksum of the parameters and of how they are used: other networks have, almost surely, another."""
        checksum = zlib.crc32(repr(self.traits).encode())
        for leaf in jax.tree.leaves(self.params):
            checksum = zlib.crc32(np.asarray(leaf).tobytes(), checksum)
        return f"{checksum:08x}"


def _settings_of(
    *,
    tile: tuple[int, int, int] | str | None = None,
    overlap: tuple[int, int, int] | None = None,
    **rest: Any,
) -> RestoreSettings:
    """What the keywords of `VideoRestorer.restore` say."""
    if isinstance(tile, str) and tile != "auto":
        raise InputError(f'expected a tile (frames, rows, columns) or "auto", found {tile!r}')
    extent = AutoTile() if isinstance(tile, str) else None if tile is None else Extent(*tile)
    return RestoreSettings(extent, None if overlap is None else Extent(*overlap), **rest)
