"""Tests of drawing rows of pictures."""

import numpy as np

from spikejax.reports.contact_sheet import SheetRow, draw_sheet


def test_sheets_keep_pixels_and_warn() -> None:
    """Catches labels over the pictures, smoothed enlargements, and warnings that are not drawn."""
    small = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)
    drawn = draw_sheet([SheetRow("title", {"a": small, "b": small})], panel_width=20)
    assert (drawn == (255, 0, 0)).all(axis=-1).sum() == (drawn == (0, 255, 0)).all(axis=-1).sum() == 200
    wide = np.zeros((4, 300, 3), np.uint8)
    plain, warned = (draw_sheet([SheetRow("title", {"a": wide}, warning)]) for warning in ("", "look"))
    assert not np.array_equal(plain, warned)
