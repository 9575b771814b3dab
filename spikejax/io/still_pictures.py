"""Frames from picture files of any kind, as they are: upright, in their depth, with transparency and colour profile.

RGB, grey and palettes keep their numbers. CMYK (Adobe's inverted and YCCK among them) and L*a*b* become sRGB by their
profile, since no network knows them. Floats, of EXR and TIFF, are linear: they stay so where the output holds them,
else they become 16 bits by the curve of sRGB.
"""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from jaxtyping import Float32, Num, UInt8, UInt16
from PIL import Image, ImageCms, ImageOps

from spikejax.errors import InputError
from spikejax.extras import require
from spikejax.io.paths import AnyPath
from spikejax.io.pictures import READ_WHOLE, open_picture, picture_mode, write_picture
from spikejax.io.pixel_depth import to_depth, to_float32, to_uint8
from spikejax.io.pixel_formats import Plane, pixel_format

LINEAR_SUFFIXES = frozenset({".exr"})
EIGHT_BIT_SUFFIXES = frozenset({".jpg", ".webp"})
_TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
_ORIENTATION = 0x0112
_CONVERTED = {"CMYK": "CMYK", "LAB": "L*a*b*"}
_HEIC_SUFFIXES = frozenset({".heic", ".heif"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})
# Pillow's modes that 8 bits a channel hold.
_WHOLE_BYTES = _ALPHA_MODES | {"1", "L", "P", "RGB", "RGBX", "CMYK", "LAB", "YCbCr", "HSV"}


class Still(NamedTuple):
    """A picture.

    Attributes:
        frame: RGB of 8 or 16 bits, or of floats, which are linear.
        alpha: how much of it hides what is behind; of floats in 16 bits. None if all does.
        profile: the ICC profile of these numbers, None for sRGB.
        note: what was done to its colours, in words; "" = nothing.
    """

    frame: Num[np.ndarray, "h w 3"]
    alpha: UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"] | None = None
    profile: bytes | None = None
    note: str = ""


