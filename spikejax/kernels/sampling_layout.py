"""What is sampled where in a deformable convolution, and how its offsets lie, as all forms of the kernel know it."""

from dataclasses import dataclass
from math import gcd

TAPS = 9
# Columns of a group's offsets: (9 in x, 9 in y, 9 masks, 5 of zeros), and of the parts that groups come in.
SLOT = 32
PART = 128


@dataclass(frozen=True)
class Sampling:
    """How sources are sampled.

    Attributes:
        sources: pictures that are sampled for every target; each makes its own part of the result.
        groups: of channels in a source that share positions.
        channels: of a group.
        outputs: channels of the result that a source makes.
        scale: the largest offset; None: there are neither offsets nor masks nor taps nor a kernel, all groups are
            sampled where the flow points to, and the result is what was sampled.
    """

    sources: int
    groups: int
    channels: int
    outputs: int
    scale: float | None

    @property
    def reach(self) -> float:
        """The largest offset, where there are any."""
        assert self.scale is not None
        return self.scale

    @property
    def taps(self) -> int:
        """Positions that a group is sampled at for each pixel."""
        return 1 if self.scale is None else TAPS

    @property
    def at_once(self) -> int:
        """Groups of a source in a part."""
        return next(count for count in (4, 3, 2, 1) if self.groups % count == 0)

    @property
    def parts(self) -> int:
        """Parts of all sources' groups."""
        return self.sources * self.groups // self.at_once


def of_warp(channels: int) -> Sampling:
    """How a picture of so many channels is warped."""
    # Eight channels fill the rows of a register; the groups all have the flow's positions.
    width = next(width for width in (8, 6, 4, 3, 2, 1) if channels % width == 0)
    return Sampling(1, channels // width, width, width, None)


def row_step(channels: int) -> int:
    """Rows of a picture whose channels fill whole registers of eight."""
    return 8 // gcd(8, channels)
