"""A network with all it takes to restore clips of any size and length; what `spikejax.load` returns."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice, zip_longest
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Num

from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.spikes.voxels import voxelise, whole_counts
from spikejax.errors import InputError
from spikejax.inference.clip_blending import Sample
from spikejax.inference.compiled_network import use_devices
from spikejax.inference.restored_stream import ClipNetwork, RestoredStream, SamplesFrom, Settings, to_dtype
from spikejax.inference.tiling import UNLIMITED, Extent, default_overlap, default_tile
from spikejax.models.traits import NetworkTraits


class VideoRestorer:
    """A trained network that restores clips of any size and length.

    Attributes:
        traits: what it does.
        name: where it came from.
        tile: frames, rows and columns it sees at once unless told otherwise; 0 = all there are.
        overlap: of neighbouring tiles, likewise.
    """

    def __init__(
        self,
        model: nnx.Module,
        traits: NetworkTraits,
        *,
        statistics: SpikeStatistics | None = None,
        tile: Extent | None = None,
        overlap: Extent | None = None,
        name: str = "the network",
    ) -> None:
        """Compiles nothing yet.

        Args:
            model: the network, called as model(clip, voxels, key=None).
            traits: what it does, see `spikejax.models.traits.traits_of`.
            statistics: of the spikes it was trained on, needed if it takes spikes.
            tile: its own; None = the published evaluation's for such a network.
            overlap: likewise.
            name: for messages, such as the file it came from.

        Raises:
            InputError: it takes spikes and there are no statistics.
        """
        self._network = ClipNetwork(model, traits, statistics)
        self.traits = traits
        self.name = name
        self.tile = tile or default_tile(traits)
        self.overlap = overlap or default_overlap(traits)
        if self.traits.spike_bins is not None and statistics is None:
            raise InputError(f"expected the training statistics of the spikes, found none in {name}")

    def restore(
        self,
        clip: Any,
        spikes: Any = None,
        *,
        counts: Any = None,
        sigma: float | None = None,
        tile: tuple[int, int, int] | str | None = None,
        overlap: tuple[int, int, int] | None = None,
        memory: int | None = None,
        ensemble: str = "none",
        rate: int | None = None,
        devices: int | None = None,
        space: bool = False,
    ) -> Any:
        """The restored clip.

        Args:
            clip: RGB frames [t,h,w,3], a NumPy or JAX array of uint8 or uint16 or of floats in [0, 1]; or an iterable
                of such frames [h,w,3], which need not fit into memory.
            spikes: the spikes of each frame's exposure, [t,s,h',w'] of 0 and 1 (or an iterable of [s,h',w']), if the
                network takes spikes. h' and w' are h and w or a whole part of them.
            counts: instead of `spikes`, their counts per time bin, [t,h',w',k] (or an iterable of [h',w',k]).
            sigma: standard deviation of the noise, of 255, for a network that removes noise of a known level.
            tile: frames, rows and columns the network sees at once, 0 = all there are; "auto" = rows and columns as
                large as memory allows; None = the network's own.
            overlap: of neighbouring tiles; None = the network's own, or half the tile where that is smaller.
            memory: bytes that `tile="auto"` may use, of a device or, on CPUs, by the process, beside what compiling
                takes for a while; None = what is free.
            ensemble: "none", "flips" (mean over 4 mirrored copies) or "turns" (8, with quarter turns).
            rate: 2, 4 or 8, how many frames a network that interpolates makes of one; None = 2.
            devices: how many restore; None = all.
            space: whether they share the rows of each tile, instead of having tiles of their own.

        Returns:
            A NumPy array [t',h2,w2,3], of the clip's dtype for uint8 and uint16 (rounded and clipped), else float32.
            For an iterable: an iterator of such frames. Super-resolution changes h and w; interpolation by `rate` r
            makes r (t - 1) + 1 frames of t.

        Raises:
            InputError: what is given does not fit together, or not to the network.
        """
        is_array = hasattr(clip, "ndim")
        if is_array and clip.ndim != 4:
            raise InputError(f"expected a clip [t,h,w,3], got an array of shape {tuple(clip.shape)}")
        cut = Extent(*tile) if isinstance(tile, tuple) else self.tile
        settings = Settings(
            tile=cut,
            overlap=self.overlap_of(cut) if overlap is None else Extent(*overlap),
            auto=tile == "auto",
            memory=memory,
            sigma=sigma,
            ensemble=ensemble,
            passes=self.passes_for(rate),
            devices=use_devices(devices, space=space),
        )
        samples = self._samples(clip, spikes, counts)
        stream = self.stream(lambda start: islice(samples, start, None), settings)
        restored = (to_dtype(frame, stream.dtype) for _, frame, _ in stream)
        return np.stack(list(restored)) if is_array else restored

    def stream(
        self, samples_from: SamplesFrom, settings: Settings, *, done: int = 0, name: str = "the clip"
    ) -> RestoredStream:
        """Restores frames one by one, see `RestoredStream`."""
        return RestoredStream(self._network, samples_from, settings, done=done, name=name)

    def overlap_of(self, tile: Extent) -> Extent:
        """The overlap of tiles that somebody asks for: the network's own, or half the tile where that is smaller."""
        whole = tile.or_all(UNLIMITED)
        # Even, for spikes of half the resolution.
        return self.overlap.within(Extent(whole.frames // 2, whole.height // 4 * 2, whole.width // 4 * 2))

    def passes_for(self, rate: int | None) -> int:
        """The passes of interpolation that multiply the rate by so much, None = one; 1 for all other networks.

        Raises:
            InputError: the network does not interpolate, or not to that rate.
        """
        if rate is None:
            return 1
        if not self.traits.interpolates:
            raise InputError(f"expected no rate, the network in {self.name} does not interpolate")
        if rate not in (2, 4, 8):
            raise InputError(f"expected 2, 4 or 8 times the rate, got {rate}")
        return rate.bit_length() - 1

    def check_spikes(self, given: bool) -> None:
        """Raises InputError if spikes are missing, or given to a network that takes none."""
        if given != (self.traits.spike_bins is not None):
            wanted, takes = ("no spikes", "takes none") if given else ("spikes", "needs them")
            raise InputError(f"expected {wanted}, the network in {self.name} {takes}")

    @property
    def params(self) -> dict[str, Any]:
        """The network's parameters, a nested dict of arrays."""
        return nnx.to_pure_dict(nnx.state(self._network.model))

    def fingerprint(self) -> str:
        """A checksum of the parameters and of how they are used: other networks have, almost surely, another."""
        checksum = zlib.crc32(repr(self.traits).encode())
        for leaf in jax.tree.leaves(self.params):
            checksum = zlib.crc32(np.asarray(leaf).tobytes(), checksum)
        return f"{checksum:08x}"

    def _samples(self, clip: Any, spikes: Any, counts: Any) -> Iterator[Sample]:
        if spikes is not None and counts is not None:
            raise InputError("expected spikes or counts of spikes, got both")
        self.check_spikes(spikes is not None or counts is not None)
        bins = self.traits.spike_bins
        frames = (_as_frame(frame) for frame in clip)
        if bins is None:
            return (Sample(frame) for frame in frames)
        if counts is None:
            counts = (_counted(window, bins) for window in spikes)
        return (_with_counts(frame, window, bins) for frame, window in _pairs(frames, counts))


def _pairs(frames: Iterable[Any], windows: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for frame, window in zip_longest(frames, windows):
        if frame is None or window is None:
            raise InputError(
                f"expected spikes for every frame, got {'fewer' if window is None else 'more'} than frames"
            )
        yield frame, window


def _as_frame(frame: Any) -> Num[np.ndarray, "h w 3"]:
    """A frame of any array type as uint8, uint16 or float32."""
    values = np.asarray(frame)
    if values.ndim != 3 or values.shape[2] != 3:
        raise InputError(f"expected frames [h,w,3], got an array of shape {values.shape}")
    if values.dtype in (np.uint8, np.uint16, np.float32):
        return values
    if np.issubdtype(values.dtype, np.integer) or values.dtype == bool:
        raise InputError(f"expected frames of uint8, uint16 or floats in [0, 1], got {values.dtype}")
    return values.astype(np.float32)


def _counted(window: Any, bins: int) -> Num[np.ndarray, "h w k"]:
    spikes = np.asarray(window)
    if spikes.ndim != 3:
        raise InputError(f"expected the spikes of each frame as [s,h,w], got an array of shape {spikes.shape}")
    return voxelise(spikes.astype(np.uint8), bins)


def _with_counts(frame: Num[np.ndarray, "h w 3"], window: Any, bins: int) -> Sample:
    counts = np.asarray(window)
    ratio = frame.shape[0] // max(1, counts.shape[0])
    if counts.ndim != 3 or counts.shape != (frame.shape[0] // ratio, frame.shape[1] // ratio, bins):
        raise InputError(
            f"expected counts [h,w,{bins}] of the frames' size or a whole part of it, got {counts.shape} "
            f"for frames of {frame.shape[0]}x{frame.shape[1]}"
        )
    # One type for all frames of a clip, whatever the largest count of each is.
    return Sample(frame, whole_counts(counts, np.uint8 if counts.dtype == np.uint8 else np.uint16))
