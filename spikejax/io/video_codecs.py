"""How videos are written: codecs by name, what they need, and which files hold them.

To add a codec: an entry of CODECS; or one of your own without touching this file, `--codec my_codecs.py:NAME`, where
NAME is a `Codec`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax.errors import InputError
from spikejax.extensions import find_entry

if TYPE_CHECKING:
    from spikejax.io.colours import StaticHdr

# Containers that we write.
VIDEO_SUFFIXES = frozenset({".mkv", ".mov", ".mp4", ".webm"})
# What else somebody may expect; whatever else follows a dot is part of a folder's name, such as 2026.01.05.
_OTHER_SUFFIXES = frozenset(
    (
        ".3gp .avi .flv .gif .m2ts .m4v .mpeg .mpg .mts .mxf .ogv .ts .wmv .y4m .avif .bmp .exr .heic .jpeg .jpg "
        ".png .tif .tiff .webp .npy .npz"
    ).split()
)
# Frames a second of a video whose frames come without times, as pictures do.
DEFAULT_RATE = Fraction(25)


@dataclass(frozen=True)
class Codec:
    """A way to write a video.

    Attributes:
        encoder: its name in FFmpeg.
        formats: the usual pixel format for 8 and for more bits; most of them halve the resolution of colour.
        odd_formats: the same for frames of an odd height or width, which cannot be halved; empty if there are none.
        quality: the constant rate factor (0 is best) if nobody asks for another, None for a codec without one.
        options: other settings of the encoder, by FFmpeg's names.
        alpha_options: those that it needs besides where frames are transparent.
        narrow_options: those that it needs besides where frames are narrow; of an option that is there, they are added
            to its value.
        narrow_below: the width from which on frames are not narrow.
        avx512_options: those that it needs besides on processors with AVX-512; added in the same way.
        containers: suffixes of the files that hold it.
        full_range: whether it can say that brightness spans the whole range of its bits.
        display: how its options say static data of high dynamic range: the option, what of it names the display and
            what the light level, and how numbers of the display are scaled; None if they do not.
    """

    encoder: str
    formats: tuple[str, str]
    odd_formats: tuple[str, ...] = ()
    quality: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    alpha_options: tuple[tuple[str, str], ...] = ()
    narrow_options: tuple[tuple[str, str], ...] = ()
    narrow_below: int = 0
    avx512_options: tuple[tuple[str, str], ...] = ()
    containers: tuple[str, ...] = (".mkv", ".mov", ".mp4")
    full_range: bool = True
    display: DisplayOption | None = None


@dataclass(frozen=True)
class DisplayOption:
    """How an encoder is told static data of high dynamic range.

    Attributes:
        option: FFmpeg's name of the encoder's own options.
        display: the name of the display among them.
        light: the name of the light level.
        scaled: whether chromaticities and luminances are whole numbers, of 1/50000 and 1/10000 cd/m2; otherwise they
            are fractions.
    """

    option: str
    display: str
    light: str
    scaled: bool = True

    def text(self, hdr: StaticHdr) -> str:
        """The value of the option."""
        parts = []
        if hdr.display is not None:
            units = [1] * 10 if self.scaled else [50000] * 8 + [10000] * 2
            *places, most, least = (
                number if unit == 1 else number / unit for number, unit in zip(hdr.display, units, strict=True)
            )
            red, green, blue, white = (f"({x},{y})" for x, y in zip(places[::2], places[1::2], strict=True))
            parts.append(f"{self.display}=G{green}B{blue}R{red}WP{white}L({most},{least})")
        if hdr.light is not None:
            parts.append(f"{self.light}={hdr.light[0]},{hdr.light[1]}")
        return ":".join(parts)


_YUV420, _YUV444 = ("yuv420p", "yuv420p10le"), ("yuv444p", "yuv444p10le")
# The factors are those at which a loss is not visible: what restoring gained is not to be lost again in the file.
CODECS = {
    "h264": Codec(
        "libx264",
        _YUV420,
        _YUV444,
        quality=12,
        # Its code for AVX-512 decides by memory that nobody has written: equal runs gave other bytes.
        avx512_options=(("x264-params", "asm=avx2"),),
        display=DisplayOption("x264-params", "mastering-display", "cll"),
    ),
    "h265": Codec(
        "libx265",
        _YUV420,
        _YUV444,
        quality=14,
        options=(("x265-params", "log-level=error"), ("tag", "hvc1")),
        # Of up to three blocks of 16 pixels side by side, cutree's vector code writes behind the end of its memory.
        narrow_options=(("x265-params", "cutree=0"),),
        narrow_below=49,
        display=DisplayOption("x265-params", "master-display", "max-cll"),
    ),
    "av1": Codec(
        "libsvtav1",
        _YUV420,
        quality=18,
        containers=(".mkv", ".mp4", ".webm"),
        display=DisplayOption("svtav1-params", "mastering-display", "content-light", scaled=False),
    ),
    "vp9": Codec(
        "libvpx-vp9",
        ("yuv420p", "yuv420p"),
        ("yuv444p", "yuv444p"),
        quality=16,
        options=(("b", "0"),),
        alpha_options=(("auto-alt-ref", "0"),),
        containers=(".mkv", ".mp4", ".webm"),
    ),
    "ffv1": Codec("ffv1", ("bgr0", "gbrp16le"), ("bgr0", "gbrp16le"), containers=(".mkv",)),
    "prores": Codec(
        "prores_ks",
        ("yuv422p10le", "yuv422p10le"),
        options=(("profile", "3"),),
        alpha_options=(("profile", "4"),),
        containers=(".mov",),
        full_range=False,
    ),
}
DEFAULT_CODEC = "h264"


def default_codec(path: Path | None) -> str:
    """The codec of a video of which nobody says it; None = there is no video."""
    return "vp9" if path is not None and path.suffix.lower() == ".webm" else DEFAULT_CODEC


@dataclass(frozen=True)
class VideoSettings:
    """How a video is written.

    Attributes:
        codec: a name of `CODECS`, or `FILE.py:NAME` for a `Codec` of the user's.
        quality: constant rate factor, 0 is best; None for the codec's own.
        pixel_format: FFmpeg's name of it; None for the codec's usual one at the frames' depth.
    """

    codec: str = DEFAULT_CODEC
    quality: int | None = None
    pixel_format: str | None = None

    @cached_property
    def chosen_codec(self) -> Codec:
        """What `codec` is the name of; raises `InputError` if there is none."""
        return find_entry(CODECS, self.codec, key="--codec", kind=Codec)

    def check(self, path: Path) -> None:
        """Raises InputError unless such a video can be written to a file of that name."""
        codec = self.chosen_codec
        if self.quality is not None and (codec.quality is None or not 0 <= self.quality <= 63):
            wanted = "no quality, it has none" if codec.quality is None else "a quality from 0 (best) to 63"
            raise InputError(f"expected {wanted} for {self.codec}, found {self.quality}")
        formats = self.encoder_formats
        if self.pixel_format is not None and self.pixel_format not in formats:
            raise InputError(
                f"expected a pixel format of {self.codec} ({', '.join(formats)}), found {self.pixel_format!r}"
            )
        if path.suffix.lower() not in codec.containers:
            raise InputError(f"expected {' or '.join(codec.containers)} for codec {self.codec}, found {path.name}")

    @cached_property
    def encoder_formats(self) -> tuple[str, ...]:
        """FFmpeg's names of the pixel formats that the encoder takes; raises `InputError` if FFmpeg has no such."""
        import av.codec  # only here: the names of codecs are asked for by what writes no video

        encoder = self.chosen_codec.encoder
        try:
            return tuple(known.name for known in av.Codec(encoder, "w").video_formats or ())
        except av.codec.codec.UnknownCodecError:
            raise InputError(f"expected an encoder that FFmpeg has, found {encoder}: {self.codec}") from None

    def format_for(self, height: int, width: int, *, bits: int) -> str:
        """The pixel format for frames of that size and depth, of pictures; raises `InputError` if there is none."""
        odd = height % 2 or width % 2
        codec = self.chosen_codec
        if odd and not codec.odd_formats:
            raise InputError(f"expected an even height and width for codec {self.codec}, found {height}x{width}")
        return (codec.odd_formats if odd else codec.formats)[bits > 8]


def is_video_name(path: str | os.PathLike[str]) -> bool:
    """Whether an output of this name is a video and not a folder of pictures.

    Raises:
        InputError: the suffix is of another kind of file.
    """
    suffix = Path(path).suffix.lower()
    if suffix in _OTHER_SUFFIXES and not Path(path).is_dir():
        raise InputError(f"expected a folder or a video ({', '.join(sorted(VIDEO_SUFFIXES))}), found {suffix}: {path}")
    return suffix in VIDEO_SUFFIXES
