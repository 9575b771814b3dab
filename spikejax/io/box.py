"""A rectangle of a picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A part of a picture: rows [top, top + height), columns [left, left + width).

    Attributes:
        top: first row.
        left: first column.
        height: number of rows.
        width: number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    def __floordiv__(self, ratio: int) -> Box:
        """The same part on a grid `ratio` times coarser."""
        return Box(self.top // ratio, self.left // ratio, self.height // ratio, self.width // ratio)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array with."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
