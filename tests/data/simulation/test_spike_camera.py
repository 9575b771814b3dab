"""Tests of the spike camera and the light it sees."""

import math

import numpy as np
import pytest

from spikejax.data.light import luminance, to_display, to_linear
from spikejax.data.simulation.camera_settings import SensorNoise
from spikejax.data.simulation.spike_camera import SpikeCamera
from spikejax.errors import InputError
from tests.data.simulation.cameras import blur, simulate_spikes


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


ALL_NOISE = SensorNoise(shot_photons=30.0, threshold_variation=0.05, dark_rate=0.01, dark_variation=0.5)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_noise_does_not_depend_on_the_pieces(reset: str) -> None:
    """Catches noise drawn in the order of calls: a stream made in pieces would be another one."""
    light = rng(3).random((70, 61, 50)).astype(np.float32)  # more pixels than are worked on at once
    whole = simulate_spikes(light, noise=ALL_NOISE, reset=reset, rng=rng(4))  # type: ignore[arg-type]
    camera = SpikeCamera(61, 50, noise=ALL_NOISE, reset=reset, rng=rng(4))  # type: ignore[arg-type]
    pieces = [camera.expose(piece) for piece in np.split(light, [1, 20, 21, 64])]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    assert not np.array_equal(simulate_spikes(light, noise=ALL_NOISE, rng=rng(5)), whole)


@pytest.mark.parametrize("photons", [0.5, 20.0, 3000.0])
@pytest.mark.parametrize("light", [0.003, 0.37, 1.0])
def test_photons_are_poisson_distributed(photons: float, light: float) -> None:
    """Catches tables, or their borders, that give another distribution than Poisson's, and noise shared by pixels.

    A step's photons are read off the charge: with a threshold out of reach nothing fires, and with gain = photons a
    photon is a charge of 1.
    """
    camera = SpikeCamera(
        200, 250, theta=1e7, gain=photons, phase=0.0, noise=SensorNoise(shot_photons=photons), rng=rng(6)
    )
    camera.expose(np.full((2, 200, 250), light, np.float32))
    counts = camera._charge.astype(np.float64).ravel()
    np.testing.assert_allclose(counts, np.rint(counts), atol=0.01)
    mean = 2 * photons * light
    # Five standard errors of 50,000 samples.
    assert abs(counts.mean() - mean) < 5 * (mean / 50_000) ** 0.5
    assert abs(counts.var() / mean - 1) < 5 * ((2 + 1 / mean) / 50_000) ** 0.5
    for outcome in np.unique(np.rint([mean - mean**0.5, mean, mean + 2 * mean**0.5])):
        if outcome >= 0:
            share = math.exp(outcome * math.log(mean) - mean - math.lgamma(outcome + 1))
            assert abs((np.rint(counts) == outcome).mean() - share) < 5 * (share / 50_000) ** 0.5
    pixels = counts.reshape(200, 250) - mean
    assert abs((pixels[:, 1:] * pixels[:, :-1]).mean()) < 5 * mean / 50_000**0.5


def test_intervals_under_shot_noise() -> None:
    """Catches noise that does not add up over time: the sum of steps of an interval must vary as theory says.

    A pixel waits for theta / gain of light, which is N photons; these take N / (photons * light) steps, with the
    variance of a gamma distribution, N / (photons * light)^2. Whole steps add 1/12 at the interval's both ends.
    """
    light, photons, theta = 0.5, 40.0, 20.0
    noise = SensorNoise(shot_photons=photons)
    spikes = simulate_spikes(np.full((8000, 8, 8), light, np.float32), theta=theta, noise=noise, rng=rng(7))
    intervals = np.concatenate([np.diff(np.flatnonzero(pixel)) for pixel in spikes.reshape(8000, -1).T])
    assert len(intervals) > 10_000
    assert intervals.mean() == pytest.approx(theta / light, rel=2e-3)
    assert intervals.var() == pytest.approx(theta * photons / (photons * light) ** 2 + 1 / 6, rel=0.05)


def test_dark_spikes_and_their_spread() -> None:
    """Catches a dark rate of another size, the same pixels for ever, and hot pixels that are not there."""
    still = np.zeros((4000, 30, 30), np.float32)
    even = simulate_spikes(still, noise=SensorNoise(dark_rate=0.02), rng=rng(8)).sum(axis=0, dtype=np.float64)
    assert even.mean() == pytest.approx(80, rel=0.02)
    assert even.var() == pytest.approx(80, rel=0.2)  # spikes that come at random
    spread = SensorNoise(dark_rate=0.02, dark_variation=1.0)
    uneven = simulate_spikes(still, noise=spread, rng=rng(8)).sum(axis=0, dtype=np.float64)
    assert uneven.mean() == pytest.approx(80, rel=0.1)
    assert uneven.std() == pytest.approx((80**2 + 80) ** 0.5, rel=0.15)


def test_thresholds_spread() -> None:
    """Catches thresholds that change over time, or vary by another amount: rates go as their inverse."""
    light = np.full((3000, 40, 40), 0.5, np.float32)
    spikes = simulate_spikes(light, noise=SensorNoise(threshold_variation=0.08), rng=rng(9))
    first, second = (half.mean(axis=0) for half in np.split(spikes, 2))
    np.testing.assert_allclose(first, second, atol=1.01 / 1500)
    theta = 0.5 / spikes.mean(axis=0)
    assert theta.mean() == pytest.approx(2, rel=0.01)
    assert theta.std() == pytest.approx(0.16, rel=0.1)


def test_phase_and_light_that_cannot_be() -> None:
    """Catches a phase that is ignored, light of another size, and light that would index past the tables."""
    light = np.full((8, 2, 2), 0.5, np.float32)
    spikes = simulate_spikes(light, phase=0.25, rng=rng())
    np.testing.assert_array_equal(spikes[:, 0, 0], [0, 0, 1, 0, 0, 0, 1, 0])
    noise = SensorNoise(shot_photons=5.0)
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match="finite light"):
            simulate_spikes(np.full((1, 2, 2), wrong, np.float32), noise=noise, rng=rng())
    with pytest.raises(ValueError, match="finite light of"):
        SpikeCamera(3, 2, rng=rng()).expose(light)
    # Below 0 it is dark; above 1 brighter still.
    assert simulate_spikes(-light, noise=noise, rng=rng()).sum() == 0
    bright = np.full((200, 9, 9), 1.5, np.float32)
    assert simulate_spikes(bright, noise=SensorNoise(shot_photons=50.0), rng=rng()).mean() == pytest.approx(0.75, 0.01)
    for settings in (dict(shot_photons=-1.0), dict(dark_rate=1.0), dict(threshold_variation=2.0)):
        with pytest.raises(InputError, match="expected"):
            SensorNoise(**settings)