def read_still(path: AnyPath, *, keep_floats: bool = False) -> Still:
    """A picture as it is.

    Args:
        path: of the file.
        keep_floats: whether floats stay linear floats; otherwise they become 16 bits by the curve of sRGB.

    Raises:
        InputError: the file is no picture, or damaged.
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix in LINEAR_SUFFIXES:
        return _of_floats(_read_exr(path), keep=keep_floats)
    if suffix in _TIFF_SUFFIXES and (floats := _float_tiff(path)) is not None:
        return _of_floats(floats, keep=keep_floats)
    if suffix in _HEIC_SUFFIXES:
        _use_heif(path)
    with open_picture(path) as picture:
        mode = picture_mode(picture)
        if mode in _WHOLE_BYTES:
            return _of_eight_bits(picture)
        if picture.mode in _CONVERTED:  # of 16 bits, of which Pillow gives the upper ones; OpenCV knows no CMYK
            still = _of_eight_bits(picture)
            return still._replace(note=f"{still.note}, and 16 bits became 8")
        picture.load()  # OpenCV gives the upper part of a file that was cut, without a word
        orientation, profile = picture.getexif().get(_ORIENTATION, 1), picture.info.get("icc_profile")
    pixels = _decoded(path)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        content = "one that does not decode" if pixels is None else str(pixels.dtype)
        raise InputError(f"expected a picture with 8 or 16 bits a channel, or of floats, found {content}: {path}")
    rgb, alpha = _split(pixels)
    turned = [None if part is None else _upright(part, orientation) for part in (rgb, alpha)]
    assert turned[0] is not None
    return Still(turned[0], turned[1], _rgb_profile(profile))


def _of_eight_bits(picture: Image.Image) -> Still:
    profile = picture.info.get("icc_profile")
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in _CONVERTED or _is_grey(profile):
        return _converted(upright, profile)
    if upright.mode in _ALPHA_MODES or "transparency" in upright.info:
        layers = np.array(upright.convert("RGBA"))
        return Still(np.ascontiguousarray(layers[..., :3]), layers[..., 3].copy(), _rgb_profile(profile))
    return Still(np.array(upright.convert("RGB")), None, _rgb_profile(profile))


def _converted(picture: Image.Image, profile: bytes | None) -> Still:
    """A picture of another model as sRGB, by its profile where it has one that is of its model."""
    name = _CONVERTED.get(picture.mode, "grey")
    alpha = np.array(picture.getchannel("A")) if picture.mode == "LA" else None
    plain = picture.convert("L") if name == "grey" else picture
    if profile or picture.mode == "LAB":
        try:
            # The numbers of L*a*b* are the same in every profile.
            lab = picture.mode == "LAB"
            source: Any = ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
            rgb = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert rgb is not None
            return Still(np.array(rgb), alpha, None, f"{name} was converted to sRGB by its profile")
        except (ImageCms.PyCMSError, OSError):
            pass  # damaged, or of another model than the picture
    note = f"{name} without a usable profile was converted to RGB by the plain formula" if name != "grey" else ""
    return Still(np.array(plain.convert("RGB")), alpha, None, note)


def _profile_space(profile: bytes | None) -> str:
    """The model that a profile is for, "" if there is none: its header says it in bytes 16 to 20."""
    return "" if not profile or len(profile) < 20 else profile[16:20].decode("ascii", "replace").strip()


def _is_grey(profile: bytes | None) -> bool:
    return _profile_space(profile) == "GRAY"


def _rgb_profile(profile: bytes | None) -> bytes | None:
    return profile if _profile_space(profile) == "RGB" else None


def profile_name(profile: bytes) -> str:
    """What a profile calls itself."""
    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip() or "unnamed"
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "unnamed"


def holds_profile(suffix: str, bits: int) -> bool:
    """Whether `write_in_format` keeps a profile in pictures of that suffix, of frames of so many bits."""
    return suffix in (".png", ".jpg", ".webp") or suffix == ".tiff" and bits == 8


def in_profile(still: Still, profile: bytes | None) -> Still | None:
    """A picture of 8 bits in another one's profile; None where that cannot be made."""
    if still.frame.dtype != np.uint8:
        return None
    srgb = ImageCms.createProfile("sRGB")
    ends = [srgb if one is None else ImageCms.ImageCmsProfile(io.BytesIO(one)) for one in (still.profile, profile)]
    try:
        converted = ImageCms.profileToProfile(Image.fromarray(still.frame), ends[0], ends[1], outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    return still._replace(frame=np.array(converted), profile=profile)


# ---- More than 8 bits ----


def _decoded(path: AnyPath) -> Num[np.ndarray, "h w *c"] | None:
    content = path.read_bytes() if isinstance(path, READ_WHOLE) else _bytes(path)
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None


def _bytes(path: AnyPath) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(f"expected a picture, cannot read {path}: {error.strerror}") from error


def _split(pixels: Num[np.ndarray, "h w *c"]) -> tuple[Num[np.ndarray, "h w 3"], Plane | None]:
    """RGB, and transparency, of what OpenCV gives."""
    if pixels.ndim == 2:
        return np.repeat(pixels[..., np.newaxis], 3, axis=2), None
    alpha = np.ascontiguousarray(pixels[..., 3]) if pixels.shape[2] == 4 else None
    return np.ascontiguousarray(pixels[..., 2::-1]), alpha


def _upright(pixels: Num[np.ndarray, "h w *c"], orientation: int) -> Num[np.ndarray, "h2 w2 *c"]:
    """A picture as Exif's orientation, from 1 to 8, has it shown."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _use_heif(path: AnyPath) -> None:
    require("heic", str(path))
    from pillow_heif import register_heif_opener

    register_heif_opener()


# ---- Floats ----


def _of_floats(pixels: Float32[np.ndarray, "h w c"], *, keep: bool) -> Still:
    alpha = None
    if pixels.shape[2] == 4:
        alpha = np.rint(np.clip(pixels[..., 3], 0, 1) * np.float32(65535)).astype(np.uint16)
    rgb = np.ascontiguousarray(np.nan_to_num(pixels[..., :3], nan=0.0, posinf=65504.0, neginf=0.0))
    if keep:
        return Still(rgb, alpha)
    sixteen = np.rint(from_linear(rgb) * np.float32(65535)).astype(np.uint16)
    note = "linear floats became 16 bits by the curve of sRGB, clipped at 1 (--format exr keeps them)"
    return Still(sixteen, alpha, None, note)


def from_linear(light: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Linear light by the curve of sRGB (IEC 61966-2-1), clipped to [0, 1]."""
    clipped = np.clip(light, 0, 1).astype(np.float32)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055).astype(np.float32)


