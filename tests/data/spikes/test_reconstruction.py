"""Tests of the classical reconstructions."""

import numpy as np
import pytest

from spikejax.data.spikes.reconstruction import tfi, tfp
from spikejax.errors import InputError
from tests.data.simulation.cameras import simulate_spikes

SPIKES = (np.random.default_rng(0).random((30, 5, 6)) < np.linspace(0, 0.6, 6)).astype(np.uint8)


@pytest.mark.parametrize("step", [0, 1, 14, 29])
@pytest.mark.parametrize("half_width", [0, 3, 40])
def test_tfp_equals_the_loop(step: int, half_width: int) -> None:
    """Catches windows that are off by one, or not clipped to the stream."""
    steps = [s for s in range(30) if abs(s - step) <= half_width]
    expected = sum(SPIKES[s].astype(np.float64) for s in steps) / len(steps)
    np.testing.assert_allclose(tfp(SPIKES, step, half_width=half_width), expected, rtol=1e-6)


@pytest.mark.parametrize("step", [0, 1, 14, 29])
@pytest.mark.parametrize("reach", [1, 4, None])
def test_tfi_equals_the_loop(step: int, reach: int | None) -> None:
    """Catches a spike at the step itself taken for the last one, a search that is off by one, and holes left at 0."""
    first, stop = (0, 30) if reach is None else (max(0, step - reach), min(30, step + reach))
    rate = tfi(SPIKES, step, reach=reach)
    assert rate.dtype == np.float32
    for row, column in np.ndindex(5, 6):
        times = [s for s in range(first, stop) if SPIKES[s, row, column]]
        after = [s for s in times if s >= step]
        before = [s for s in times if s < step]
        interval = after[0] - before[-1] if after and before else max(1, stop - 1 - first)
        assert rate[row, column] == pytest.approx(1 / interval, rel=1e-6)


def test_both_see_the_light() -> None:
    """Catches rates that are not proportional to the light: of a still scene, theta times both is the light."""
    light = np.broadcast_to(np.linspace(0.1, 0.9, 24, dtype=np.float32).reshape(4, 6), (400, 4, 6)).copy()
    spikes = simulate_spikes(light, theta=2.0, rng=np.random.default_rng(1))
    np.testing.assert_allclose(2 * tfp(spikes, 200, half_width=199), light[0], atol=2 / 399)
    # An interval is a whole number of steps: the longest or the shortest around theta / light.
    interval = 1 / tfi(spikes, 200)
    assert (np.abs(interval - 2 / light[0]) < 1 + 1e-3).all()


def test_streams_without_texture() -> None:
    """Catches division by zero where nothing, or everything, fires."""
    for length in (1, 2, 9):
        zeros, ones = np.zeros((length, 2, 3), np.uint8), np.ones((length, 2, 3), np.uint8)
        for step in range(length):
            np.testing.assert_array_equal(tfp(zeros, step, half_width=2), 0)
            np.testing.assert_array_equal(tfp(ones, step, half_width=2), 1)
            np.testing.assert_allclose(tfi(zeros, step), 1 / max(1, length - 1))
            np.testing.assert_allclose(tfi(ones, step), 1 / max(1, length - 1) if step == 0 else 1)


def test_bad_steps_are_refused() -> None:
    """Catches steps that numpy would count from the end, and empty searches."""
    for step in (-1, 30):
        with pytest.raises(InputError, match=f"from 0 to 29 .*, found {step}"):
            tfi(SPIKES, step)
        with pytest.raises(InputError, match=f"from 0 to 29 .*, found {step}"):
            tfp(SPIKES, step, half_width=1)
    with pytest.raises(InputError, match="at least 1 step"):
        tfi(SPIKES, 3, reach=0)
    with pytest.raises(InputError, match="half width"):
        tfp(SPIKES, 3, half_width=-1)
