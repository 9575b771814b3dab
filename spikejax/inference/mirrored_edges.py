"""Frames lengthened to what the windows of a network divide, as the published evaluation lengthens them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Num

from spikejax.inference.clip_blending import InputFrame, RestoredFrame
from spikejax.inference.tiling import Extent
from spikejax.models.traits import NetworkTraits


@dataclass(frozen=True)
class MirroredEdges:
    """Rows and columns that are added to a frame at its lower and right edge, and cut off the restored one.

    Attributes:
        rows: how many are added below.
        columns: how many are added on the right.
        upscale: size of the restored frames over that of the frames.
    """

    rows: int = 0
    columns: int = 0
    upscale: int = 1

    def lengthen(self, input_frame: InputFrame) -> InputFrame:
        """The frame, and its counts, with mirrored pixels added, the last one twice in a row."""
        if not (self.rows or self.columns):
            return input_frame
        counts = input_frame.counts
        if counts is not None:
            ratio = input_frame.frame.shape[0] // counts.shape[0]
            counts = _mirrored(counts, self.rows // ratio, self.columns // ratio)
        return replace(input_frame, frame=_mirrored(input_frame.frame, self.rows, self.columns), counts=counts)

    def cut(self, restored: RestoredFrame) -> RestoredFrame:
        """The restored frame, and the one that it was, without them."""
        if not (self.rows or self.columns):
            return restored
        source, frame = restored.source, restored.frame
        if source is not None:
            source = replace(source, frame=_cut(source.frame, self.rows, self.columns))
        return restored._replace(
            source=source, frame=_cut(frame, self.rows * self.upscale, self.columns * self.upscale)
        )


def mirrored_edges(
    height: int, width: int, *, tile: Extent, traits: NetworkTraits, spike_ratio: int = 1
) -> MirroredEdges:
    """What has to be added to frames that are not cut into tiles along an axis.

    Args:
        height: of the frames.
        width: of the frames.
        tile: 0 = all there are; along an axis of larger frames nothing is added.
        traits: of the network.
        spike_ratio: size of the frames over that of their spikes.
    """
    multiple = math.lcm(traits.side_multiple, spike_ratio)
    rows = -height % multiple if not 0 < tile.height < height else 0
    columns = -width % multiple if not 0 < tile.width < width else 0
    return MirroredEdges(rows, columns, traits.upscale)


def _mirrored(values: Num[np.ndarray, "h w c"], rows: int, columns: int) -> Num[np.ndarray, "h2 w2 c"]:
    return np.pad(values, ((0, rows), (0, columns), (0, 0)), mode="symmetric")


def _cut(values: Num[np.ndarray, "h w c"], rows: int, columns: int) -> Num[np.ndarray, "h2 w2 c"]:
    return values[: len(values) - rows, : values.shape[1] - columns]
