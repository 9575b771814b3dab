"""What is transparent in pictures: kept beside their colours, which must not hold what nobody is meant to see.

A network works on neighbourhoods. What lies hidden under full transparency, black or garbage mostly, would bleed into
what is seen beside it; so hidden pixels get the colour of the nearest one that is seen.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Num, UInt8

from spikejax.io.pixel_depth import to_float32

_SQUARE = 8  # pixels


def fill_hidden(frame: Num[np.ndarray, "h w 3"], alpha: Num[np.ndarray, "h w"]) -> Num[np.ndarray, "h w 3"]:
    """The frame with the colour of the nearest pixel that is seen wherever nothing is; itself if nothing is hidden."""
    hidden = (alpha == 0).astype(np.uint8)
    if not hidden.any() or hidden.all():
        return frame
    labels = cv2.distanceTransformWithLabels(hidden, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    # Each pixel that is seen has a label of its own, which those that are nearest to it share.
    rows, columns = np.nonzero(hidden == 0)
    colour_of = np.zeros((labels.max() + 1, 3), frame.dtype)
    colour_of[labels[rows, columns]] = frame[rows, columns]
    filled = frame.copy()
    filled[hidden > 0] = colour_of[labels[hidden > 0]]
    return filled


def enlarged_alpha(alpha: Num[np.ndarray, "h w"], height: int, width: int) -> Num[np.ndarray, "h2 w2"]:
    """The transparency of a picture of another size: as it is, or by bicubic interpolation."""
    if alpha.shape == (height, width):
        return alpha
    resized = cv2.resize(alpha.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.rint(np.clip(resized, 0, np.iinfo(alpha.dtype).max)).astype(alpha.dtype)


def with_alpha(frame: Num[np.ndarray, "h w 3"], alpha: Num[np.ndarray, "h0 w0"] | None) -> Num[np.ndarray, "h w c"]:
    """The frame with its transparency, of any size and depth, as a fourth channel; itself if it hides all."""
    if alpha is None or alpha.min() == np.iinfo(alpha.dtype).max:
        return frame
    enlarged = enlarged_alpha(alpha, *frame.shape[:2])
    if frame.dtype != alpha.dtype:
        most = 1.0 if frame.dtype.kind == "f" else float(np.iinfo(frame.dtype).max)
        scaled = enlarged.astype(np.float32) * np.float32(most / np.iinfo(alpha.dtype).max)
        enlarged = (scaled if frame.dtype.kind == "f" else np.rint(scaled)).astype(frame.dtype)
    return np.dstack([frame, enlarged])


def over_checkers(frame: UInt8[np.ndarray, "h w 3"], alpha: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture as programs show it that edit pictures: over light and dark squares where something shows through."""
    rows, columns = np.indices(alpha.shape)
    squares = np.where((rows // _SQUARE + columns // _SQUARE) % 2, 204, 255)[..., np.newaxis].astype(np.float32)
    part = to_float32(alpha)[..., np.newaxis]
    return np.rint(frame * part + squares * (1 - part)).astype(np.uint8)
