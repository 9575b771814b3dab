"""Restoring a stream of frames clip by clip, so that memory does not grow with the length of the video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.inference.tiling import Extent, Tile, overlapping_clips, spatial_tiles, taper
from spikejax.metrics import to_uint8

# Restores a clip of the one shape that a network was compiled for: uint8 blur [t,h,w,3] and standardised voxels
# [t,h',w',k] (None for a network without spikes) to float32 [t,h,w,3] in [0, 1].
ClipRestorer = Callable[
    [UInt8[np.ndarray, "t h w 3"], Float32[np.ndarray, "t h2 w2 k"] | None], Float32[np.ndarray, "t h w 3"]
]


@dataclass(frozen=True)
class Sample:
    """A blurred frame, and its window's standardised voxels if the network takes spikes."""

    blur: UInt8[np.ndarray, "h w 3"]
    voxels: Float32[np.ndarray, "h2 w2 k"] | None = None


def restore_stream(
    samples: Iterable[Sample], restore_clip: ClipRestorer, *, tile: Extent, overlap: Extent
) -> Iterator[tuple[Sample, UInt8[np.ndarray, "h w 3"]]]:
    """Yields every sample with its restored frame, in order.

    Held at a time: the samples of one clip and of the next one's new frames, and one clip of float32 results.

    Args:
        samples: of one size; at least `tile.frames` of them.
        restore_clip: the network, called on clips of size `tile` only.
        tile: not larger than the frames.
        overlap: smaller than `tile`.
    """
    clips = overlapping_clips(samples, frames=tile.frames, overlap=overlap.frames)
    current = next(clips, None)
    if current is None:
        return
    height, width = current[0][0].blur.shape[:2]
    tiles = spatial_tiles(height, width, tile=tile, overlap=overlap)
    fade = taper(tile.frames, overlap.frames).astype(np.float32)
    blended = np.zeros((tile.frames, height, width, 3), np.float32)
    weight = np.zeros(tile.frames, np.float32)
    while current is not None:
        clip, _ = current
        assert len(clip) == tile.frames, "the caller fits the tile to the number of frames"
        for part in tiles:
            _add_tile(blended, clip, part, fade, restore_clip)
        weight += fade
        current = next(clips, None)
        # Nothing more is added to the frames before the next clip.
        finished = current[1] if current is not None else len(clip)
        for index in range(finished):
            yield clip[index], to_uint8(blended[index] / weight[index])
        blended = _shift(blended, finished)
        weight = _shift(weight, finished)


def _add_tile(
    blended: Float32[np.ndarray, "t h w 3"],
    clip: list[Sample],
    tile: Tile,
    fade: Float32[np.ndarray, " t"],
    restore_clip: ClipRestorer,
) -> None:
    """Restores one tile of a clip and adds it, weighted in space and time, to `blended`."""
    rows, columns = tile.box.slices
    blur = np.stack([sample.blur[rows, columns] for sample in clip])
    restored = restore_clip(blur, _tile_voxels(clip, tile))
    blended[:, rows, columns] += fade[:, np.newaxis, np.newaxis, np.newaxis] * tile.weights * restored


def _tile_voxels(clip: list[Sample], tile: Tile) -> Float32[np.ndarray, "t h2 w2 k"] | None:
    parts = []
    for sample in clip:
        if sample.voxels is None:
            return None
        # A spike camera may have half the picture's resolution.
        ratio = sample.blur.shape[0] // sample.voxels.shape[0]
        rows, columns = (tile.box // ratio).slices
        parts.append(sample.voxels[rows, columns])
    return np.stack(parts)


def _shift(values: Float32[np.ndarray, "t ..."], count: int) -> Float32[np.ndarray, "t ..."]:
    """The values from `count` on, followed by zeros."""
    return np.concatenate([values[count:], np.zeros_like(values[:count])])
