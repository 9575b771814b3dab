"""What all sources of frames have in common: frames of one size, one at a time, and what of them was damaged."""

from __future__ import annotations

import abc
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8, UInt16

from spikejax.io.bucket_listing import DataPath
from spikejax.io.colours import VideoColours
from spikejax.io.pictures import Frame
from spikejax.io.timeline import Splice


@dataclass
class Damage:
    """What of a video did not decode when it was last read.

    Attributes:
        packets: how many did not decode at all.
        missing: how many the container announces but does not hold, as in a file that was cut.
        concealed: frames that the decoder gave although parts of them are lost.
        positions: where packets did not decode, in seconds; the first ones.
        ends: why frames from somewhere on were left out, in words.
    """

    packets: int = 0
    missing: int = 0
    concealed: int = 0
    positions: list[float] = field(default_factory=list)
    ends: str = ""

    def __bool__(self) -> bool:
        return bool(self.packets or self.missing or self.concealed or self.ends)

    def __str__(self) -> str:
        parts = []
        if self.packets:
            where = f" (at {', '.join(f'{at:.2f}' for at in self.positions)} s)" if self.positions else ""
            parts.append(f"{self.packets} packets do not decode{where}")
        if self.missing:
            parts.append(f"{self.missing} announced packets are not there")
        if self.concealed:
            parts.append(f"{self.concealed} frames decode in part")
        if self.ends:
            parts.append(self.ends)
        return ", ".join(parts)


class DecodedFrame(NamedTuple):
    """A frame as it was read.

    Attributes:
        frame: RGB of 8 or 16 bits, or of linear floats.
        time: when it is shown, in seconds; None if nobody knows.
        alpha: how much of it hides what is behind, of as many bits (of floats, 16); None if all does.
    """

    frame: Frame
    time: Fraction | None
    alpha: UInt8[np.ndarray, "h w"] | UInt16[np.ndarray, "h w"] | None


class FrameSource(abc.ABC):
    """Frames of one size, read one at a time; iterating again starts again at the first frame.

    Attributes:
        path: the folder or the file.
        height, width: of every frame, in pixels.
        rate: frames a second, None if unknown (a folder).
        names: the frames' file names, None for a video.
        expected_length: the number of frames; of a video it is what the container says, None if it says nothing.
        bits: of a channel as stored, 8 or more.
        time_base: seconds of which the frames' times are multiples, None if they have none.
        pixel_aspect: width of a pixel over its height, None if unknown.
        colours: what the numbers of a video mean, None for pictures.
        damage: what did not decode when the source was last read.
        splices: where its clock jumped when it was last read, see `spikejax.io.timeline`; grows while it is read.
        remarks: what else there is to say of it when it has been read, in words.
        profile: the ICC profile of pictures, None for sRGB.
        has_streams: whether a video's file may hold sound, subtitles and words beside the frames.
        one_pass: whether frames can be read once alone, as those of a pipe; they have a constant rate, and `count` and
            `times` cannot be asked for.
    """

    path: DataPath
    height: int
    width: int
    rate: Fraction | None = None
    names: tuple[str, ...] | None = None
    expected_length: int | None = None
    bits: int = 8
    time_base: Fraction | None = None
    pixel_aspect: Fraction | None = None
    colours: VideoColours | None = None
    damage: Damage
    splices: list[Splice]
    profile: bytes | None = None
    one_pass: bool = False
    has_streams: bool = True

    @property
    def remarks(self) -> tuple[str, ...]:
        """What else there is to say of the source when it has been read."""
        return ()

    @abc.abstractmethod
    def decode(self, start: int = 0) -> Iterator[DecodedFrame]:
        """Yields the frames from number `start` on, with their times and what is transparent in them."""

    def stop_waiting(self) -> None:  # noqa: B027, files do not have to be waited for
        """Ends, from another thread, the waiting for frames that have not come yet: they end there."""

    def read(self, start: int = 0) -> Iterator[tuple[Frame, Fraction | None]]:
        """Yields the frames from number `start` on, each with its time in seconds (None if it has none)."""
        return ((decoded.frame, decoded.time) for decoded in self.decode(start))

    def times(self) -> Iterator[Fraction | None]:
        """Yields when each frame is shown, in seconds; None for those that have no time, as pictures."""
        return itertools.repeat(None, self.count)

    @property
    def whole(self) -> FrameSource:
        """The source that the frames are a part of; itself where they are all."""
        return self

    @property
    def first(self) -> int:
        """The number of the first frame in that source."""
        return 0

    @property
    def offset(self) -> Fraction:
        """The time of the first frame in that source, in seconds."""
        return Fraction(0)

    def __iter__(self) -> Iterator[Frame]:
        return (decoded.frame for decoded in self.decode())

    @functools.cached_property
    def count(self) -> int:
        """The exact number of frames; of a video by decoding it, since containers may say otherwise."""
        return len(self.names) if self.names is not None else sum(1 for _ in self)
