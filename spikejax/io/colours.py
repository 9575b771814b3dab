"""The colours of videos: what their numbers mean, and RGB made of them and back without a change.

A video's planes hold brightness Y and two differences of colour, at a lower resolution mostly. RGB is made by its
matrix (BT.601, BT.709, BT.2020, ...) and range (limited: Y from 16 to 235 of 255; or full), and colour is brought to
the resolution of Y. What is made of RGB again has the same matrix, range and position of colour, so that a picture that
is not changed in between keeps its planes: enlarging (linear) and reducing are each other's inverse, as the two halves
of a biorthogonal wavelet transform (Cohen, Daubechies and Feauveau's 2/2 and 3/1), and RGB has 16 bits. The primaries
and the transfer curve are not applied: they are said in the output as in the input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, Float32, Num, UInt16

from spikejax.io.pixel_formats import PixelFormat, Plane, pixel_format

# FFmpeg's numbers of what a video does not say, of matrices, and of transfer curves of high dynamic range.
UNKNOWN = 2
RGB_MATRIX, BT709, BT601, YCGCO, BT2020 = 0, 1, 6, 8, 9
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
# What red and blue contribute to Y. Matrices that are not linear (BT.2020 of constant luminance, ICtCp) are taken as
# BT.2020's: their planes stay, the RGB between is not exact.
_LUMA = {
    BT709: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), BT601: (0.299, 0.114), 7: (0.212, 0.087),
    BT2020: (0.2627, 0.0593), 10: (0.2627, 0.0593), 12: (0.2627, 0.0593), 13: (0.2627, 0.0593), 14: (0.2627, 0.0593),
}  # fmt: skip
# From this height, or width, on, players take a video that does not say its matrix for BT.709.
_HD_HEIGHT, _HD_WIDTH = 720, 1280
CHROMA_POSITIONS = ("left", "center", "topleft", "top", "bottomleft", "bottom")
_FULL_RANGE = 65535


@dataclass(frozen=True)
class StaticHdr:
    """What a video of high dynamic range says of the display it was made on.

    Attributes:
        display: chromaticities x, y of red, green, blue and white in units of 1/50000, then the most and the least
            luminance in units of 1/10000 cd/m2; None if unknown.
        light: the brightest pixel's and the brightest frame's mean luminance in cd/m2; None if unknown.
    """

    display: tuple[int, ...] | None = None
    light: tuple[int, int] | None = None


@dataclass(frozen=True)
class VideoColours:
    """What a video's numbers mean; whole numbers are FFmpeg's of matrix, primaries and transfer.

    Attributes:
        format: how they are stored.
        matrix: never unknown, see `players_matrix`.
        primaries: as said, maybe unknown.
        transfer: the same.
        full: whether Y spans the whole range of its bits.
        chroma: where colours lie that several pixels share, one of CHROMA_POSITIONS.
        hdr: of the display, if it is said.
    """

    format: PixelFormat
    matrix: int = BT709
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    full: bool = False
    chroma: str = "left"
    hdr: StaticHdr | None = None

    @property
    def hdr_transfer(self) -> str | None:
        """The name of the transfer curve if it is one of high dynamic range."""
        return _HDR_TRANSFERS.get(self.transfer)

    def stored_as(self, name: str) -> VideoColours:
        """The same colours in another pixel format, as far as it can say them."""
        target = pixel_format(name)
        if target.model == "rgb":
            return replace(self, format=target, matrix=RGB_MATRIX, full=True)
        matrix = self.matrix
        if self.format.model == "rgb" and matrix == RGB_MATRIX:
            matrix = BT709
        return replace(self, format=target, matrix=matrix, full=self.full or target.full)


def players_matrix(height: int, width: int) -> int:
    """The matrix that players assume of a video of that size which does not say it."""
    return BT709 if height >= _HD_HEIGHT or width >= _HD_WIDTH else BT601


def to_rgb(planes: list[np.ndarray], colours: VideoColours) -> UInt16[np.ndarray, "h w 3"]:
    """RGB of a video's planes, without the transparency; what lies outside the RGB cube is clipped."""
    held = colours.format
    if held.model == "rgb":
        return _whole(np.stack(planes[:3], axis=-1), held.plane_bits)
    if held.model == "grey":
        grey = _to_unit(planes[0], held.plane_bits, full=colours.full)
        return _sixteen_bits(np.repeat(grey[..., np.newaxis], 3, axis=2))
    if colours.matrix == RGB_MATRIX:
        # Y, U and V of the matrix "RGB" are green, blue and red.
        levels = [_to_unit(planes[index], held.plane_bits, full=colours.full) for index in (2, 0, 1)]
        return _sixteen_bits(cv2.merge(levels))
    luma = _to_unit(planes[0], held.plane_bits, full=colours.full)
    scale, middle = _difference_scale(held.plane_bits, full=colours.full)
    differences = [(plane.astype(np.float32) - middle) / scale for plane in planes[1:3]]
    differences = [_enlarged(plane, luma.shape, colours) for plane in differences]
    rgb = cv2.transform(cv2.merge([luma, *differences]), np.linalg.inv(_matrix(colours.matrix)).astype(np.float32))
    return _sixteen_bits(rgb)


