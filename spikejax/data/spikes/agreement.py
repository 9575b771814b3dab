"""Whether spikes and pictures show the same: numbers and a picture that show when they do not.

The mean spike rate over an exposure and the blurry picture are the same light, seen by two cameras. Where they belong
together they correlate almost perfectly, and better than the same spikes upside down or those of another exposure.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from spikejax.data.light import luminance, picture_light

# Edges are compared after smoothing, in pixels of the spikes: a rate of few spikes is full of steps.
_SMOOTHING = 1.0


def grey_light(
    picture: UInt8[np.ndarray, "h w 3"], size: tuple[int, int] | None = None
) -> Float32[np.ndarray, "hs ws"]:
    """Linear grey light of an 8-bit picture, at (height, width) `size` if that is given."""
    light = luminance(picture_light(picture))
    if size is None or light.shape == size:
        return light
    return cv2.resize(light, size[::-1], interpolation=cv2.INTER_AREA)


def correlation(first: Float32[np.ndarray, "h w"], second: Float32[np.ndarray, "h w"]) -> float:
    """Pearson's correlation; 0 if one of the two is even."""
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / norm if norm > 0 else 0.0


def better_match(
    light: Float32[np.ndarray, "h w"],
    rate: Float32[np.ndarray, "h w"],
    others: Mapping[str, Float32[np.ndarray, "h w"]],
) -> str:
    """The rate that fits the light better than `rate` does, in words; "" if there is none.

    Args:
        light: of the blurry picture.
        rate: mean spike rate of its exposure.
        others: rates of other exposures, by a name.
    """
    candidates = {
        "upside down": rate[::-1],
        "mirrored": rate[:, ::-1],
        "upside down and mirrored": rate[::-1, ::-1],
        **others,
    }
    correlations = {name: correlation(light, candidate) for name, candidate in candidates.items()}
    best = max(correlations, key=correlations.__getitem__)
    if correlations[best] <= correlation(light, rate):
        return ""
    return f"{best} correlates better: {correlations[best]:.3f}"


def overlay_edges(first: Float32[np.ndarray, "h w"], second: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Edges of the first in red and of the second in cyan: white where they meet, coloured fringes where not."""
    red, cyan = _edges(first), _edges(second)
    return np.rint(np.stack([red, cyan, cyan], axis=-1) * 255).astype(np.uint8)


def _edges(light: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Strength of the gradient, in [0, 1]; in roots of the light, which weigh dark edges as the eye does."""
    smooth = cv2.GaussianBlur(np.sqrt(np.maximum(light, 0)), (0, 0), _SMOOTHING)
    strength = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    strongest = np.float32(np.percentile(strength, 99))
    return np.clip(strength / strongest, 0, 1).astype(np.float32) if strongest > 0 else np.zeros_like(light)
