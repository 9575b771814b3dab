"""A spike camera and a blurring camera that look at the same linear light.

Every pixel of the spike camera integrates light and fires when the integral reaches a threshold. The blurring camera
averages the light over its exposure and applies the display gamma. Light is linear, float32, in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

DISPLAY_GAMMA = 2.2
# Weights of R, G, B in grey light, as published with the spike camera simulators.
LUMINANCE_WEIGHTS = (0.30, 0.59, 0.11)

Reset = Literal["subtract", "zero"]


@dataclass(frozen=True)
class SensorNoise:
    """Optional imperfections of the spike camera; zero switches each off.

    Attributes:
        shot_photons: photons a pixel collects in one step at light 1; the light becomes Poisson distributed with that
            scale.
        threshold_variation: standard deviation of the pixels' thresholds, relative to theta; fixed over time.
        dark_rate: mean number of spikes a step that a pixel adds in the dark, by a current of its own.
    """

    shot_photons: float = 0.0
    threshold_variation: float = 0.0
    dark_rate: float = 0.0


class SpikeCamera:
    """A spike camera whose pixels keep their charge between calls, so that a long stream can be made in pieces."""

    def __init__(
        self,
        height: int,
        width: int,
        *,
        rng: np.random.Generator,
        gain: float = 1.0,
        theta: float = 2.0,
        reset: Reset = "subtract",
        noise: SensorNoise | None = None,
    ):
        """Charges every pixel at random, uniformly below its threshold.

        Args:
            height: rows.
            width: columns.
            rng: source of the initial charge and of all noise.
            gain: charge per step at light 1. Beyond theta pixels saturate: one spike a step is the most there can be.
            theta: threshold.
            reset: "subtract" keeps what exceeds the threshold; "zero", a published variant, loses it.
            noise: imperfections; None is the ideal camera.
        """
        if theta <= 0 or gain < 0:
            raise ValueError(f"expected theta > 0 and gain >= 0, found theta {theta}, gain {gain}")
        if reset not in ("subtract", "zero"):
            raise ValueError(f'expected reset "subtract" or "zero", found {reset!r}')
        self._gain = np.float32(gain)
        self._reset = reset
        self._rng = rng
        self._noise = noise or SensorNoise()
        self._theta = np.full((height, width), theta, np.float32)
        if self._noise.threshold_variation:
            # Bounded below: a threshold near zero would be a pixel that never stops firing.
            factor = 1 + self._noise.threshold_variation * rng.standard_normal((height, width), dtype=np.float32)
            self._theta *= np.maximum(factor, np.float32(0.1))
        self._charge = rng.random((height, width), dtype=np.float32) * self._theta

    def expose(self, light: Float32[np.ndarray, "s h w"]) -> UInt8[np.ndarray, "s h w"]:
        """The spikes, 0 or 1, of the steps of linear grey light that follow the ones seen so far."""
        charge, theta = self._charge, self._theta
        spikes = np.empty(light.shape, np.uint8)
        for step, amount in enumerate(self._charge_per_step(light)):
            charge += amount
            fired = charge >= theta
            spikes[step] = fired
            if self._reset == "subtract":
                charge -= theta * fired
                # A saturated pixel must not go on firing long after the light has passed.
                np.minimum(charge, theta, out=charge)
            else:
                charge[fired] = 0
        return spikes

    def _charge_per_step(self, light: Float32[np.ndarray, "s h w"]) -> Float32[np.ndarray, "s h w"]:
        noise = self._noise
        charge = light * self._gain
        if noise.shot_photons:
            photons = self._rng.poisson(np.maximum(light, 0) * noise.shot_photons)
            charge = (photons / noise.shot_photons).astype(np.float32) * self._gain
        if noise.dark_rate:
            # A dark spike is a threshold's worth of charge, arriving at random.
            charge += self._theta * self._rng.poisson(noise.dark_rate, light.shape).astype(np.float32)
        return charge


def simulate_spikes(
    light: Float32[np.ndarray, "s h w"],
    *,
    rng: np.random.Generator,
    gain: float = 1.0,
    theta: float = 2.0,
    reset: Reset = "subtract",
    noise: SensorNoise | None = None,
) -> UInt8[np.ndarray, "s h w"]:
    """The spikes, 0 or 1, that a camera gives for linear grey light; see `SpikeCamera` for the options.

    Without noise and with gain * light <= theta, a pixel under constant light L fires n * gain * L / theta times in n
    steps, within one spike.
    """
    camera = SpikeCamera(*light.shape[1:], rng=rng, gain=gain, theta=theta, reset=reset, noise=noise)
    return camera.expose(light)


def luminance(linear: Float32[np.ndarray, "*shape 3"]) -> Float32[np.ndarray, "*shape"]:
    """Grey light that the spike camera sees: 0.30 R + 0.59 G + 0.11 B of linear light."""
    red, green, blue = LUMINANCE_WEIGHTS
    return linear[..., 0] * np.float32(red) + linear[..., 1] * np.float32(green) + linear[..., 2] * np.float32(blue)


def to_linear(display: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Linear light of display values in [0, 1]."""
    return np.power(display, np.float32(DISPLAY_GAMMA))


def to_display(linear: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Display values in [0, 1] of linear light; what lies outside [0, 1] is clipped, as a sensor would."""
    return np.power(np.clip(linear, 0, 1), np.float32(1 / DISPLAY_GAMMA))


def blur(linear: Float32[np.ndarray, "s h w c"]) -> Float32[np.ndarray, "h w c"]:
    """The blurry picture in [0, 1]: the mean of the linear light over the exposure, then the display gamma."""
    return to_display(linear.mean(axis=0, dtype=np.float32))
