"""Which file and window a frame's spikes are in."""

from pathlib import Path

import numpy as np
import pytest

from spikejax.data.datasets.frame_spikes import FrameSpikes, find_spike_size
from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.data.spikes.voxels import voxelise
from spikejax.errors import InputError
from spikejax.io.box import Box

HEIGHT, WIDTH, STEPS = 6, 16, 12


@pytest.fixture
def spikes() -> np.ndarray:
    """A stream."""
    return np.random.default_rng(0).integers(0, 2, (STEPS, HEIGHT, WIDTH)).astype(np.uint8)


def test_counts_are_those_of_the_window(tmp_path: Path, spikes: np.ndarray) -> None:
    """Catches counts of the whole stream, of another box, and a cache with other bins that is taken."""
    write_dat(tmp_path / "a.dat", spikes)
    frame = FrameSpikes(tmp_path / "a.dat", (4, 10), HEIGHT, WIDTH)
    expected = voxelise(spikes[4:10], 3)
    assert frame.steps == 6
    np.testing.assert_array_equal(frame.counts(3), expected)
    np.testing.assert_array_equal(frame.counts(3, Box(1, 8, 4, 8)), expected[1:5, 8:])
    np.save(tmp_path / "a.npy", np.full((3, HEIGHT, WIDTH), 7, np.float32))
    cached = FrameSpikes(tmp_path / "a.dat", (4, 10), HEIGHT, WIDTH, tmp_path / "a.npy")
    assert (cached.counts(3, Box(0, 0, 2, 4)) == 7).all() and cached.counts(3).shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(cached.counts(2), voxelise(spikes[4:10], 2))


@pytest.mark.parametrize("array", [np.zeros((3, HEIGHT, WIDTH)), np.zeros((3, WIDTH, HEIGHT), np.float32), None])
def test_a_cache_that_is_none_is_one_line(tmp_path: Path, spikes: np.ndarray, array: np.ndarray | None) -> None:
    """Catches a cache of another type or size, or half of one, that is read as counts or ends in a traceback."""
    write_dat(tmp_path / "a.dat", spikes)
    if array is None:
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    else:
        np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=r"expected .*voxels.*, found .*a\.npy"):
        FrameSpikes(tmp_path / "a.dat", (0, STEPS), HEIGHT, WIDTH, tmp_path / "a.npy").counts(3)


def test_the_size_is_what_the_configuration_says(tmp_path: Path) -> None:
    """Catches spikes of half the pictures' size that are read at full size, and sizes that do not divide."""
    (tmp_path / "spike").mkdir()
    with pytest.raises(InputError, match=r"expected the size of the spikes \(a config\.yaml .*found none: .*spike"):
        find_spike_size(tmp_path, 12, 32)
    write_config(tmp_path / "spike", StreamConfig(HEIGHT, WIDTH))
    assert find_spike_size(tmp_path, 12, 32).shape == (HEIGHT, WIDTH)
    with pytest.raises(InputError, match=r"found 6x16: .*config\.yaml"):
        find_spike_size(tmp_path, 13, 32)