def to_linear(values: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The inverse of `from_linear`."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _float_tiff(path: AnyPath) -> Float32[np.ndarray, "h w c"] | None:
    """A TIFF of floats, which Pillow does not know beyond grey; None for one of whole numbers."""
    try:
        with open_picture(path) as picture:
            if picture.mode != "F":
                return None
    except InputError:
        pass
    pixels = _decoded(path)
    if pixels is None or pixels.dtype not in (np.float32, np.float64):
        return None
    rgb, alpha = _split(pixels.astype(np.float32))
    return rgb if alpha is None else np.dstack([rgb, alpha])


def _read_exr(path: AnyPath) -> Float32[np.ndarray, "h w c"]:
    """An EXR's picture, by FFmpeg's decoder, which leaves it linear."""
    try:
        decoder: Any = av.CodecContext.create("exr", "r")
        frames = decoder.decode(av.Packet(_bytes(path))) or decoder.decode(None)
        frame = frames[0]
        held = pixel_format(frame.format.name)
        kind = np.dtype("<f2" if "f16" in held.name else "<f4")
        planes = [
            np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].astype(np.float32)
            for plane in frame.planes
        ]
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise InputError(f"expected a picture, cannot decode {path}: {error}") from error
    if held.model == "grey":
        return np.repeat(planes[0][..., np.newaxis], 3, axis=2)
    green, blue, red, *rest = planes
    return np.dstack([red, green, blue, *rest])


def write_exr(path: AnyPath, picture: Float32[np.ndarray, "h w c"]) -> None:
    """Writes linear floats, of 3 or 4 channels, as EXR."""
    height, width, count = picture.shape
    frame = av.VideoFrame(width, height, "gbrpf32le" if count == 3 else "gbrapf32le")
    for plane, channel in zip(frame.planes, (1, 2, 0, 3)[:count], strict=True):
        rows = np.zeros((height, plane.line_size // 4), np.float32)
        rows[:, :width] = picture[..., channel]
        plane.update(rows.tobytes())
    encoder: Any = av.CodecContext.create("exr", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, frame.format.name, Fraction(1)
    encoder.options = {"compression": "zip16"}
    (packet,) = encoder.encode(frame)
    Path(path).write_bytes(bytes(packet))


# ---- Writing in any format ----


def write_in_format(path: AnyPath, picture: Num[np.ndarray, "h w c"], *, profile: bytes | None = None) -> None:
    """Writes a picture in the format that the name says, in as many bits as that has.

    Floats are linear, whole numbers of the curve of sRGB; EXR holds the former, all but TIFF the latter.
    """
    suffix = Path(path).suffix.lower()
    colours, alpha = picture[..., :3], picture[..., 3:]
    floats = picture.dtype.kind == "f"
    if suffix == ".exr":
        write_exr(path, picture if floats else np.dstack([to_linear(to_float32(colours)), to_float32(alpha)]))
        return
    if floats and suffix != ".tiff":
        picture = to_depth(np.dstack([from_linear(colours), alpha]), np.dtype(np.uint16))
    if suffix in EIGHT_BIT_SUFFIXES:
        picture = to_uint8(picture)
    write_picture(path, picture[..., :3] if suffix == ".jpg" else picture, profile=profile)
