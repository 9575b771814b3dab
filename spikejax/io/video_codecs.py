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

from spikejax.errors import InputError
from spikejax.extensions import find_entry

# Containers that we write.
VIDEO_SUFFIXES = frozenset({".mkv", ".mov", ".mp4"})
# What else somebody may expect; whatever else follows a dot is part of a folder's name, such as 2026.01.05.
_OTHER_SUFFIXES = frozenset(
    (
        ".3gp .avi .flv .gif .m2ts .m4v .mpeg .mpg .mts .mxf .ogv .ts .webm .wmv .y4m .avif .bmp .exr .heic .jpeg .jpg "
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
        containers: suffixes of the files that hold it.
    """

    encoder: str
    formats: tuple[str, str]
    odd_formats: tuple[str, ...] = ()
    quality: int | None = None
    options: tuple[tuple[str, str], ...] = ()
    containers: tuple[str, ...] = (".mkv", ".mov", ".mp4")


_YUV420, _YUV444 = ("yuv420p", "yuv420p10le"), ("yuv444p", "yuv444p10le")
# The factors are those at which a loss is not visible: what restoring gained is not to be lost again in the file.
CODECS = {
    "h264": Codec("libx264", _YUV420, _YUV444, quality=12),
    "h265": Codec(
        "libx265", _YUV420, _YUV444, quality=14, options=(("x265-params", "log-level=error"), ("tag", "hvc1"))
    ),
    "av1": Codec("libsvtav1", _YUV420, quality=18),
    "vp9": Codec("libvpx-vp9", ("yuv420p", "yuv420p"), ("yuv444p", "yuv444p"), quality=16, options=(("b", "0"),)),
    "ffv1": Codec("ffv1", ("bgr0", "gbrp16le"), ("bgr0", "gbrp16le"), containers=(".mkv", ".mov")),
    "prores": Codec("prores_ks", ("yuv422p10le", "yuv422p10le"), options=(("profile", "3"),), containers=(".mov",)),
}
DEFAULT_CODEC = "h264"


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
        import av.codec  # only here: the names of codecs are asked for by what writes no video

        codec = self.chosen_codec
        if self.quality is not None and (codec.quality is None or not 0 <= self.quality <= 63):
            wanted = "no quality, it has none" if codec.quality is None else "a quality from 0 (best) to 63"
            raise InputError(f"expected {wanted} for {self.codec}, found {self.quality}")
        try:
            formats = [known.name for known in av.Codec(codec.encoder, "w").video_formats or ()]
        except av.codec.codec.UnknownCodecError:
            raise InputError(f"expected an encoder that FFmpeg has, found {codec.encoder}: {self.codec}") from None
        if self.pixel_format is not None and self.pixel_format not in formats:
            raise InputError(
                f"expected a pixel format of {self.codec} ({', '.join(formats)}), found {self.pixel_format!r}"
            )
        if path.suffix.lower() not in codec.containers:
            raise InputError(f"expected {' or '.join(codec.containers)} for codec {self.codec}, found {path.name}")

    def format_for(self, height: int, width: int, *, bits: int) -> str:
        """The pixel format for frames of that size and depth; raises `InputError` if there is none."""
        odd = height % 2 or width % 2
        if self.pixel_format is not None:
            if odd and ("420" in self.pixel_format or "422" in self.pixel_format and width % 2):
                raise InputError(
                    f"expected an even height and width for pixel format {self.pixel_format}, found {height}x{width}"
                )
            return self.pixel_format
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
