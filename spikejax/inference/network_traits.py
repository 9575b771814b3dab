"""What a network does to a clip: how large and how long its answer is, and what it needs beside the frames."""

from __future__ import annotations

from dataclasses import dataclass

from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.models.restorer import MIN_FRAMES, MIN_SIDE, Restorer


@dataclass(frozen=True)
class NetworkTraits:
    """The outside of a network.

    Attributes:
        upscale: height and width of the answer over those of the clip.
        noise_level: whether it is told the standard deviation of the noise.
        bins: time bins of the voxels it takes, None if it takes none.
        window: frames of its attention windows.
        interpolates: whether its answer is the one frame in the middle of a clip of `window` frames.
    """

    upscale: int = 1
    noise_level: bool = False
    bins: int | None = None
    window: int = 1
    interpolates: bool = False

    @property
    def smallest_tile(self) -> Extent:
        """The smallest clip the network takes."""
        return Extent(self.window if self.interpolates else MIN_FRAMES, MIN_SIDE, MIN_SIDE)

    @property
    def tile(self) -> Extent:
        """The published evaluation's tile for such a network.

        With spikes as many frames as a window's, which are those of training: among more, attention over time would
        not find a frame's own spikes.
        """
        if self.interpolates or self.bins is not None:
            return Extent(max(self.window, MIN_FRAMES), 256, 256)
        if self.upscale == 1:
            return Extent(12, 256, 256)
        return Extent(40 if self.window <= 6 else 32, 128, 128)

    @property
    def overlap(self) -> Extent:
        """The published evaluation's overlap; clips to interpolate in always follow each other frame by frame."""
        return Extent(self.window - 1 if self.interpolates else min(2, self.tile.frames - 1), 20, 20)

    def length(self, count: int, *, passes: int = 1) -> int:
        """How many restored frames there are of `count` frames."""
        return (count - 1) * 2**passes + 1 if self.interpolates else count

    def check_sigma(self, sigma: float | None) -> None:
        """Raises InputError unless a noise level is given exactly where the network takes one, and is sensible."""
        if self.noise_level and sigma is None:
            raise InputError("expected a sigma: the network is told the noise's standard deviation (of 255)")
        if not self.noise_level and sigma is not None:
            raise InputError("expected no sigma, the network takes no noise level")
        if sigma is not None and not 0 <= sigma <= 255:
            raise InputError(f"expected a sigma from 0 to 255, found {sigma:g}")


def traits_of(model: Restorer) -> NetworkTraits:
    """The task of a network.

    Raises:
        InputError: it interpolates more than one frame, or with spikes.
    """
    config = model.vrt.config
    interpolates = config.reach == 0
    if interpolates and (config.output_channels != 3 or model.spike_bins is not None):
        raise InputError("expected a network that interpolates one frame and takes no spikes")
    return NetworkTraits(
        upscale=config.upscale,
        noise_level=config.noise_map,
        bins=model.spike_bins,
        window=config.window[0],
        interpolates=interpolates,
    )