def from_rgb(rgb: Num[np.ndarray, "h w 3"], colours: VideoColours) -> list[np.ndarray]:
    """The planes of RGB of 8 or 16 bits, without the transparency: the inverse of `to_rgb`."""
    held = colours.format
    bits = held.plane_bits
    if held.model == "rgb":
        return [_to_bits(np.ascontiguousarray(rgb[..., index]), bits) for index in range(3)]
    unit = rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    if colours.matrix == RGB_MATRIX:
        return [_from_unit(unit[..., index], bits, full=colours.full) for index in (1, 2, 0)]
    if held.model == "grey":
        weights = _matrix(colours.matrix)[0].astype(np.float32)
        return [_from_unit(cv2.transform(unit, weights[np.newaxis]), bits, full=colours.full)]
    parts = cv2.transform(unit, _matrix(colours.matrix).astype(np.float32))
    scale, middle = _difference_scale(bits, full=colours.full)
    differences = [_reduced(np.ascontiguousarray(parts[..., index]), colours) for index in (1, 2)]
    return [
        _from_unit(parts[..., 0], bits, full=colours.full),
        *(_rounded(plane * scale + middle, bits) for plane in differences),
    ]


def _matrix(matrix: int) -> Float[np.ndarray, "3 3"]:
    """What Y and the two differences, each from -1/2 to 1/2, are of RGB."""
    if matrix == YCGCO:
        return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
    red, blue = _LUMA.get(matrix, _LUMA[BT709])
    luma = np.array([red, 1 - red - blue, blue])
    return np.stack([luma, ([0, 0, 1] - luma) / (2 - 2 * blue), ([1, 0, 0] - luma) / (2 - 2 * red)])


# ---- Ranges and depths ----


def _to_unit(plane: Plane, bits: int, *, full: bool) -> Float32[np.ndarray, "h w"]:
    """Brightness from 0 (black) to 1 (white)."""
    if full:
        return plane.astype(np.float32) / np.float32((1 << bits) - 1)
    unit = 1 << bits - 8
    return (plane.astype(np.float32) - np.float32(16 * unit)) / np.float32(219 * unit)


def _from_unit(values: Float32[np.ndarray, "h w"], bits: int, *, full: bool) -> Plane:
    unit = 1 << bits - 8
    return _rounded(values * np.float32((1 << bits) - 1) if full else values * np.float32(219 * unit) + 16 * unit, bits)


def _difference_scale(bits: int, *, full: bool) -> tuple[np.float32, np.float32]:
    """What a difference of colour from -1/2 to 1/2 is multiplied by, and what is added."""
    return np.float32((1 << bits) - 1 if full else 224 << bits - 8), np.float32(1 << bits - 1)


