"""What FFmpeg's pixel formats hold, and pictures in any of them as planes of whole numbers, and back.

FFmpeg has more than 200 formats, of which most pack the same numbers otherwise: nv12 is yuv420p with its two planes of
colour in one. Each is brought into the planar format that holds its numbers as they are, and only those are read here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from jaxtyping import Num

from spikejax.errors import InputError

Plane = Num[np.ndarray, "h w"]

# Depths that FFmpeg's planar formats come in, least first; other depths are held by the next.
_YUV_BITS = {"420": (8, 9, 10, 12, 14, 16), "422": (8, 9, 10, 12, 14, 16), "444": (8, 9, 10, 12, 14, 16),
             "440": (8, 10, 12), "411": (8,), "410": (8,)}  # fmt: skip
_YUVA_BITS = {"420": (8, 9, 10, 16), "422": (8, 9, 10, 12, 16), "444": (8, 9, 10, 12, 16)}
_RGB_BITS, _RGBA_BITS = (8, 9, 10, 12, 14, 16), (8, 10, 12, 14, 16)
_GREY_BITS = (8, 9, 10, 12, 14, 16)
# Planes of floats, which span [0, 1]; what lies outside is clipped.
_FLOATS = re.compile(r"(gray|gbrp|gbrap)f(16|32)(le|be)")
# In slices, by several threads, FFmpeg spoils 8 values of p010 in one of a thousand pictures.
_THREADS = 1
# How many columns and rows share a value of colour.
_SHARED = {(2, 2): "420", (2, 1): "422", (1, 1): "444", (1, 2): "440", (4, 1): "411", (4, 4): "410"}


@dataclass(frozen=True)
class PixelFormat:
    """What a pixel format of FFmpeg holds.

    Attributes:
        name: FFmpeg's.
        model: "yuv", "rgb" or "grey".
        bits: of a number, the most that any of them has.
        alpha: whether transparency is among the planes.
        shared: columns and rows that share a value of colour; (1, 1) but for some of the model "yuv".
        full: whether its name says that the numbers span their whole range, as those of yuvj420p do.
    """

    name: str
    model: str
    bits: int
    alpha: bool
    shared: tuple[int, int] = (1, 1)
    full: bool = False

    @functools.cached_property
    def planar(self) -> str:
        """The planar format of this machine's byte order that holds the same numbers."""
        if self.model == "grey":
            return _named("gray", self.bits, _GREY_BITS)  # transparency beside grey exists only packed
        if self.model == "rgb":
            return _named("gbrap" if self.alpha else "gbrp", self.bits, _RGBA_BITS if self.alpha else _RGB_BITS)
        subsampling = _SHARED[self.shared]
        table = _YUVA_BITS if self.alpha else _YUV_BITS
        return _named(f"yuv{'a' * self.alpha}{subsampling}p", self.bits, table[subsampling])

    @functools.cached_property
    def plane_bits(self) -> int:
        """The depth of the planes of `planar`."""
        return max(component.bits for component in av.VideoFormat(self.planar, 16, 16).components)


def _named(stem: str, bits: int, known: tuple[int, ...]) -> str:
    depth = next((depth for depth in known if depth >= bits), None)
    if depth is None:
        raise InputError(f"expected at most {known[-1]} bits a number, found {bits}: {stem}")
    return stem if depth == 8 else f"{stem}{depth}le"


@functools.cache
def pixel_format(name: str) -> PixelFormat:
    """What FFmpeg's pixel format of that name holds.

    Raises:
        InputError: it has none of the models, as the frames of a graphics card have.
    """
    known = av.VideoFormat(name, 64, 64)
    parts = known.components
    if not parts or not known.bits_per_pixel:
        raise InputError(f"expected frames in memory, found the pixel format {name}")
    bits = max(part.bits for part in parts)
    alpha = known.has_palette or any(part.is_alpha for part in parts)
    if known.is_bayer:
        return PixelFormat(name, "rgb", 8 if bits <= 8 else 16, alpha=False)
    bits = 16 if "f16" in name or "f32" in name else bits
    colours = len(parts) - any(part.is_alpha for part in parts)
    if known.is_rgb or known.has_palette or name.startswith("xyz"):
        return PixelFormat(name, "rgb", bits, alpha)
    if colours == 1:
        return PixelFormat(name, "grey", bits, alpha)
    shared = 64 // known.chroma_width(64), 64 // known.chroma_height(64)
    if shared not in _SHARED:
        raise InputError(f"expected a pixel format of known subsampling, found {name}")
    return PixelFormat(name, "yuv", bits, alpha, shared, full=name.startswith("yuvj"))


