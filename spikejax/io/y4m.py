"""The headers of YUV4MPEG2 (y4m), a stream of frames without compression: what it says of them, read and written.

A line for the stream, `YUV4MPEG2 W640 H360 F25:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED`, then for each frame a line
that begins with `FRAME`, and its planes. The format is that of mjpegtools, in the dialect of FFmpeg.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from spikejax.errors import InputError

SIGNATURE = b"YUV4MPEG2"
FRAME = b"FRAME"
LONGEST_LINE = 4096
_LARGEST_SIDE = 2**16
_SHARED_SITES = {"jpeg": "center", "mpeg2": "left", "paldv": "topleft", "": "left"}
_DEPTHS = (9, 10, 12, 14, 16)
# FFmpeg's pixel formats by the tag C; 4:2:0 of 8 bits besides says where its colours lie.
_FORMATS = (
    {"mono": "gray", "411": "yuv411p", "422": "yuv422p", "444": "yuv444p"}
    | {f"420{site}": "yuv420p" for site in _SHARED_SITES}
    | {f"{shared}p{bits}": f"yuv{shared}p{bits}le" for shared in ("420", "422", "444") for bits in _DEPTHS}
    | {f"mono{bits}": f"gray{bits}le" for bits in (9, 10, 12, 16)}
)
_TAGS = {name: tag for tag, name in _FORMATS.items() if tag not in ("420", "420paldv", "420mpeg2")}
# What y4m holds.
FORMATS = tuple(dict.fromkeys(_FORMATS.values()))
_FIELDS = {"t": "tff", "b": "bff", "m": "auto"}


@dataclass(frozen=True)
class Y4mHeader:
    """What the first line says.

    Attributes:
        format: FFmpeg's name of the pixel format.
        height, width: of a frame.
        rate: frames a second; None if it is not said.
        pixel_aspect: width of a pixel over its height; None if it is not said.
        chroma: where colours lie that several pixels share.
        full: whether numbers span their whole range; None if it is not said.
        fields: of interlaced frames, FFmpeg's name of their order, "tff", "bff" or "auto"; None for progressive ones.
    """

    format: str
    height: int
    width: int
    rate: Fraction | None = None
    pixel_aspect: Fraction | None = None
    chroma: str = "left"
    full: bool | None = None
    fields: str | None = None

    def line(self) -> bytes:
        """The line that says so."""
        tag = _TAGS[self.format]
        if self.format == "yuv420p":
            site = next((site for site, chroma in _SHARED_SITES.items() if chroma == self.chroma), "jpeg")
            tag = f"420{site}"
        aspect = self.pixel_aspect or Fraction(0, 1)
        words = [
            *(SIGNATURE.decode(), f"W{self.width}", f"H{self.height}"),
            f"F{self.rate.numerator}:{self.rate.denominator}" if self.rate else "F0:0",
            f"I{ {None: 'p', 'tff': 't', 'bff': 'b'}.get(self.fields, 'm') }",
            f"A{aspect.numerator}:{aspect.denominator}" if aspect else "A0:0",
            f"C{tag}",
            *([] if self.full is None else [f"XCOLORRANGE={'FULL' if self.full else 'LIMITED'}"]),
        ]
        return " ".join(words).encode() + b"\n"


def read_header(line: bytes) -> Y4mHeader:
    """What the first line of a stream says.

    Raises:
        InputError: it is none, or says what cannot be.
    """
    words = line.decode("ascii", "replace").split()
    if not line.endswith(b"\n") or not words or words[0] != SIGNATURE.decode():
        raise InputError(f"expected a line that begins with {SIGNATURE.decode()}, found {line[:40]!r}")
    tags = {word[0]: word[1:] for word in words[1:] if word[0] != "X"}
    extra = dict(word[1:].partition("=")[::2] for word in words[1:] if word[0] == "X")
    colours = tags.get("C", "420jpeg").lower()
    if colours not in _FORMATS:
        raise InputError(f"expected y4m of the colours {', '.join(_FORMATS)}, found C{colours}")
    width, height = _side(tags, "W"), _side(tags, "H")
    ranges = {"FULL": True, "LIMITED": False}
    return Y4mHeader(
        _FORMATS[colours],
        height,
        width,
        rate=_ratio(tags.get("F", "0:0")),
        pixel_aspect=_ratio(tags.get("A", "0:0")),
        chroma=_SHARED_SITES.get(colours.removeprefix("420"), "left"),
        full=ranges.get(extra.get("COLORRANGE", "").upper()),
        fields=_FIELDS.get(tags.get("I", "p").lower()),
    )


def _side(tags: dict[str, str], name: str) -> int:
    text = tags.get(name, "")
    if not re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) or int(text) > _LARGEST_SIDE:
        raise InputError(f"expected y4m of a size, such as W640 H360, found {name}{text}")
    return int(text)


def _ratio(text: str) -> Fraction | None:
    match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text, re.ASCII)
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return Fraction(int(match[1]), int(match[2]))
