"""Tests of linear light and display values."""

import numpy as np

from spikejax.data.light import luminance, picture_light, to_display, to_linear


def test_light_of_a_picture_is_the_power_of_its_values() -> None:
    """Catches a table of another gamma or range, and channels that are exchanged."""
    picture = np.arange(3 * 256).reshape(16, 16, 3).astype(np.uint8)
    expected = to_linear(picture.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(picture_light(picture), expected)
    np.testing.assert_allclose(255 * to_display(picture_light(picture)), picture, atol=1e-3)


def test_grey_light_is_the_weighted_sum() -> None:
    """Catches exchanged weights, and an axis of several pictures that is taken for another."""
    linear = np.random.default_rng(0).random((2, 3, 4, 3), np.float32)
    np.testing.assert_allclose(luminance(linear), linear @ np.array([0.30, 0.59, 0.11], np.float32), rtol=1e-6)
