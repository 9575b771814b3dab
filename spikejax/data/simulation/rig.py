"""One exposure: what the blurring camera, a perfectly sharp camera and the spike camera see of the same light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.light import luminance, to_display
from spikejax.data.simulation.camera_settings import CameraSettings
from spikejax.data.simulation.spike_camera import SpikeCamera
from spikejax.errors import InputError
from spikejax.io.pixel_depth import to_uint8


@dataclass(frozen=True)
class Exposure:
    """One frame of a data set.

    Attributes:
        blur: what the camera sees, 8-bit RGB.
        sharp: the light at the middle of the exposure, 8-bit RGB.
        spikes: 0 or 1, at every step of the exposure.
    """

    blur: UInt8[np.ndarray, "h w 3"]
    sharp: UInt8[np.ndarray, "h w 3"]
    spikes: UInt8[np.ndarray, "s hs ws"]


class CameraRig:
    """The three cameras side by side, over the consecutive exposures of one sequence."""

    def __init__(self, height: int, width: int, settings: CameraSettings, *, rng: np.random.Generator):
        """Sets the cameras up for pictures of `height` x `width`, which the spike scale must divide."""
        scale = settings.spike_scale
        if height % scale or width % scale or (height // scale) * (width // scale) % 8:
            raise InputError(
                f"expected sides divisible by the spike scale {scale} and a multiple of 8 spike pixels, "
                f"found {height}x{width}"
            )
        self._spike_size = (width // scale, height // scale)
        self._camera = SpikeCamera(
            height // scale,
            width // scale,
            rng=rng,
            gain=settings.gain,
            theta=settings.theta,
            reset=settings.reset,
            noise=settings.noise,
        )
        self._spikes: list[UInt8[np.ndarray, "s hs ws"]] = []
        self._light: np.ndarray = np.zeros((), np.float32)  # summed over the steps of the exposure so far

    def expose(self, light: Float32[np.ndarray, "s h w 3"]) -> None:
        """Shows the cameras the next steps of linear light; an exposure may come in several pieces, to save memory."""
        grey = luminance(light)
        if grey.shape[2:0:-1] != self._spike_size:
            # A larger pixel collects the mean of the light that falls on it.
            grey = np.stack([cv2.resize(step, self._spike_size, interpolation=cv2.INTER_AREA) for step in grey])
        self._spikes.append(self._camera.expose(grey))
        self._light = self._light + light.sum(axis=0)

    def end_exposure(self, middle: Float32[np.ndarray, "h w 3"]) -> Exposure:
        """The exposure that ends here; the next begins. `middle` is the linear light half-way through it."""
        spikes = np.concatenate(self._spikes)
        mean = self._light / np.float32(len(spikes))
        self._spikes = []
        self._light = np.zeros((), np.float32)
        return Exposure(to_uint8(to_display(mean)), to_uint8(to_display(middle)), spikes)
