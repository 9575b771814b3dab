"""How a video is read, where it can be read in more than one way: what options say, without importing a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from spikejax.errors import InputError


@dataclass(frozen=True)
class VideoReading:
    """How a video is read.

    Attributes:
        stream: the number of its film among the file's video streams, from 0; None for the one that players choose.
        interlaced: of frames that hold two fields each: "refuse" them; read them as if they were "progressive"; make
            of each a frame ("kept") or two ("doubled") by FFmpeg's bwdif.
        resize_changes: whether frames of another size than the first one's are brought to it; otherwise frames end
            there.
    """

    stream: int | None = None
    interlaced: str = "refuse"
    resize_changes: bool = False

    @classmethod
    def asked(
        cls, *, stream: int | None, deinterlace: str | None, as_progressive: bool, resize_changes: bool
    ) -> VideoReading:
        """The reading that options of these names ask for; raises InputError for two that exclude each other."""
        if deinterlace is not None and as_progressive:
            raise InputError("expected --deinterlace or --as-progressive, found both")
        return cls(stream, deinterlace or ("progressive" if as_progressive else "refuse"), resize_changes)

    @property
    def fields(self) -> int:
        """The frames that are made of one."""
        return 2 if self.interlaced == "doubled" else 1
