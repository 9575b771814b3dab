"""What the simulated cameras can be set to; apart from the cameras, so that a command's help needs no compiler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from spikejax.errors import InputError

Reset = Literal["subtract", "zero"]
# Photons in a step up to which shot noise is drawn from tables.
LARGEST_MEAN = 100_000.0


@dataclass(frozen=True)
class SensorNoise:
    """Optional imperfections of the spike camera; zero switches each off.

    Attributes:
        shot_photons: photons a pixel collects in one step at light 1; the light becomes Poisson distributed with that
            scale. At most 100,000.
        threshold_variation: standard deviation of the pixels' thresholds, relative to theta; fixed over time.
        dark_rate: mean number of spikes a step that a pixel adds in the dark, by a current of its own; below 1.
        dark_variation: standard deviation of the pixels' dark rates, relative to their mean; fixed over time. Rates are
            gamma distributed: most pixels are near the mean, a few are far above it.
    """

    shot_photons: float = 0.0
    threshold_variation: float = 0.0
    dark_rate: float = 0.0
    dark_variation: float = 0.0

    def __post_init__(self) -> None:
        """Raises `InputError` for values without a meaning."""
        for name, fits, expected in (
            ("shot_photons", 0 <= self.shot_photons <= LARGEST_MEAN, f"0 to {LARGEST_MEAN:,.0f} photons"),
            ("threshold_variation", 0 <= self.threshold_variation < 1, "a variation from 0 to below 1"),
            ("dark_rate", 0 <= self.dark_rate < 1, "spikes a step from 0 to below 1"),
            ("dark_variation", 0 <= self.dark_variation < math.inf, "a variation from 0"),
        ):
            if not fits:
                raise InputError(f"{name}: expected {expected}, found {getattr(self, name)}")


@dataclass(frozen=True)
class CameraSettings:
    """How light becomes a blurry picture and spikes.

    Attributes:
        steps_per_frame: steps of the spike camera in one exposure; the exposures follow each other without a gap.
        gain: charge per step at light 1.
        theta: threshold. At 1 a white pixel fires at every step and photographs fire at about a quarter of them, the
            rate of real streams (0.29 in the one the tests hold); the published simulators' 2 halves it.
        reset: what firing does to the charge, see `SpikeCamera`.
        spike_scale: pictures are this many times as high and wide as the spikes.
        noise: imperfections of the spike camera.
    """

    steps_per_frame: int = 64
    gain: float = 1.0
    theta: float = 1.0
    reset: Reset = "subtract"
    spike_scale: int = 1
    noise: SensorNoise = SensorNoise()

    def __post_init__(self) -> None:
        """Raises `InputError` for values without a meaning."""
        if self.steps_per_frame < 1 or self.spike_scale < 1:
            raise InputError(
                "expected at least 1 step per frame and a spike scale of at least 1, "
                f"found {self.steps_per_frame} and {self.spike_scale}"
            )
        if not 0 < self.gain <= self.theta:
            raise InputError(
                f"expected 0 < gain <= theta (else bright pixels saturate), found {self.gain} and {self.theta}"
            )
