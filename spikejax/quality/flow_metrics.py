"""How a restored clip changes from frame to frame, against the true one: frames that flicker are seen in it.

Each frame for itself may be near the truth while neighbours jump. Optical flow is OpenCV's DIS on grey pictures.

References:
    Kroeger et al., Fast Optical Flow using Dense Inverse Search, 2016.
    Chu et al., Learning temporal coherence via self-supervision for GAN-based video generation, 2020 (tOF).
    Lai et al., Learning blind video temporal consistency, 2018 (warping error).
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float32, UInt8

Picture = UInt8[np.ndarray, "h w 3"]
Flow = Float32[np.ndarray, "h w 2"]


class FlowDifference:
    """tOF: the mean distance, in pixels along each axis, of the flow between two frames from that between the true."""

    def compare(self, earlier: Picture, later: Picture, true_earlier: Picture, true_later: Picture) -> float:
        """See `spikejax.quality.metrics.OverTime`."""
        return float(np.abs(flow(earlier, later) - _true_flow(true_earlier, true_later)).mean())


class WarpingError:
    """The mean difference, of 255, of a frame from the one before moved to it along the true flow.

    Pixels that the true frames themselves do not find again (occluded ones, and those that leave the picture) do not
    count: where the true frame differs from its own predecessor, moved in the same way, by more than 10 of 255.
    """

    tolerance = 10

    def compare(self, earlier: Picture, later: Picture, true_earlier: Picture, true_later: Picture) -> float:
        """See `spikejax.quality.metrics.OverTime`."""
        # Backwards: where each pixel of the later frame was.
        back = _true_flow(true_later, true_earlier)
        lost = _difference(true_later, _moved(true_earlier, back)).max(axis=-1) > self.tolerance
        error = _difference(later, _moved(earlier, back)).mean(axis=-1)
        return float(error[~lost].mean()) if not lost.all() else float("nan")


def flow(earlier: Picture, later: Picture) -> Flow:
    """Where each pixel of the earlier picture goes to, (dx, dy) in pixels."""
    import cv2  # only now: names and units of metrics are wanted where nothing is measured

    first, second = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (earlier, later))
    start = np.zeros((*first.shape, 2), np.float32)
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, start)


class _Kept:
    """A picture as a key of what has been computed of it: both metrics, before and after, want the same true flow."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    def __hash__(self) -> int:
        return id(self.picture)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept) and other.picture is self.picture


def _true_flow(earlier: Picture, later: Picture) -> Flow:
    return _kept_flow(_Kept(earlier), _Kept(later))


@functools.lru_cache(maxsize=2)
def _kept_flow(earlier: _Kept, later: _Kept) -> Flow:
    return flow(earlier.picture, later.picture)


def _moved(picture: Picture, back: Flow) -> Picture:
    import cv2

    height, width = picture.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(
        picture, columns + back[..., 0], rows + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def _difference(a: Picture, b: Picture) -> Float32[np.ndarray, "h w 3"]:
    return np.abs(a.astype(np.float32) - b)
