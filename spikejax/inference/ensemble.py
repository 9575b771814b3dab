"""Test-time ensemble: the mean of the network's answers to a clip and to its mirrored and turned copies.

References:
    Timofte et al., Seven ways to improve example-based single image super resolution, 2016 (self-ensemble).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Num

from spikejax.errors import InputError


@dataclass(frozen=True)
class Variant:
    """A mirrored or turned copy.

    Attributes:
        upside_down: rows are reversed.
        mirrored: columns are reversed.
        swapped: rows and columns are exchanged, after that.
    """

    upside_down: bool = False
    mirrored: bool = False
    swapped: bool = False

    def apply(self, values: Num[np.ndarray, "t h w c"]) -> Num[np.ndarray, "t h2 w2 c"]:
        """The copy, as a view."""
        values = values[:, :: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return values.swapaxes(1, 2) if self.swapped else values

    def undo(self, values: Num[np.ndarray, "t h w c"]) -> Num[np.ndarray, "t h2 w2 c"]:
        """What `apply` was given, as a view."""
        values = values.swapaxes(1, 2) if self.swapped else values
        return values[:, :: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


PLAIN = Variant()
_FLIPS = tuple(Variant(*flips) for flips in product((False, True), repeat=2))
ENSEMBLES = {
    "none": (PLAIN,),
    "flips": _FLIPS,
    "turns": (*_FLIPS, *(Variant(flip.upside_down, flip.mirrored, swapped=True) for flip in _FLIPS)),
}


def choose_variants(ensemble: str) -> tuple[Variant, ...]:
    """The copies of an ensemble: "none" (1), "flips" (4) or "turns" (8, quarter turns as well)."""
    if ensemble not in ENSEMBLES:
        raise InputError(f"expected an ensemble ({', '.join(ENSEMBLES)}), found {ensemble!r}")
    return ENSEMBLES[ensemble]
