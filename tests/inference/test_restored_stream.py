"""How a stream is cut up, and what is compiled for it; test_video_restorer.py has what comes out."""

from dataclasses import replace

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.inference.clip_blending import InputFrame
from spikejax.inference.restored_stream import ClipNetwork, RestoredStream
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import RestoreSettings
from spikejax.models.traits import NetworkTraits
from tests.inference.small_input import Brighten, restorer_of

CLIP = np.random.default_rng(0).integers(0, 120, (7, 36, 52, 3), dtype=np.uint8)
SETTINGS = restorer_of(Brighten(None)).settings(RestoreSettings())


def stream_of(network: ClipNetwork, *, done: int = 0, **changes: object) -> RestoredStream:
    """The restored clip."""
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return RestoredStream(network, lambda start: map(InputFrame, CLIP[start:]), settings, done=done)


def test_tiles_are_cut_down_to_the_frames() -> None:
    """Catches a program compiled for more rows than there are, or an overlap where there is no neighbour."""
    network = ClipNetwork(Brighten(None), NetworkTraits(), None)
    plan = stream_of(network, tile=Extent(4, 64, 0), overlap=Extent(1, 40, 60)).plan
    assert (plan.tile, plan.overlap) == (Extent(4, 36, 52), Extent(1, 35, 51))


def test_a_program_is_compiled_once() -> None:
    """Catches minutes of compiling for the second clip of a size, and the search's time that is not counted."""
    network = ClipNetwork(Brighten(None), NetworkTraits(), None)
    first = stream_of(network)
    assert first.compile_seconds > 0
    second = stream_of(network)
    assert second.compile_seconds == 0
    assert second.device_bytes == first.device_bytes
    assert stream_of(network, tile=Extent(3, 24, 32)).compile_seconds > 0


@pytest.mark.parametrize("done", [0, 1, 4, 6, 7])
def test_going_on_gives_the_same_frames(done: int) -> None:
    """Catches frames that depend on where a run was stopped."""
    network = ClipNetwork(Brighten(None), NetworkTraits(), None)
    whole = [frame for _, frame, *_ in stream_of(network)]
    rest = [frame for _, frame, *_ in stream_of(network, done=done)]
    assert len(rest) == 7 - done
    for expected, frame in zip(whole[done:], rest, strict=True):
        np.testing.assert_array_equal(frame, expected)


def test_spikes_of_half_the_resolution_bound_the_tiles() -> None:
    """Catches a tile that starts or ends inside a spike's pixel."""
    network = ClipNetwork(Brighten(4), NetworkTraits(spike_bins=4), None)
    counts = np.zeros((7, 18, 26, 4), np.uint8)
    settings = replace(SETTINGS, tile=Extent(4, 24, 33))
    with pytest.raises(InputError, match="sides that are multiples of 2, .* found tiles of 4,24,33"):
        RestoredStream(network, lambda start: map(InputFrame, CLIP[start:], counts[start:]), settings)
