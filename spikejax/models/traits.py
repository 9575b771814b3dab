"""What a network does to a clip, as everything around it needs to know: data, training, planning, restoring.

A network offers its traits as the attribute `traits`; nobody else looks into its configuration.
"""

from dataclasses import dataclass
from typing import Any

from spikejax.errors import InputError


@dataclass(frozen=True)
class NetworkTraits:
    """The outside of a network.

    Attributes:
        upscale: height and width of the restored frames over those of the clip.
        interpolates: whether the answer is the one frame in the middle of a clip of `window` frames.
        noise_level: whether the clip's last channel holds the standard deviation of the noise, over 255.
        window: frames that the network compares at once; a clip of super-resolution or interpolation has as many.
        spike_bins: time bins of the voxels that the network takes, None if it takes none.
        spike_normalise: how it wants their counts normalised, "statistics", "clip" or "none"; see
            `voxels.standardise`.
        picture_channels: of the clip without the noise level.
        min_frames: frames of the shortest clip.
        min_side: rows and columns of the smallest frame.
        side_multiple: rows and columns of which the network makes no others for itself: its scales and windows divide
            them.
    """

    upscale: int = 1
    interpolates: bool = False
    noise_level: bool = False
    window: int = 1
    spike_bins: int | None = None
    spike_normalise: str = "statistics"
    picture_channels: int = 3
    min_frames: int = 2
    min_side: int = 16
    side_multiple: int = 8

    @property
    def input_channels(self) -> int:
        """The channels of the clip that the network takes."""
        return self.picture_channels + self.noise_level

    @property
    def needs_statistics(self) -> bool:
        """Whether it takes spikes, and their counts are standardised."""
        return self.spike_bins is not None and self.spike_normalise != "none"

    def restored_count(self, frames: int, *, passes: int = 1) -> int:
        """How many restored frames there are of `frames` frames, interpolated `passes` times."""
        return (frames - 1) * 2**passes + 1 if self.interpolates else frames

    def check_sigma(self, sigma: float | None) -> None:
        """Raises InputError unless a noise level is given exactly where the network takes one, and is sensible."""
        if self.noise_level and sigma is None:
            raise InputError(
                "expected a sigma (--sigma), the noise's standard deviation of 255, for a network that is given it, "
                "found none"
            )
        if not self.noise_level and sigma is not None:
            raise InputError(f"expected no sigma, since the network takes no noise level, found {sigma:g}")
        if sigma is not None and not 0 <= sigma <= 255:
            raise InputError(f"expected a sigma from 0 to 255, found {sigma:g}")


def traits_of(network: Any) -> NetworkTraits:
    """The traits that a network offers; one that offers none restores frames as they are, with its `spike_bins`."""
    traits = getattr(network, "traits", None)
    if traits is not None:
        return traits
    return NetworkTraits(spike_bins=network.spike_bins if network.needs_spikes else None)
