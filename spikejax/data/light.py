"""Linear light and display values: the display gamma, and the grey light that a spike camera sees.

Light is linear, float32, in [0, 1]; so are display values.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

DISPLAY_GAMMA = 2.2
# Weights of R, G, B in grey light, as published with the spike camera simulators.
LUMINANCE_WEIGHTS = (0.30, 0.59, 0.11)


def luminance(linear: Float32[np.ndarray, "*shape w 3"]) -> Float32[np.ndarray, "*shape w"]:
    """Grey light that the spike camera sees: 0.30 R + 0.59 G + 0.11 B of linear light."""
    rows = linear.reshape(-1, linear.shape[-2], 3)
    # Nine times as fast as numpy, which works badly along an axis of length 3.
    return cv2.transform(rows, np.array([LUMINANCE_WEIGHTS], np.float32)).reshape(linear.shape[:-1])


def to_linear(display: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Linear light of display values in [0, 1]."""
    return np.power(display, np.float32(DISPLAY_GAMMA))


# One power for each value that 8 bits have, and not for each pixel: a fifth of the time.
_LIGHT_OF_8_BITS = to_linear(np.arange(256, dtype=np.float32) / np.float32(255))


def picture_light(picture: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """Linear light of an 8-bit picture."""
    return cv2.LUT(picture, _LIGHT_OF_8_BITS)


def to_display(linear: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Display values in [0, 1] of linear light; what lies outside [0, 1] is clipped, as a sensor would."""
    return np.power(np.clip(linear, 0, 1), np.float32(1 / DISPLAY_GAMMA))
