"""Tests of the spikes' size against the pictures'."""

import pytest

from spikejax.data.spikes.resolution import spike_ratio
from spikejax.errors import InputError


@pytest.mark.parametrize(("spikes", "ratio"), [((48, 64), 1), ((24, 32), 2), ((12, 16), 4)])
def test_whole_parts(spikes: tuple[int, int], ratio: int) -> None:
    """Catches another factor than that of both sides."""
    assert spike_ratio((48, 64), spikes, source="here") == ratio


@pytest.mark.parametrize("spikes", [(24, 64), (48, 32), (96, 128), (20, 27), (0, 0), (49, 64)])
def test_other_sizes_are_refused(spikes: tuple[int, int]) -> None:
    """Catches spikes that are stretched, that are larger than the pictures, or divided by zero; and a silent place."""
    size = f"{spikes[0]}x{spikes[1]}"
    with pytest.raises(InputError, match=f"size 48x64 .* or a whole part of it, found {size}: some/spikes"):
        spike_ratio((48, 64), spikes, source="some/spikes")