def _rounded(values: Float32[np.ndarray, "h w"], bits: int) -> Plane:
    return np.rint(np.clip(values, 0, (1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def _sixteen_bits(rgb: Float32[np.ndarray, "h w 3"]) -> UInt16[np.ndarray, "h w 3"]:
    return np.rint(np.clip(rgb, 0, 1) * np.float32(_FULL_RANGE)).astype(np.uint16)


def _whole(values: Num[np.ndarray, "..."], bits: int) -> UInt16[np.ndarray, "..."]:
    """Numbers that span so many bits as numbers that span 16."""
    if bits == 16:
        return values.astype(np.uint16)
    if bits == 8:
        return values.astype(np.uint16) * np.uint16(257)
    return np.rint(values.astype(np.float32) * np.float32(_FULL_RANGE / ((1 << bits) - 1))).astype(np.uint16)


def _to_bits(values: Num[np.ndarray, "h w"], bits: int) -> Plane:
    """Numbers that span their type as numbers that span so many bits."""
    given = np.iinfo(values.dtype).bits
    if given == bits:
        return values
    scale = np.float32(((1 << bits) - 1) / ((1 << given) - 1))
    return _rounded(values.astype(np.float32) * scale, bits)


def alpha_of(planes: list[np.ndarray], held: PixelFormat) -> UInt16[np.ndarray, "h w"] | None:
    """The transparency among a video's planes: 65535 where nothing shows through. None if there is none."""
    return _whole(planes[-1], held.plane_bits) if held.alpha else None


def alpha_plane(alpha: Num[np.ndarray, "h w"], held: PixelFormat) -> Plane:
    """The inverse of `alpha_of`."""
    return _to_bits(alpha, held.plane_bits)


# ---- Colours at the resolution of brightness, and back ----


def _enlarged(
    plane: Float32[np.ndarray, "h w"], size: tuple[int, ...], colours: VideoColours
) -> Float32[np.ndarray, "h2 w2"]:
    across, down = colours.format.shared
    for axis, times, beside, length in _axes(across, down, colours.chroma, size):
        while times > 1:
            times //= 2
            plane = _doubled(plane, axis, beside=beside, length=-(-length // times))
    return plane


def _reduced(plane: Float32[np.ndarray, "h w"], colours: VideoColours) -> Float32[np.ndarray, "h2 w2"]:
    across, down = colours.format.shared
    for axis, times, beside, _ in _axes(across, down, colours.chroma, plane.shape):
        for _ in range(times.bit_length() - 1):
            plane = _halved(plane, axis, beside=beside)
    return plane


def _axes(across: int, down: int, chroma: str, size: tuple[int, ...]) -> list[tuple[int, int, str, int]]:
    """Of rows and columns: axis, pixels that share a colour, whether it lies on the "first", the "last" or between."""
    rows = "first" if chroma.startswith("top") else "last" if chroma.startswith("bottom") else "between"
    columns = "first" if chroma.endswith("left") else "between"
    return [(0, down, rows, size[0]), (1, across, columns, size[1])]


def _doubled(plane: Float32[np.ndarray, "h w"], axis: int, *, beside: str, length: int) -> Float32[np.ndarray, "h2 w2"]:
    """Twice as many rows or columns, `length` of them, by linear interpolation."""
    if beside == "last":
        return np.flip(_doubled_from_first(np.flip(plane, axis), axis, length), axis)
    if beside == "first":
        return _doubled_from_first(plane, axis, length)
    values = np.moveaxis(plane, axis, 0)
    padded = np.concatenate([values[:1], values, values[-1:]])
    result = np.empty((2 * len(values), *values.shape[1:]), np.float32)
    result[0::2] = 0.25 * padded[:-2] + 0.75 * values
    result[1::2] = 0.75 * values + 0.25 * padded[2:]
    return np.ascontiguousarray(np.moveaxis(result[:length], 0, axis))


def _doubled_from_first(plane: Float32[np.ndarray, "h w"], axis: int, length: int) -> Float32[np.ndarray, "h2 w2"]:
    values = np.moveaxis(plane, axis, 0)
    result = np.empty((2 * len(values), *values.shape[1:]), np.float32)
    result[0::2] = values
    result[1::2] = 0.5 * (values + np.concatenate([values[1:], values[-1:]]))
    return np.ascontiguousarray(np.moveaxis(result[:length], 0, axis))


def _halved(plane: Float32[np.ndarray, "h w"], axis: int, *, beside: str) -> Float32[np.ndarray, "h2 w2"]:
    """Half as many rows or columns: the inverse of `_doubled`, which lets through as little of what is finer."""
    if beside == "last":
        return np.flip(_halved(np.flip(plane, axis), axis, beside="first"), axis)
    values = np.moveaxis(plane, axis, 0)
    length = len(values)
    if beside == "first":
        # [-1 2 6 2 -1] / 8 around the even ones, mirrored at the ends.
        padded = values[_mirrored(length, before=2, after=2)]
        even, odd = padded[0::2], padded[1::2]
        count = (length + 1) // 2
        result = 0.75 * even[1 : count + 1] + 0.25 * (odd[:count] + odd[1 : count + 1])
        result -= 0.125 * (even[:count] + even[2 : count + 2])
    else:
        if length % 2:  # the row that was cut off: what interpolation would have made there
            last = 1.5 * values[-1:] - 0.5 * values[-2:-1] if length > 1 else values
            values = np.concatenate([values, last])
        # [-1 3 3 -1] / 4 around each pair; the ends are repeated.
        padded = np.concatenate([values[:1], values, values[-1:]])
        result = 0.75 * (values[0::2] + values[1::2]) - 0.25 * (padded[0:-2:2] + padded[3::2])
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))


def _mirrored(length: int, *, before: int, after: int) -> Num[np.ndarray, " n"]:
    """Indices that go on at both ends as in a mirror through the first and the last one."""
    after += length % 2  # so that there are as many odd ones
    index = np.arange(-before, length + after)
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    index = index % period
    return np.where(index < length, index, period - index)
