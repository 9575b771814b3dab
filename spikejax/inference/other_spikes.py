"""What a network makes of a frame with other spikes than its own.

A network that ignores its spikes gives the same answer whatever they are. One whose spikes are not aligned with the
frames gives a better answer with those of the frame before or after than with what it is told are its own.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import UInt8

from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.inference.voxel_source import VoxelSource
from spikejax.io.frame_source import FrameSource
from spikejax.io.pixel_depth import to_uint8

# By name, how many frames later than the frame itself its spikes are taken from; and "none", of a camera that saw none.
_SHIFTS = {"own": 0, "previous": -1, "next": 1}
_WITHOUT = "none"
# Frames of a clip: attention over time hardly gains from more, and each is restored four times for one that is shown.
_LONGEST_CLIP = 8


def restore_with_other_spikes(
    restorer: VideoRestorer,
    frames: FrameSource,
    spikes: VoxelSource,
    number: int,
    *,
    count: int,
    tile: Extent,
    overlap: Extent,
) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """A frame restored with its "own" spikes, with "none", and with those of the "previous" and the "next" frame.

    All frames of the clip around it have the spikes of their neighbour then, those at an end of the input their own. A
    neighbour that the frame itself does not have is left out.

    Args:
        restorer: the network, which takes spikes.
        frames: the input.
        spikes: of its frames.
        number: of the frame, from 0.
        count: of the frames.
        tile: frames, rows and columns that the network sees at once; 0 = all there are.
        overlap: of neighbouring tiles.

    Raises:
        InputError: frames or spikes that do not fit the network.
    """
    length = min(count, max(restorer.traits.min_frames, min(tile.frames or _LONGEST_CLIP, _LONGEST_CLIP)))
    first = min(max(0, number - length // 2), count - length)
    clip = np.stack([frame for frame, _ in islice(frames.read(first), length)])
    begin, end = max(0, first - 1), min(count, first + length + 1)
    counts = np.stack(list(islice(spikes.read(begin), end - begin)))
    how: dict[str, Any] = dict(
        tile=(length, tile.height, tile.width), overlap=(0, overlap.height, overlap.width), devices=1
    )
    answers = {}
    for name, shift in _SHIFTS.items():
        if 0 <= number + shift < count:
            chosen = np.clip(np.arange(first, first + length) + shift, begin, end - 1) - begin
            answers[name] = to_uint8(restorer.restore(clip, counts=counts[chosen], **how)[number - first])
    nothing = np.zeros_like(counts[:length])
    return answers | {_WITHOUT: to_uint8(restorer.restore(clip, counts=nothing, **how)[number - first])}
