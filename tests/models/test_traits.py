"""What a network says of itself."""

import pytest

from spikejax.errors import InputError
from spikejax.models.traits import NetworkTraits, traits_of


class Plain:
    """A network that says only which spikes it takes."""

    needs_spikes, spike_bins = True, 4


class Own(Plain):
    """One that says everything."""

    traits = NetworkTraits(upscale=4, window=6)


def test_a_network_without_traits_restores_frames_as_they_are() -> None:
    """Catches traits that are required of every stand-in, and ones that a network offers but nobody reads."""
    assert traits_of(Plain()) == NetworkTraits(spike_bins=4)
    assert traits_of(Own()) == NetworkTraits(upscale=4, window=6)


@pytest.mark.parametrize(
    ("traits", "passes", "count"),
    [(NetworkTraits(), 1, 5), (NetworkTraits(interpolates=True), 1, 9), (NetworkTraits(interpolates=True), 2, 17)],
)
def test_restored_frames_are_counted(traits: NetworkTraits, passes: int, count: int) -> None:
    """Catches a frame too many at the end of an interpolated video."""
    assert traits.restored_count(5, passes=passes) == count


def test_the_noise_level_is_a_channel() -> None:
    """Catches a plan or a batch of three channels for a network that takes four."""
    assert NetworkTraits(noise_level=True).input_channels == 4
    assert NetworkTraits().input_channels == 3


@pytest.mark.parametrize(
    ("noise_level", "sigma", "message"),
    [
        (True, None, r"expected a sigma \(--sigma\), .*, found none"),
        (False, 10, "expected no sigma, .* found 10"),
        (True, 256, "expected a sigma from 0 to 255, found 256"),
        (True, -1, "expected a sigma from 0 to 255, found -1"),
    ],
)
def test_a_noise_level_that_does_not_fit(noise_level: bool, sigma: float | None, message: str) -> None:
    """Catches a noise level that is ignored, missing, or in units of the picture's range."""
    with pytest.raises(InputError, match=message):
        NetworkTraits(noise_level=noise_level).check_sigma(sigma)
    NetworkTraits(noise_level=True).check_sigma(255)
