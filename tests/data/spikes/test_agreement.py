"""Tests of telling whether spikes and pictures belong together."""

import numpy as np
import pytest

from spikejax.data.light import luminance, to_display
from spikejax.data.simulation.photographs import load_photograph
from spikejax.data.spikes.agreement import better_match, correlation, grey_light, overlay_edges

LIGHT = luminance(load_photograph("astronaut"))[100:164, 50:146].copy()


def test_light_of_a_picture() -> None:
    """Catches display values taken for light, and pictures that are not brought to the spikes' size by area."""
    picture = np.rint(255 * to_display(np.repeat(LIGHT[..., None], 3, axis=-1))).astype(np.uint8)
    np.testing.assert_allclose(grey_light(picture), LIGHT, atol=0.01)
    halved = LIGHT.reshape(32, 2, 48, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(grey_light(picture, (32, 48)), halved, atol=0.01)


def test_correlation_is_pearsons() -> None:
    """Catches another formula, and even pictures that divide by zero."""
    other = np.random.default_rng(0).random(LIGHT.shape, dtype=np.float32)
    expected = np.corrcoef(LIGHT.ravel(), other.ravel())[0, 1]
    assert correlation(LIGHT, other) == pytest.approx(expected, abs=1e-5)
    assert correlation(LIGHT, np.zeros_like(LIGHT)) == 0.0


def test_what_does_not_fit_is_said() -> None:
    """Catches spikes upside down, mirrored or of another window that pass, and good ones that are suspected."""
    noise = np.random.default_rng(1).normal(0, 0.01, LIGHT.shape).astype(np.float32)
    rate, later = LIGHT / 2 + noise, np.roll(LIGHT, 5, axis=1) / 2 + noise
    assert better_match(LIGHT, rate, {"the window after": later}) == ""
    assert better_match(LIGHT, rate[::-1], {}).startswith("upside down correlates better: 0.9")
    assert better_match(LIGHT, rate[:, ::-1], {}).startswith("mirrored")
    assert better_match(LIGHT, later, {"the window after": rate}).startswith("the window after")


def test_edges_meet_only_where_aligned() -> None:
    """Catches an overlay that looks the same whether or not the two are aligned."""
    aligned = overlay_edges(LIGHT, LIGHT / 3).astype(int)
    assert np.abs(aligned[..., 0] - aligned[..., 1]).max() <= 1 and aligned.max() == 255
    shifted = overlay_edges(LIGHT, np.roll(LIGHT, 4, axis=1)).astype(int)
    assert np.abs(shifted[..., 0] - shifted[..., 1]).mean() > 20
    assert overlay_edges(np.ones((4, 5), np.float32), LIGHT[:4, :5])[..., 0].max() == 0
