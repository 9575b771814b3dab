"""Tests of the spike camera and the light it sees."""

import numpy as np
import pytest

from spikejax.data.simulator import (
    SensorNoise,
    SpikeCamera,
    blur,
    luminance,
    simulate_spikes,
    to_display,
    to_linear,
)


def rng(seed: int = 0) -> np.random.Generator:
    """A generator of its own for every test."""
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("gain", "theta"), [(1.0, 2.0), (1.0, 1.0), (0.7, 3.0)])
def test_rate_is_proportional_to_light(gain: float, theta: float) -> None:
    """Catches a camera that loses or invents light: a pixel fires n * gain * L / theta times, within one spike."""
    light = np.broadcast_to(np.linspace(0, 1, 40 * 40, dtype=np.float32).reshape(40, 40), (500, 40, 40)).copy()
    spikes = simulate_spikes(light, gain=gain, theta=theta, rng=rng())
    assert set(np.unique(spikes)) == {0, 1}
    expected = 500 * gain * light[0].astype(np.float64) / theta
    assert np.abs(spikes.sum(axis=0) - expected).max() <= 1 + 1e-3
    # The initial charge is uniform, so the error has no bias either.
    assert abs((spikes.sum(axis=0) - expected).mean()) < 0.05


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_equals_the_loop_over_pixels(reset: str) -> None:
    """Catches vectorisation that mixes pixels, and a reset that is not the one asked for."""
    light = rng(1).random((200, 3, 4)).astype(np.float32)
    spikes = simulate_spikes(light, theta=1.3, reset=reset, rng=rng(2))  # type: ignore[arg-type]
    charge = rng(2).random((3, 4), dtype=np.float32) * np.float32(1.3)
    for row in range(3):
        for column in range(4):
            integral = charge[row, column]
            for step in range(200):
                integral += light[step, row, column]
                fires = integral >= np.float32(1.3)
                assert spikes[step, row, column] == fires
                if fires:
                    integral = integral - np.float32(1.3) if reset == "subtract" else np.float32(0)


def test_pieces_make_the_same_stream() -> None:
    """Catches charge that is lost between exposures: windows would begin with a gap."""
    light = rng(3).random((90, 5, 6)).astype(np.float32)
    camera = SpikeCamera(5, 6, rng=rng(4))
    pieces = np.concatenate([camera.expose(light[:17]), camera.expose(light[17:60]), camera.expose(light[60:])])
    np.testing.assert_array_equal(pieces, simulate_spikes(light, rng=rng(4)))


def test_saturation_does_not_linger() -> None:
    """Catches a bright flash that keeps a pixel firing long after it has gone."""
    light = np.concatenate([np.full((50, 2, 2), 5), np.zeros((50, 2, 2))]).astype(np.float32)
    spikes = simulate_spikes(light, theta=1.0, rng=rng())
    assert (spikes[1:50] == 1).all() and spikes[52:].sum() == 0


def test_noise_is_seeded_and_of_the_right_size() -> None:
    """Catches noise that ignores the generator, shifts the rate, or is not there."""
    light = np.full((400, 30, 30), 0.5, np.float32)
    quiet = simulate_spikes(light, rng=rng()).mean()
    shot = SensorNoise(shot_photons=20.0)
    np.testing.assert_array_equal(
        simulate_spikes(light, noise=shot, rng=rng(5)), simulate_spikes(light, noise=shot, rng=rng(5))
    )
    noisy = simulate_spikes(light, noise=shot, rng=rng(5))
    assert abs(noisy.mean() - quiet) < 0.002
    # Poisson counts of 20 photons a step at light 1: variance of the number of spikes = 400 * 0.5 / 20 / theta^2 = 2.5.
    assert noisy.sum(axis=0, dtype=np.float64).var() == pytest.approx(2.5, rel=0.2)
    dark = simulate_spikes(np.zeros_like(light), noise=SensorNoise(dark_rate=0.01), rng=rng(6))
    assert dark.mean() == pytest.approx(0.01, rel=0.1)
    varied = simulate_spikes(light, noise=SensorNoise(threshold_variation=0.1), rng=rng(7)).mean(axis=0)
    assert varied.std() / varied.mean() == pytest.approx(0.1, rel=0.2)


def test_bad_settings_are_refused() -> None:
    """Catches thresholds that would fire for ever and a mistyped reset that would silently be another one."""
    light = np.zeros((1, 2, 2), np.float32)
    for wrong in ({"theta": 0.0}, {"gain": -1.0}, {"reset": "Zero"}):
        with pytest.raises((ValueError, TypeError)):
            SpikeCamera(2, 2, rng=rng(), **wrong).expose(light)


def test_light_and_display() -> None:
    """Catches another gamma, other weights of the colours, and a blur that averages display values."""
    linear = rng(8).random((6, 4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(to_display(linear), linear.astype(np.float64) ** (1 / 2.2), rtol=1e-5)
    np.testing.assert_allclose(to_linear(to_display(linear)), linear, atol=1e-6)
    np.testing.assert_array_equal(to_display(np.array([-1, 2], np.float32)), [0, 1])
    np.testing.assert_allclose(luminance(linear), linear @ np.array([0.30, 0.59, 0.11], np.float32), rtol=1e-5)
    np.testing.assert_allclose(blur(linear), linear.astype(np.float64).mean(axis=0) ** (1 / 2.2), rtol=1e-5)
