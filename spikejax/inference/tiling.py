"""Overlapping tiles in space and clips in time, all of one shape, and the weights with which they are blended.

A network is compiled for one shape. A larger frame is covered by tiles of that shape, the last of which ends where the
frame ends, and each pixel of the result is a weighted mean over the tiles it lies in. There are two ways to weight:

    tapered    a tile's weight falls off linearly over the overlap, where it sees least of its surroundings, in space
               and in time, so that no seam shows
    published  as published figures of VRT were measured: in space half of the overlap is cut off each tile, in time
               all frames of a tile count alike (https://github.com/JingyunLiang/VRT, main_test_vrt.py)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Float64

from spikejax.io.box import Box
from spikejax.models.traits import NetworkTraits

_T = TypeVar("_T")
PROTOCOLS = ("tapered", "published")


@dataclass(frozen=True)
class Extent:
    """Frames, rows and columns: the size of a clip or of an overlap."""

    frames: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.frames},{self.height},{self.width}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, height, width)."""
        return self.frames, self.height, self.width

    def within(self, other: Extent) -> Extent:
        """The extent, cut down to `other` where it is larger."""
        return Extent(min(self.frames, other.frames), min(self.height, other.height), min(self.width, other.width))

    def smaller_than(self, other: Extent) -> bool:
        """Whether it is smaller along every axis."""
        return all(side < limit for side, limit in zip(self.shape, other.shape, strict=True))

    def or_all(self, whole: Extent) -> Extent:
        """The extent, with that of `whole` instead of every 0."""
        return Extent(*(side or all_ for side, all_ in zip(self.shape, whole.shape, strict=True)))

    def scaled(self, factor: int) -> Extent:
        """As many frames, of so many times the height and width."""
        return Extent(self.frames, self.height * factor, self.width * factor)


@dataclass(frozen=True)
class AutoTile:
    """A tile whose rows and columns are as large as memory allows.

    Attributes:
        frames: the network sees at once; None = the network's own.
    """

    frames: int | None = None

    def __str__(self) -> str:
        return "auto" if self.frames is None else f"{self.frames},auto"


# Stands for 0 where a frame's size is not known.
UNLIMITED = Extent(sys.maxsize, sys.maxsize, sys.maxsize)


def smallest_tile(traits: NetworkTraits) -> Extent:
    """The smallest clip that a network takes."""
    return Extent(traits.window if traits.interpolates else traits.min_frames, traits.min_side, traits.min_side)


@dataclass(frozen=True)
class Tile:
    """A part of the frame that the network sees at once, and the weights [height, width, 1] of its pixels."""

    box: Box
    weights: Float32[np.ndarray, "h w 1"]


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of size `tile` start so that they cover [0, length); the last one ends at `length`.

    Neighbours overlap by `overlap`, the last two by more if need be. `length` is at least `tile`.
    """
    assert tile <= length
    last = length - tile
    return [*range(0, last, tile - overlap), last]


def taper(tile: int, overlap: int) -> Float64[np.ndarray, " tile"]:
    """A tile's weights along one axis: 1 inside, falling towards both ends over the overlap; above 0 everywhere."""
    to_edge = np.minimum(np.arange(tile), np.arange(tile)[::-1]) + 1.0
    return np.minimum(1.0, to_edge / (overlap + 1))


def kept(tile: int, cut: int, *, before: bool, after: bool) -> Float64[np.ndarray, " tile"]:
    """A tile's weights along one axis where what is cut off counts 0 and the rest 1.

    Args:
        tile: its side.
        cut: pixels that it and a neighbour cut off together: half of them each, the odd one at its end.
        before: whether there is a tile before it.
        after: whether there is one after it.
    """
    weights = np.ones(tile)
    weights[: cut // 2 if before else 0] = 0
    weights[tile - (cut + 1) // 2 if after else tile :] = 0
    return weights


def spatial_tiles(height: int, width: int, *, tile: Extent, overlap: Extent, cut: Extent | None = None) -> list[Tile]:
    """Tiles that cover a frame; at every pixel the weights of the tiles that cover it sum to one.

    Args:
        height: of the frame.
        width: of the frame.
        tile: their size.
        overlap: of neighbouring ones.
        cut: what two neighbours cut off together ("published"); None = weights fall off over the overlap ("tapered").
    """
    rows = _weighted_starts(height, tile.height, overlap.height, None if cut is None else cut.height)
    columns = _weighted_starts(width, tile.width, overlap.width, None if cut is None else cut.width)
    return [
        Tile(Box(top, left, tile.height, tile.width), np.outer(down, across)[..., np.newaxis].astype(np.float32))
        for top, down in rows
        for left, across in columns
    ]


def _weighted_starts(
    length: int, tile: int, overlap: int, cut: int | None
) -> list[tuple[int, Float64[np.ndarray, " tile"]]]:
    """The tiles' starts along an axis, each with weights that sum to one over all tiles.

    Tiles form a grid, so products of such weights sum to one over the frame.
    """
    starts = tile_starts(length, tile, overlap)
    if cut is None:
        weights = [taper(tile, overlap)] * len(starts)
    else:
        weights = [kept(tile, cut, before=start > 0, after=start < starts[-1]) for start in starts]
    total = np.zeros(length)
    for start, own in zip(starts, weights, strict=True):
        total[start : start + tile] += own
    return [(start, own / total[start : start + tile]) for start, own in zip(starts, weights, strict=True)]


def overlapping_clips(items: Iterable[_T], *, frames: int, overlap: int) -> Iterator[tuple[list[_T], int]]:
    """Yields clips of `frames` consecutive items, and how many of its items come before the next clip.

    The temporal counterpart of `tile_starts` for a stream whose length is not known: the last clip ends with the last
    item, and a stream shorter than `frames` is one short clip. Only a clip and the next one's new items are kept.
    """
    stream = iter(items)
    clip = list(islice(stream, frames))
    while new := list(islice(stream, frames - overlap)):
        yield clip, len(new)
        clip = (clip + new)[-frames:]
    if clip:
        yield clip, len(clip)
