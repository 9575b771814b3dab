"""A profile of a printer by code: a table of its four inks' colours, as ICC.1:2001-04 (version 2.4) lays it out.

Light that passes through an ink loses a share of its red, green and blue, so that the colours of the sixteen ways to
print full inks over each other are known without a profile being read.
"""

import itertools
import struct

import numpy as np
from jaxtyping import Float64, Int64, UInt8

# What full cyan, magenta, yellow and black let through of linear red, green and blue.
_INKS = np.array([[0.15, 0.55, 0.8], [0.7, 0.1, 0.35], [0.9, 0.75, 0.08], [0.0, 0.0, 0.0]])
# From linear sRGB to XYZ, adapted to D50 as profiles have it (IEC 61966-2-1, Bradford).
_TO_XYZ = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7139]])
_D50 = np.array([0.9642, 1.0, 0.8249])
# Which of cyan, magenta, yellow and black are printed; the last changes fastest, as in the table.
PRINTED: Int64[np.ndarray, "16 4"] = np.array(list(itertools.product((0, 1), repeat=4)))


def printed_colours() -> Float64[np.ndarray, "16 3"]:
    """The sRGB, from 0 to 255, of each row of `PRINTED`."""
    light = _printed_light()
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def inks_of(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 4"]:
    """Some amounts of the inks, which go over all that there are."""
    return np.dstack([rgb, 255 - rgb[..., :1]])


def cmyk_profile() -> bytes:
    """The profile."""
    name = b"four inks\0"
    tags = {
        b"desc": struct.pack(">4s4xI", b"desc", len(name)) + name + bytes(78),
        b"cprt": b"text" + bytes(4) + b"no copyright\0",
        b"wtpt": struct.pack(">4s4x3i", b"XYZ ", *_fixed(_D50)),
        b"A2B0": _device_to_lab(),
    }
    start, index, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, content in tags.items():
        index += struct.pack(">4s2I", key, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    kinds = (b"prtr", b"CMYK", b"Lab ")
    header = struct.pack(">I4xI4s4s4s6H4s28x", start + len(body), 0x02400000, *kinds, 2024, 1, 1, 0, 0, 0, b"acsp")
    return header + struct.pack(">3i48x", *_fixed(_D50)) + index + body


def deep_cmyk_tiff(inks: UInt8[np.ndarray, "h w 4"], profile: bytes) -> bytes:
    """A TIFF of the inks in 16 bits each, which Pillow does not write."""
    height, width, _ = inks.shape
    pixels = (inks.astype("<u2") * 257).tobytes()
    bits = struct.pack("<4H", 16, 16, 16, 16)
    # Tag, kind (3 = two bytes, 4 = four, 7 = any), count, and the value or where it lies.
    start = 8 + 2 + 12 * 10 + 4
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 4, start), (259, 3, 1, 1), (262, 3, 1, 5),
        (273, 4, 1, start + len(bits)), (277, 3, 1, 4), (278, 4, 1, height), (279, 4, 1, len(pixels)),
        (34675, 7, len(profile), start + len(bits) + len(pixels)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<2H2I", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + bits + pixels + profile


def _printed_light() -> Float64[np.ndarray, "16 3"]:
    return np.where(PRINTED[..., np.newaxis] == 1, _INKS, 1.0).prod(axis=1)


def _device_to_lab() -> bytes:
    """A tag of type lut16: lines for the inks, a table of two steps of each, and lines for L*a*b*."""
    ratio = _printed_light() @ _TO_XYZ.T / _D50
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29).T
    # L* from 0 to 100 becomes 0 to 0xFF00, a* and b* from -128 on units of 1/256.
    lab = np.stack([(116 * y - 16) * 652.8, (500 * (x - y) + 128) * 256, (200 * (y - z) + 128) * 256], axis=-1)
    line = struct.pack(">2H", 0, 65535)
    head = struct.pack(">4s4x4B9i2H", b"mft2", 4, 3, 2, 0, *_fixed(np.eye(3).ravel()), 2, 2)
    return head + 4 * line + np.rint(lab).astype(">u2").tobytes() + 3 * line


def _fixed(values: Float64[np.ndarray, " n"]) -> list[int]:
    return [round(value * 65536) for value in values]
