"""Picture files as RGB arrays, and back.

Photographs for training are uint8 [h,w,3]. A frame to be restored keeps the depth of its file: uint8, or uint16 where
the file holds more than 8 bits a channel; both span their whole range; or linear floats.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16
from PIL import Image

from spikejax.errors import InputError
from spikejax.io.bucket_listing import ListedPath
from spikejax.io.lmdb_pictures import LmdbPicture
from spikejax.io.paths import AnyPath

PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".exr", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)

# What a picture of a data set is read from.
PicturePath: TypeAlias = Path | ListedPath | LmdbPicture
Frame = UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]
# What is written: RGB, or RGB and how much of it hides what is behind.
WrittenFrame = UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"] | Float32[np.ndarray, "h w c"]

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it prints what it then returns None for
# Modes in which 8 bits a channel hold all there is; 16-bit and float pictures would be clipped by a conversion.
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
# Paths that are no files of this machine's disks.
READ_WHOLE = (ListedPath, LmdbPicture)
_ORIENTATION = 0x0112
# Exif's orientations that turn a picture by a quarter.
_QUARTER_TURNS = frozenset({5, 6, 7, 8})


def read_picture(path: AnyPath) -> UInt8[np.ndarray, "h w 3"]:
    """A picture file as uint8 RGB; grey and palette pictures are converted, transparency is dropped.

    Raises:
        InputError: the file is no picture, is damaged, or holds more than 8 bits a channel.
    """
    with open_picture(path) as picture:
        if _is_deep(picture):
            raise InputError(f"expected a picture with 8 bits a channel, found mode {picture_mode(picture)!r}: {path}")
        return np.array(picture.convert("RGB"))


def write_picture(path: AnyPath, picture: WrittenFrame, *, profile: bytes | None = None) -> None:
    """Writes RGB, or RGB and what is transparent in it, in the format that the name says, without a temporary name.

    Args:
        path: of the file.
        picture: of 8 or 16 bits, or for TIFF of floats.
        profile: the ICC profile of its numbers, None for sRGB.

    Raises:
        OSError: the disk is full, or the folder is gone.
    """
    suffix = Path(path).suffix.lower()
    if picture.dtype != np.uint8:
        # Pillow does not know colour of 16 bits. Encoding in memory tells a full disk from an unknown format.
        swapped = picture[..., [2, 1, 0, 3][: picture.shape[2]]]
        encoded = cv2.imencode(suffix, swapped, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        Path(path).write_bytes(_with_profile(encoded, profile) if suffix == ".png" and profile else encoded)
        return
    by_suffix: dict[str, dict[str, Any]] = {
        # Level 1 writes a 720p PNG several times as fast as the default, for a file about a tenth larger.
        ".png": {"compress_level": 1},
        ".tiff": {"compression": "tiff_adobe_deflate"},
        ".webp": {"lossless": True},
        ".jpg": {"quality": 95, "subsampling": 0},
    }
    options = by_suffix.get(suffix, {}) | ({} if profile is None else {"icc_profile": profile})
    Image.fromarray(picture).save(path, **options)


def _with_profile(png: bytes, profile: bytes) -> bytes:
    """A PNG with an ICC profile in it, behind the header, which takes 33 bytes."""
    content = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:33] + chunk + png[33:]


def read_kept(path: AnyPath) -> WrittenFrame:
    """A picture that `write_picture` has written, as it was: of 3 or 4 channels.

    Raises:
        InputError: it does not decode.
    """
    pixels = cv2.imdecode(np.frombuffer(Path(path).read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InputError(f"expected a picture, cannot decode {path}")
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])


def picture_size(path: AnyPath) -> tuple[int, int]:
    """(height, width) of a picture that stands upright, from its header alone; raises `InputError` if it has none."""
    with open_picture(path) as picture:
        width, height = picture.size
        # Pillow gives the upright size of a TIFF, and that of all others as they are stored.
        on_its_side = picture.format != "TIFF" and picture.getexif().get(_ORIENTATION) in _QUARTER_TURNS
    return (width, height) if on_its_side else (height, width)


def picture_header(path: AnyPath) -> tuple[str, tuple[int, int]]:
    """(mode, (height, width)) of a picture as stored, from its header alone.

    The mode is Pillow's, "RGB" and "L" for 8 bits a channel, with ";16" behind it where there are 16.

    Raises:
        InputError: it is no picture.
    """
    with open_picture(path) as picture:
        return picture_mode(picture), (picture.height, picture.width)


def is_eight_bit(mode: str) -> bool:
    """Whether 8 bits a channel hold all that a picture of such a mode (see `picture_header`) has."""
    return mode in _EIGHT_BIT_MODES


def is_deep(path: AnyPath) -> bool:
    """Whether a picture holds more than 8 bits a channel, from its header alone."""
    with open_picture(path) as picture:
        return _is_deep(picture)


def _is_deep(picture: Image.Image) -> bool:
    return not is_eight_bit(picture_mode(picture))


def picture_mode(picture: Image.Image) -> str:
    """Pillow's mode; with ";16" behind it for colour of 16 bits, which Pillow reads as if it were of 8."""
    # Only the decoder's arguments tell. A tile is (decoder, box, offset, arguments), and the arguments begin with the
    # raw mode: "RGB;16B", "RGB;16L".
    for tile in getattr(picture, "tile", ()):
        raw = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
        if isinstance(raw, str) and ";16" in raw and ";16" not in picture.mode:
            return f"{picture.mode};16"
    return picture.mode


@contextmanager
def open_picture(path: AnyPath) -> Iterator[Image.Image]:
    """Yields an open picture; what goes wrong inside is an InputError."""
    # Read outside the block: a bucket that cannot be reached says nothing of the picture.
    file = io.BytesIO(path.read_bytes()) if isinstance(path, READ_WHOLE) else path
    try:
        with Image.open(file) as picture:
            yield picture
    except InputError:
        raise
    except Exception as error:  # Pillow has a reader for each format, which fail at broken files in ways of their own
        raise InputError(f"expected a picture, cannot decode {path}: {error}") from error
