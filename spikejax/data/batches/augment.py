"""Joint augmentation of blurry frames, voxels and sharp frames: one draw, applied alike to all three.

Space is cropped, mirrored and turned. Time is never mirrored unless asked: spikes and motion have a direction. When it
is, both the order of the frames and the order of the bins within each frame's window turn round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from spikejax.data.spikes.voxels import reverse_time
from spikejax.io.box import Box

StoredArray = Shaped[np.ndarray, "_t _h _w _c"]


@dataclass(frozen=True)
class Augmentation:
    """What is done to a sample after its crop, in this order.

    Attributes:
        flip_rows: mirror up and down.
        flip_columns: mirror left and right.
        quarter_turns: counter-clockwise quarter turns, 0 to 3.
        reverse_time: play backwards.
    """

    flip_rows: bool = False
    flip_columns: bool = False
    quarter_turns: int = 0
    reverse_time: bool = False


def draw_box(rng: np.random.Generator, *, height: int, width: int, crop: int, ratio: int) -> Box:
    """A random square of `crop` pixels on a grid `ratio` times coarser than the picture, such as the spikes'."""
    assert crop % ratio == 0 and crop <= min(height, width)
    top = ratio * int(rng.integers((height - crop) // ratio + 1))
    left = ratio * int(rng.integers((width - crop) // ratio + 1))
    return Box(top, left, crop, crop)


def draw_augmentation(rng: np.random.Generator, *, flips: bool, rotate: bool, reverse_time: bool) -> Augmentation:
    """A random choice of what is allowed, each with even odds.

    The same number of draws is made whatever is allowed, so that switching one option leaves the others' choices alone.
    """
    flip_rows, flip_columns, backwards = (bool(rng.integers(2)) for _ in range(3))
    quarter_turns = int(rng.integers(4))
    return Augmentation(
        flip_rows=flips and flip_rows,
        flip_columns=flips and flip_columns,
        quarter_turns=quarter_turns if rotate else 0,
        reverse_time=reverse_time and backwards,
    )


def augment(sample: Mapping[str, StoredArray], augmentation: Augmentation) -> dict[str, StoredArray]:
    """The sample mirrored, turned and played as `augmentation` says; arrays are contiguous.

    Args:
        sample: "input" and "sharp" [t, h, w, c], and perhaps "voxels" [t, h', w', k].
        augmentation: what to do to all of them.
    """
    result = {}
    for key, clip in sample.items():
        clip = _move(clip, augmentation)
        if augmentation.reverse_time:
            clip = reverse_time(clip) if key == "voxels" else clip[::-1]
        result[key] = np.ascontiguousarray(clip)
    return result


def _move(clip: StoredArray, augmentation: Augmentation) -> StoredArray:
    """The clip mirrored and turned."""
    if augmentation.flip_rows:
        clip = clip[:, ::-1]
    if augmentation.flip_columns:
        clip = clip[:, :, ::-1]
    return np.rot90(clip, augmentation.quarter_turns, axes=(1, 2))
