"""A spike camera and a blurring camera for tests, in one call each."""

import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.light import to_display
from spikejax.data.simulation.camera_settings import Reset, SensorNoise
from spikejax.data.simulation.spike_camera import SpikeCamera


def simulate_spikes(
    light: Float32[np.ndarray, "s h w"],
    *,
    rng: np.random.Generator,
    gain: float = 1.0,
    theta: float = 2.0,
    reset: Reset = "subtract",
    phase: float | None = None,
    noise: SensorNoise | None = None,
) -> UInt8[np.ndarray, "s h w"]:
    """The spikes, 0 or 1, that a camera gives for linear grey light; see `SpikeCamera` for the options.

    Without noise and with gain * light <= theta, a pixel under constant light L fires n * gain * L / theta times in n
    steps, within one spike.
    """
    camera = SpikeCamera(*light.shape[1:], rng=rng, gain=gain, theta=theta, reset=reset, phase=phase, noise=noise)
    return camera.expose(light)


def blur(linear: Float32[np.ndarray, "s h w c"]) -> Float32[np.ndarray, "h w c"]:
    """The blurry picture in [0, 1]: the mean of the linear light over the exposure, then the display gamma."""
    return to_display(linear.mean(axis=0, dtype=np.float32))
