"""Restoring a whole input: frames, voxels and sharp frames in; restored frames and figures out."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice, repeat
from typing import Any, TextIO

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float32

from spikejax import metrics
from spikejax.data.progress import Progress
from spikejax.data.video import Frame, FrameSource, FrameWriter
from spikejax.errors import InputError
from spikejax.inference.network import CompiledNetwork
from spikejax.inference.pipeline import Sample, restore_stream
from spikejax.inference.tiling import Extent
from spikejax.models.restorer import MIN_FRAMES, MIN_SIDE

Voxels = Float32[np.ndarray, "h2 w2 k"]
SMALLEST_TILE = Extent(MIN_FRAMES, MIN_SIDE, MIN_SIDE)


@dataclass(frozen=True)
class Report:
    """The figures of a restored input.

    Attributes:
        frames: how many.
        height: of a frame.
        width: of a frame.
        tile: frames, rows and columns that the network saw at once.
        overlap: of neighbouring tiles.
        compile_seconds: what compiling the network took.
        seconds_per_frame: the network's time for a frame.
        peak_host_bytes: the largest memory of the process.
        peak_device_bytes: the same of the accelerator; None on a CPU, where it is part of the host's.
        scores: if there are sharp frames, means over the frames of PSNR (dB) and SSIM, of RGB and of Y, before
            (`psnr_blur`, ...) and after (`psnr_recon`, ...); None where a PSNR is infinite.
    """

    frames: int
    height: int
    width: int
    tile: Extent
    overlap: Extent
    compile_seconds: float
    seconds_per_frame: float
    peak_host_bytes: int
    peak_device_bytes: int | None
    scores: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """The report as what JSON can hold, the scores beside the other figures."""
        fields = asdict(self)
        scores = fields.pop("scores")
        return fields | scores


def restore_frames(
    model: nnx.Module,
    frames: FrameSource,
    *,
    voxels: Iterable[Voxels] | None,
    sharp: FrameSource | None,
    writer: FrameWriter,
    tile: Extent,
    overlap: Extent,
    log: TextIO | None = None,
) -> Report:
    """Restores all frames of a source, writes them and returns the figures.

    Args:
        model: a Restorer.
        frames: the blurred frames.
        voxels: standardised, one array for each frame; None for a network without spikes.
        sharp: as many true frames of the same size, to measure against.
        writer: takes the restored frames.
        tile: frames, rows and columns the network sees at once; cut down to the input where that is smaller.
        overlap: of neighbouring tiles; smaller than `tile`.
        log: where progress is shown, default stderr.

    Raises:
        InputError: fewer than two frames, or frames that the network cannot take.
    """
    if SMALLEST_TILE.within(tile) != SMALLEST_TILE:
        raise InputError(f"expected a --tile of at least {SMALLEST_TILE}, found {tile}")
    samples = _samples(frames, voxels)
    first = list(islice(samples, tile.frames))
    if len(first) < MIN_FRAMES or min(frames.height, frames.width) < MIN_SIDE:
        raise InputError(
            f"expected at least {MIN_FRAMES} frames of {MIN_SIDE}x{MIN_SIDE}, "
            f"found {len(first)} of {frames.height}x{frames.width} (height x width): {frames.path}"
        )
    tile = tile.within(Extent(len(first), frames.height, frames.width))
    print(f"compiling the network for clips of {tile} (frames, height, width)", file=log or sys.stderr)
    network = CompiledNetwork(model, clip_shape=tile.shape, voxel_shape=_voxel_shape(first[0], tile, overlap))
    restored = restore_stream(chain(first, samples), network, tile=tile, overlap=overlap)
    references: Iterable[Frame | None] = repeat(None) if sharp is None else sharp
    scores: list[dict[str, float]] = []
    # The clock starts here: compiling is no part of the rate.
    progress = Progress("restoring", total=frames.expected_length, unit="frames", stream=log)
    for index, ((sample, recon), reference) in enumerate(zip(restored, references, strict=False)):
        writer.write(recon, name=None if frames.names is None else frames.names[index])
        if reference is not None:
            scores.append(metrics.compare(sample.blur, recon, reference))
        progress.advance()
    progress.finish()
    return Report(
        frames=index + 1,
        height=frames.height,
        width=frames.width,
        tile=tile,
        overlap=overlap,
        compile_seconds=network.compile_seconds,
        seconds_per_frame=network.seconds / (index + 1),
        peak_host_bytes=_peak_host_bytes(),
        peak_device_bytes=_peak_device_bytes(),
        scores=_means(scores),
    )


def _samples(frames: FrameSource, voxels: Iterable[Voxels] | None) -> Iterator[Sample]:
    if voxels is None:
        return (Sample(frame) for frame in frames)
    return (Sample(frame, counts) for frame, counts in zip(frames, voxels, strict=True))


def _voxel_shape(sample: Sample, tile: Extent, overlap: Extent) -> tuple[int, int, int, int] | None:
    """The shape of a tile's voxels.

    Raises:
        InputError: spikes of half the frames' resolution, and tiles that start or end inside one of their pixels.
    """
    if sample.voxels is None:
        return None
    height, width, bins = sample.voxels.shape
    ratio = sample.blur.shape[0] // height
    if any(side % ratio for side in (tile.height, tile.width, overlap.height, overlap.width)):
        raise InputError(
            f"expected --tile and --overlap with sides that are multiples of {ratio}, since the spikes have 1/{ratio} "
            f"of the frames' resolution, found tiles of {tile} with overlap {overlap}"
        )
    return tile.frames, tile.height // ratio, tile.width // ratio, bins


def _means(scores: list[dict[str, float]]) -> dict[str, float | None]:
    """The mean over the frames; JSON knows no infinity, which the PSNR of equal pictures is."""
    means = {name: float(np.mean([frame[name] for frame in scores])) for name in scores[0]} if scores else {}
    return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}


def _peak_host_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _peak_device_bytes() -> int | None:
    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics.get("peak_bytes_in_use")
