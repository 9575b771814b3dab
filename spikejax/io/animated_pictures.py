"""Animated pictures (GIF, WebP, PNG, AVIF) as videos, in their own timing.

Pillow puts each frame together as a browser does: what was shown before stays, or goes, as the file says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from spikejax.io.colours import RGB_MATRIX, VideoColours
from spikejax.io.frame_stream import Damage, DecodedFrame, FrameSource
from spikejax.io.pictures import open_picture
from spikejax.io.pixel_formats import pixel_format

ANIMATED_SUFFIXES = frozenset({".apng", ".avif", ".gif", ".png", ".webp"})
# How long a frame is shown that does not say it, or says next to nothing: as browsers do it.
_SHORTEST, _USUAL = Fraction(11, 1000), Fraction(1, 10)
# Of all clocks that such files have: 1/100 s (GIF), 1/1000 s, or parts of a second that divide this.
_TIME_BASE = Fraction(1, 90000)


def is_animated(path: Path) -> bool:
    """Whether a file is an animated picture.

    Raises:
        InputError: it has the name of one and is cut, damaged or something else. FFmpeg might find some of its frames.
    """
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return False
    with open_picture(path) as picture:
        return bool(getattr(picture, "is_animated", False))


class AnimatedFrames(FrameSource):
    """The frames of an animated picture; see `FrameSource`."""

    has_streams = False

    def __init__(self, path: Path, *, own_depth: bool) -> None:
        """Looks at all frames, for their times and for what is transparent.

        Raises:
            InputError: one does not decode.
        """
        self.path = path
        self.damage, self.splices = Damage(), []
        self._own_depth = own_depth
        durations, transparent = [], False
        with open_picture(path) as picture:
            self.width, self.height = picture.size
            for frame in ImageSequence.Iterator(picture):
                frame.load()  # WebP and AVIF know their times only then
                durations.append(_duration(frame))
                transparent = transparent or frame.convert("RGBA").getchannel("A").getextrema()[0] != 255
        self._times = list(itertools.accumulate(durations[:-1], initial=Fraction(0)))
        self.expected_length = len(durations)
        self.rate = Fraction(len(durations) / sum(durations)).limit_denominator(1001)
        self.time_base = _TIME_BASE
        self.colours = VideoColours(pixel_format("bgra" if transparent else "bgr0"), RGB_MATRIX, full=True)

    @property
    def count(self) -> int:
        """The number of frames."""
        return len(self._times)

    def times(self) -> Iterator[Fraction | None]:
        """See `FrameSource.times`."""
        return iter(self._times)

    def decode(self, start: int = 0) -> Iterator[DecodedFrame]:
        """See `FrameSource.decode`; of 16 bits, as all videos have it, if it was opened for its own depth."""
        assert self.colours is not None
        with open_picture(self.path) as picture:
            for number, time in enumerate(self._times):
                picture.seek(number)  # one after the other: what is shown is made of the frames before
                if number < start:
                    continue
                layers = np.array(picture.convert("RGBA"))
                if self._own_depth:
                    layers = layers.astype(np.uint16) * np.uint16(257)
                alpha = layers[..., 3].copy() if self.colours.format.alpha else None
                yield DecodedFrame(np.ascontiguousarray(layers[..., :3]), time, alpha)


def _duration(frame: Image.Image) -> Fraction:
    milliseconds = Fraction(frame.info.get("duration") or 0).limit_denominator(100_000)
    return milliseconds / 1000 if milliseconds / 1000 >= _SHORTEST else _USUAL
