"""Fallen leaves: pictures of shapes of all sizes that cover each other, with the edges and contrasts of photographs.

The sizes of what is seen in photographs follow a power law: they look alike at whatever scale. Shapes of radius r that
fall one on the other with a density of 1 / r^3 give the same, and there is no end of them. Their colours, and the
textures of some, are of photographs all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

# Pixels of a picture, and of its shapes: from what shrinking just leaves over to a third of the picture.
_SIDE = 512
_SMALLEST, _LARGEST = 3.0, 170.0
# So many cover about two thirds of the ground, small and large.
_COUNT = 2500
_TEXTURED_SHARE = 0.5
# Fewest corners of a shape; with more than the limit it is an ellipse.
_CORNERS, _ROUND = 3, 8
# Of a plain shape: how much brighter it is at one side than at the other, as light from the side makes things.
_SHADING = 0.3


def fall_leaves(
    photographs: Sequence[Float32[np.ndarray, "_ _ 3"]], rng: np.random.Generator
) -> Float32[np.ndarray, "side side 3"]:
    """A picture of shapes, linear light.

    Args:
        photographs: linear light, of which colours and textures are taken.
        rng: source of randomness.
    """
    picture = _plain(_SIDE, _SIDE, photographs[int(rng.integers(len(photographs)))], rng)
    # The inverse of the distribution function of a density of 1 / r^3 between the two radii.
    shares = rng.uniform(0, 1, _COUNT)
    radii = (_SMALLEST**-2 - shares * (_SMALLEST**-2 - _LARGEST**-2)) ** -0.5
    # The largest fall first, else one of them would hide most of the others.
    for radius in sorted(radii, reverse=True):
        _drop(picture, float(radius), photographs[int(rng.integers(len(photographs)))], rng)
    return picture


def _drop(
    picture: Float32[np.ndarray, "h w 3"],
    radius: float,
    photograph: Float32[np.ndarray, "_ _ 3"],
    rng: np.random.Generator,
) -> None:
    """Draws a shape, in place."""
    centre = rng.uniform(0, _SIDE, 2)
    left, top = np.maximum(np.floor(centre - radius).astype(int), 0)
    right, bottom = np.minimum(np.ceil(centre + radius).astype(int) + 1, _SIDE)
    height, width = int(bottom - top), int(right - left)
    covered = _outline(height, width, centre - (left, top), radius, rng)
    if rng.uniform() < _TEXTURED_SHARE and min(photograph.shape[:2]) > max(height, width):
        row = rng.integers(photograph.shape[0] - height)
        column = rng.integers(photograph.shape[1] - width)
        filling = photograph[row : row + height, column : column + width]
    else:
        filling = _plain(height, width, photograph, rng)
    cv2.copyTo(np.ascontiguousarray(filling), covered, picture[top:bottom, left:right])


def _outline(
    height: int, width: int, centre: np.ndarray, radius: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "height width"]:
    """255 where the shape is: an ellipse or a polygon of so many corners, within the radius."""
    covered = np.zeros((height, width), np.uint8)
    corners = int(rng.integers(_CORNERS, _ROUND + 2))
    if corners > _ROUND:
        axes = (radius, radius * rng.uniform(0.3, 1))
        cv2.ellipse(covered, (tuple(centre), tuple(2 * side for side in axes), rng.uniform(0, 180)), 255, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cv2.fillPoly(covered, [np.rint(points).astype(np.int32)], 255)
    return covered


def _plain(
    height: int, width: int, photograph: Float32[np.ndarray, "_ _ 3"], rng: np.random.Generator
) -> Float32[np.ndarray, "height width 3"]:
    """One of the photograph's colours, lit from a side."""
    colour = photograph[rng.integers(photograph.shape[0]), rng.integers(photograph.shape[1])]
    across, along = rng.uniform(-_SHADING, _SHADING, 2) / 2
    light = 1 + along * np.linspace(-1, 1, height)[:, None] + across * np.linspace(-1, 1, width)
    return np.minimum(light[..., None] * colour, 1).astype(np.float32)
