"""What a report shows: some frames before and after restoring, and the parts that gained most and least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64

from spikejax.data.datasets.degradation import without_network
from spikejax.io.frame_stream import DecodedFrame, FrameSource
from spikejax.io.pixel_depth import to_uint8
from spikejax.io.transparency import over_checkers
from spikejax.quality.metrics import Picture


def close_up_side(height: int, width: int) -> int:
    """The side of the square parts of a frame that are shown closely, in pixels: a quarter of the frame, or 96."""
    return min(96, max(16, min(height, width) // 4))


@dataclass(frozen=True)
class CloseUp:
    """A part of a frame, shown closely.

    Attributes:
        frame: number of the restored frame.
        top, left: of the part, in its pixels.
        why: what is special about it.
        before, after, sharp: the part; sharp is None if nobody knows.
    """

    frame: int
    top: int
    left: int
    why: str
    before: Picture
    after: Picture
    sharp: Picture | None


@dataclass(frozen=True)
class ShownFrame:
    """A frame before and after restoring, both of the restored size.

    Attributes:
        number: of the restored frame, from 0.
        name: of its file, None in a video.
        before, after, sharp: the pictures; sharp is None if nobody knows.
    """

    number: int
    name: str | None
    before: Picture
    after: Picture
    sharp: Picture | None


def choose_frames(count: int, per_frame: list[Mapping[str, Any]], limit: int) -> list[int]:
    """Up to `limit` frames worth showing: those of the largest and the smallest gain, the rest evenly spread."""
    gains = {
        number: scores["psnr_recon"] - scores["psnr_blur"]
        for number, scores in enumerate(per_frame[:count])
        if scores.get("psnr_recon") is not None and scores.get("psnr_blur") is not None
    }
    chosen = [max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)][:limit] if gains else []
    for number in np.linspace(0, count - 1, max(1, limit)).round().astype(int).tolist():
        if len(set(chosen)) < limit:
            chosen.append(number)
    return sorted(set(chosen))


def gather(
    numbers: list[int], *, restored: FrameSource, source: FrameSource, sharp: FrameSource | None
) -> list[ShownFrame]:
    """The chosen frames.

    Args:
        numbers: of restored frames.
        restored: what came out.
        source: what went in; where there are more restored frames than that, the last one before each is taken.
        sharp: the true frames, one for each restored one.
    """
    factor = 1 if source.count == restored.count else max(1, round((restored.count - 1) / max(1, source.count - 1)))
    before = _pick(source, [number // factor for number in numbers])
    after = _pick(restored, numbers)
    true = {} if sharp is None else _pick(sharp, numbers)
    shown = []
    for number in numbers:
        height, width = after[number].shape[:2]
        small = before[number // factor]
        enlarged = small if small.shape == after[number].shape else without_network(small[np.newaxis], height, width)
        name = None if restored.names is None else restored.names[number]
        shown.append(ShownFrame(number, name, enlarged, after[number], true.get(number)))
    return shown


def _pick(source: FrameSource, numbers: Iterable[int]) -> dict[int, Picture]:
    wanted = set(numbers)
    if source.names is not None:
        return {number: _visible(next(source.decode(number))) for number in wanted}
    pictures: dict[int, Picture] = {}
    for number, decoded in enumerate(source.decode()):
        if number in wanted:
            pictures[number] = _visible(decoded)
        if len(pictures) == len(wanted):
            break
    return pictures


def _visible(decoded: DecodedFrame) -> Picture:
    """A frame of 8 bits; what is transparent lies over checkers, and what is hidden is not seen."""
    frame = to_uint8(decoded.frame)
    return frame if decoded.alpha is None else over_checkers(frame, to_uint8(decoded.alpha))


def find_close_ups(shown: list[ShownFrame]) -> list[CloseUp]:
    """The parts, over all shown frames, that gained most and least; or changed most, if there are no sharp frames."""
    maps = [(frame, _gain(frame)) for frame in shown]
    best = max(maps, key=lambda pair: pair[1].max())
    worst = min(maps, key=lambda pair: pair[1].min())
    if shown[0].sharp is None:
        return [_cut(best[0], best[1], at=int(best[1].argmax()), why="changed most")]
    return [
        _cut(worst[0], worst[1], at=int(worst[1].argmin()), why="gained least, or lost"),
        _cut(best[0], best[1], at=int(best[1].argmax()), why="gained most"),
    ]


def _gain(frame: ShownFrame) -> Float64[np.ndarray, "h w"]:
    """How much the mean squared error of each square part fell, by the part's upper left corner."""
    before, after = frame.before.astype(np.float64), frame.after.astype(np.float64)
    if frame.sharp is None:
        gain = np.square(after - before).mean(axis=2)
    else:
        sharp = frame.sharp.astype(np.float64)
        gain = (np.square(before - sharp) - np.square(after - sharp)).mean(axis=2)
    side = close_up_side(*gain.shape)
    sums = cv2.integral(gain)
    return (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2


def _cut(frame: ShownFrame, gain: Float64[np.ndarray, "h w"], *, at: int, why: str) -> CloseUp:
    top, left = (int(index) for index in np.unravel_index(at, gain.shape))
    side = close_up_side(*frame.after.shape[:2])
    part = (slice(top, top + side), slice(left, left + side))
    sharp = None if frame.sharp is None else frame.sharp[part]
    return CloseUp(frame.number, top, left, why, frame.before[part], frame.after[part], sharp)
