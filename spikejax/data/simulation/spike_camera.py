"""A spike camera and a blurring camera that look at the same linear light.

Every pixel of the spike camera integrates light and fires when the integral reaches a threshold. The blurring camera
averages the light over its exposure and applies the display gamma. Light is linear, float32, in [0, 1].
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.simulation.camera_kernels import expose
from spikejax.data.simulation.camera_settings import Reset, SensorNoise
from spikejax.data.simulation.shot_noise import poisson_tables


class SpikeCamera:
    """A spike camera whose pixels keep their charge between calls, so that a long stream can be made in pieces.

    In each step a pixel gains `gain` times its light, or of the photons that arrive, and what its dark current brings.
    It fires if its charge has reached its threshold. All that is random follows from `rng`, and the stream does not
    depend on how it is cut into pieces: the noise of a pixel at a step is a function of a key and of the two.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        rng: np.random.Generator,
        gain: float = 1.0,
        theta: float = 2.0,
        reset: Reset = "subtract",
        phase: float | None = None,
        noise: SensorNoise | None = None,
    ):
        """Charges every pixel.

        Args:
            height: rows.
            width: columns.
            rng: source of the initial charge and of all noise.
            gain: charge per step at light 1. Beyond theta pixels saturate: one spike a step is the most there can be.
            theta: threshold.
            reset: "subtract" keeps what exceeds the threshold; "zero", a published variant, loses it.
            phase: initial charge of all pixels as a share of their thresholds; None = random, uniform in [0, 1).
            noise: imperfections; None is the ideal camera.
        """
        if not (0 < theta < math.inf and 0 <= gain < math.inf):
            raise ValueError(f"expected theta > 0 and gain >= 0, found theta {theta}, gain {gain}")
        if reset not in ("subtract", "zero"):
            raise ValueError(f'expected reset "subtract" or "zero", found {reset!r}')
        if phase is not None and not 0 <= phase < 1:
            raise ValueError(f"expected an initial phase from 0 to below 1, found {phase}")
        noise = noise or SensorNoise()
        size = (height, width)
        self._size = size
        self._gain = np.float32(gain)
        self._subtract = reset == "subtract"
        self._photons = np.float32(noise.shot_photons)
        self._tables = poisson_tables(noise.shot_photons or 1.0)
        self._steps = 0
        self._theta = np.full(size, theta, np.float32)
        if noise.threshold_variation:
            # Bounded below: a threshold near zero would be a pixel that never stops firing.
            factor = 1 + noise.threshold_variation * rng.standard_normal(size, dtype=np.float32)
            self._theta *= np.maximum(factor, np.float32(0.1))
        drawn = rng.random(size, dtype=np.float32)
        self._charge = (drawn if phase is None else np.full(size, phase, np.float32)) * self._theta
        self._dark = _dark_rates(noise, size, rng)
        self._key = rng.integers(2**64, dtype=np.uint64)

    def expose(self, light: Float32[np.ndarray, "s h w"]) -> UInt8[np.ndarray, "s h w"]:
        """The spikes, 0 or 1, of the steps of linear grey light that follow those of earlier calls.

        With shot noise, light beyond 1 is noisy as light 1 is.

        Raises:
            ValueError: the light is of another size than the camera, or not finite.
        """
        if light.shape[1:] != self._size or not np.isfinite(light.sum()):
            raise ValueError(f"expected finite light of {self._size}, found {light.shape} with sum {light.sum()}")
        spikes = np.empty(light.shape, np.uint8)
        expose(
            np.ascontiguousarray(light).reshape(len(light), -1),
            self._gain,
            self._photons,
            self._tables,
            self._dark.reshape(-1),
            self._theta.reshape(-1),
            self._subtract,
            self._key,
            self._steps,
            self._charge.reshape(-1),
            spikes.reshape(len(light), -1),
        )
        self._steps += len(light)
        return spikes


def _dark_rates(noise: SensorNoise, size: tuple[int, int], rng: np.random.Generator) -> Float32[np.ndarray, "_ _"]:
    """Every pixel's mean number of dark spikes a step; empty if there are none."""
    if not noise.dark_rate:
        return np.empty((0, 0), np.float32)
    rates = np.full(size, noise.dark_rate, np.float32)
    if noise.dark_variation:
        shape = noise.dark_variation**-2
        rates *= rng.standard_gamma(shape, size, dtype=np.float32) / np.float32(shape)
    return np.minimum(rates, np.float32(1))