def nearest_formats(like: PixelFormat, names: Iterable[str]) -> list[str]:
    """The formats of those names, the one first that loses the least of another and, of these, is the smallest."""

    def loss(name: str) -> tuple[int, ...]:
        other = pixel_format(name)
        # Grey has no colours that could be shared.
        theirs = other.shared if like.model == "grey" else like.shared
        across, down = (mine // given for mine, given in zip(other.shared, theirs, strict=True))
        return (
            max(0, like.bits - other.bits),
            like.alpha and not other.alpha,
            like.model != "grey" and other.model == "grey",
            (across > 1) + (down > 1),
            like.model != other.model and "rgb" in (like.model, other.model),
            # What is larger than it needs to be.
            max(0, other.bits - like.bits),
            other.alpha and not like.alpha,
            like.model != other.model,
            other.shared != ((2, 2) if like.model == "grey" else like.shared),
            other.full,
            other.name != other.planar,
        )

    return sorted(names, key=loss)


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """The planes of a picture in any format: Y, U, V, or R, G, B, or grey, and transparency last if there is any.

    Numbers have the depth `PixelFormat.plane_bits`.
    """
    held = pixel_format(frame.format.name)
    if held.model == "grey" and held.alpha:
        return _interleaved(frame, held)
    if (floats := _float_type(held.name)) is not None:
        planes = [_rounded(_plane(plane, floats)) for plane in frame.planes]
    else:
        if not _is_planar(held, frame):
            frame = _repacked(frame, held.planar)
        planes = [_plane(plane, _dtype(held.plane_bits)) for plane in frame.planes]
    if held.model == "rgb":
        green, blue, red, *rest = planes
        return [red, green, blue, *rest]
    return planes


def frame_of(planes: list[np.ndarray], name: str) -> av.VideoFrame:
    """The inverse of `planes_of`: a picture in the format of that name."""
    held = pixel_format(name)
    height, width = planes[0].shape
    if held.model == "rgb":
        red, green, blue, *rest = planes
        planes = [green, blue, red, *rest]
    packed_grey = held.model == "grey" and held.alpha
    own = packed_grey or held.full or _float_type(name) is not None
    frame = av.VideoFrame(width, height, name if own else held.planar)
    dtype = _float_type(name) or _dtype(held.plane_bits)
    if packed_grey:
        planes = [np.dstack(planes).reshape(height, 2 * width)]
        dtype = dtype.newbyteorder(">" if name.endswith("be") else "<")
    elif dtype.kind == "f":
        planes = [plane.astype(np.float32) / np.float32(65535) for plane in planes]
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size // dtype.itemsize), dtype)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    return frame if frame.format.name == name else _repacked(frame, name)


def _float_type(name: str) -> np.dtype | None:
    """The type of a format's numbers if they are floats, in planes."""
    floats = _FLOATS.fullmatch(name)
    return floats and np.dtype(f"{'<' if floats[3] == 'le' else '>'}f{int(floats[2]) // 8}")


def _is_planar(held: PixelFormat, frame: av.VideoFrame) -> bool:
    # Uncompressed AVI holds pictures from below; FFmpeg then has rows of a negative length.
    upright = all(plane.line_size > 0 for plane in frame.planes)
    return upright and (held.name == held.planar or held.full)


def _repacked(frame: av.VideoFrame, name: str) -> av.VideoFrame:
    """The same numbers in another arrangement: with one matrix and range on both sides FFmpeg only moves them."""
    if frame.format.is_bayer:  # its colours are made of their neighbours', for few formats
        frame = frame.reformat(format="rgb48le" if frame.format.components[0].bits > 8 else "rgb24")
    ranges: dict[str, Any] = {"src_color_range": "JPEG", "dst_color_range": "JPEG"}
    return frame.reformat(format=name, src_colorspace="ITU709", dst_colorspace="ITU709", **ranges, threads=_THREADS)


def _interleaved(frame: Any, held: PixelFormat) -> list[np.ndarray]:
    """Grey and transparency, which FFmpeg packs in pairs and does not take apart exactly."""
    (plane,) = frame.planes
    dtype = _dtype(held.plane_bits).newbyteorder(">" if held.name.endswith("be") else "<")
    rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : 2 * plane.width]
    return [rows[:, 0::2].astype(dtype.newbyteorder("=")), rows[:, 1::2].astype(dtype.newbyteorder("="))]


def _rounded(values: Num[np.ndarray, "h w"]) -> Plane:
    return np.rint(np.clip(np.nan_to_num(values.astype(np.float32)), 0, 1) * np.float32(65535)).astype(np.uint16)


def _dtype(bits: int) -> np.dtype:
    return np.dtype(np.uint8) if bits == 8 else np.dtype("<u2")


def _plane(plane: Any, dtype: np.dtype) -> Num[np.ndarray, "h w"]:
    rows = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return rows[:, : plane.width].copy()
