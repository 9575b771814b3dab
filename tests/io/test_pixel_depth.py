"""Conversions between depths."""

import numpy as np
import pytest

from spikejax.io.pixel_depth import to_depth, to_float32, to_uint8


def test_eight_bits_of_every_depth() -> None:
    """Catches a level that is rounded down, clipped too early, or of another range: white must be white."""
    levels = np.arange(256, dtype=np.uint8)
    assert to_uint8(levels) is levels
    np.testing.assert_array_equal(to_uint8(levels.astype(np.uint16) * 257), levels)
    for offset in (-128, 128):  # as far as a level of 16 bits may lie from one of 8
        deep = np.clip(levels.astype(int) * 257 + offset, 0, 65535).astype(np.uint16)
        np.testing.assert_array_equal(to_uint8(deep), levels)
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(to_uint8(levels.astype(dtype) / 255), levels)
    np.testing.assert_array_equal(
        to_uint8(np.array([-0.5, 1.5, 0.4999 / 255, 0.5001 / 255], np.float32)), [0, 255, 0, 1]
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_there_and_back(dtype: type) -> None:
    """Catches a depth that does not survive the way through float32."""
    levels = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    floats = to_float32(levels)
    assert (floats.dtype, floats.min(), floats.max()) == (np.float32, 0, 1)
    np.testing.assert_array_equal(to_depth(floats, np.dtype(dtype)), levels)


def test_floats_stay() -> None:
    """Catches a float picture that is clipped, which super-resolution and later passes need as it is."""
    picture = np.array([-0.25, 1.25], np.float32)
    assert to_float32(picture) is picture
    assert to_depth(picture, np.dtype(np.float32)) is picture
