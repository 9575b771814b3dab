"""Pictures and clips of one depth as those of another: the only place where one becomes the other.

Whole numbers span the range of their type; floats span [0, 1], and what lies outside is clipped where it becomes a
whole number.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Num, UInt8


def to_float32(picture: Num[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """A picture of whole numbers in [0, 1]; one of float32 stays as it is."""
    if picture.dtype == np.float32:
        return picture
    return picture.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def to_depth(picture: Float[np.ndarray, "*shape"], dtype: np.dtype) -> Num[np.ndarray, "*shape"]:
    """A picture of floats as whole numbers, rounded and clipped; for a type of floats it stays as it is."""
    if not np.issubdtype(dtype, np.integer):
        return picture
    return np.rint(np.clip(picture, 0.0, 1.0) * np.float32(np.iinfo(dtype).max)).astype(dtype)


def to_uint8(picture: Num[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """A picture of any depth as 8 bits, rounded."""
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype == np.uint16:
        return np.rint(picture / 257).astype(np.uint8)  # 65535 = 257 * 255
    return to_depth(picture, np.dtype(np.uint8))
