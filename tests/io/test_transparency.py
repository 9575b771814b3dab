"""What is transparent in pictures."""

import numpy as np
import pytest

from spikejax.io.transparency import enlarged_alpha, fill_hidden, over_checkers, with_alpha


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_hidden_colour_does_not_reach_what_is_seen(dtype: type) -> None:
    """Catches garbage under full transparency that a network, or colours at half resolution, smear into the picture."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, np.iinfo(dtype).max, (20, 30, 3)).astype(dtype)
    alpha = np.full((20, 30), np.iinfo(dtype).max, dtype)
    alpha[5:15, 10:20] = 0
    alpha[0, 0] = 1  # nearly transparent is seen
    filled = fill_hidden(frame, alpha)
    np.testing.assert_array_equal(filled[alpha > 0], frame[alpha > 0])
    np.testing.assert_array_equal(filled[10, 10], frame[10, 9])
    np.testing.assert_array_equal(filled[5, 14], frame[4, 14])
    inside = {tuple(colour) for colour in filled[alpha == 0].tolist()}
    assert inside <= {tuple(colour) for colour in frame[alpha > 0].tolist()}


def test_nothing_to_fill() -> None:
    """Catches a copy of every frame, and a picture that is transparent all over, which has no colour to take."""
    frame = np.zeros((4, 4, 3), np.uint8)
    assert fill_hidden(frame, np.full((4, 4), 255, np.uint8)) is frame
    assert fill_hidden(frame, np.zeros((4, 4), np.uint8)) is frame


def test_transparency_follows_the_frame() -> None:
    """Catches transparency of another size or depth than the frame's, and a fourth channel that says nothing."""
    alpha = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)
    np.testing.assert_array_equal(enlarged_alpha(alpha, 6, 8), alpha)
    large = enlarged_alpha(alpha, 12, 16)
    assert large.shape == (12, 16)
    assert abs(large.mean() - alpha.mean()) < 400
    assert large.max() > 60000
    painted = with_alpha(np.zeros((12, 16, 3), np.uint8), alpha)
    assert painted.shape == (12, 16, 4) and painted.dtype == np.uint8
    np.testing.assert_allclose(painted[..., 3] * 257.0, large, atol=129)
    opaque = np.full((6, 8), 65535, np.uint16)
    frame = np.zeros((12, 16, 3), np.uint8)
    assert with_alpha(frame, opaque) is frame
    assert with_alpha(frame, None) is frame


def test_what_is_hidden_is_not_shown() -> None:
    """Catches a report that shows what lies under transparency, and a part of it that hides too much or too little."""
    frame, alpha = np.full((16, 16, 3), 100, np.uint8), np.zeros((16, 16), np.uint8)
    alpha[:, 4:8], alpha[:, 8:] = 128, 255
    shown = over_checkers(frame, alpha)
    assert shown[0, 0, 0] == 255 and shown[8, 0, 0] == 204 and np.all(shown[:, 8:] == 100)
    assert abs(int(shown[0, 5, 0]) - 177) <= 1
