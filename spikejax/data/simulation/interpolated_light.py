"""Light between the frames of a video, along the optical flow.

The two neighbours of an instant are drawn to it by flows approximated as in Super SloMo (Jiang et al. 2018, equation
4), from OpenCV's DIS flow between them, and blended by their distance in time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.light import picture_light

Light = Float32[np.ndarray, "h w 3"]
Flow = Float32[np.ndarray, "h w 2"]


class EndOfFrames(Exception):
    """The video ends before the instant asked for."""


class Interpolator:
    """Linear light of a video at any instant, asked for in the order of time; two frames are held at once."""

    def __init__(
        self, frames: Iterator[UInt8[np.ndarray, "h w 3"]], *, prepare: Callable[[Light], Light] | None = None
    ):
        """Reads the first frame.

        Args:
            frames: the video, display-referred.
            prepare: applied to every frame's linear light before anything else, such as scaling; keeps the channels.
        """
        self._frames = frames
        self._prepare = prepare or (lambda light: light)
        self._number = 0  # of the frame before the instant
        self._before = self._next()
        self._after: Light | None = None
        self._flows: tuple[Flow, Flow] | None = None

    def at(self, time: float) -> Light:
        """The light at an instant counted in frames from 0, not before the one asked for last; not to be written to.

        Raises:
            EndOfFrames: the video is not that long.
        """
        while time >= self._number + 1:
            self._step()
        share = time - self._number
        assert share >= 0, "instants have to be asked for in order"
        if share == 0:
            return self._before
        if self._after is None:
            self._after = self._next()
        if self._flows is None:
            before, after = _grey(self._before), _grey(self._after)
            self._flows = _flow(before, after), _flow(after, before)
        return _between(self._before, self._after, *self._flows, share)

    def _step(self) -> None:
        self._before = self._next() if self._after is None else self._after
        self._after = self._flows = None
        self._number += 1

    def _next(self) -> Light:
        frame = next(self._frames, None)
        if frame is None:
            raise EndOfFrames
        return self._prepare(picture_light(frame))


def _between(before: Light, after: Light, flow_forward: Flow, flow_backward: Flow, share: float) -> Light:
    to_before = share * share * flow_backward - share * (1 - share) * flow_forward
    to_after = (1 - share) * (1 - share) * flow_forward - share * (1 - share) * flow_backward
    light = cv2.addWeighted(_warp(before, to_before), 1 - share, _warp(after, to_after), share, 0)
    return np.clip(light, 0, 1)  # cubic interpolation overshoots at edges


def _warp(light: Light, flow: Flow) -> Light:
    """The light that each pixel finds where its flow (dx, dy) points to."""
    height, width = light.shape[:2]
    columns = flow[..., 0] + np.arange(width, dtype=np.float32)
    rows = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    return cv2.remap(light, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _grey(light: Light) -> UInt8[np.ndarray, "h w"]:
    # Flow is found in display values: in linear light dark textures would hardly count.
    return np.rint(255 * np.sqrt(cv2.cvtColor(light, cv2.COLOR_RGB2GRAY))).astype(np.uint8)


def _flow(start: UInt8[np.ndarray, "h w"], end: UInt8[np.ndarray, "h w"]) -> Flow:
    """Where each pixel of `start` is found in `end`, as (dx, dy)."""
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(start, end, None)  # type: ignore[call-overload]
