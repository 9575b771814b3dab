"""Restoring a frame with other spikes than its own."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.inference.other_spikes import restore_with_other_spikes
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.inference.voxel_source import VoxelSource
from spikejax.io.frame_source import FrameSource, open_frames
from spikejax.io.pictures import write_picture
from spikejax.models.traits import NetworkTraits

FRAMES, SIDE, BINS = 9, 16, 2


class Shown(nnx.Module):
    """The number of spikes in the first bin as red, of 255, and the clip's own green."""

    def __call__(self, clip: jax.Array, voxels: jax.Array, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        counts = jnp.expm1(voxels[..., :1]) / 255
        return jnp.concatenate([counts, clip[..., 1:2], 0 * counts], axis=-1)


@pytest.fixture
def source(tmp_path: Path) -> tuple[FrameSource, VoxelSource]:
    """Frames that are as green, and have as many spikes a pixel, as their number says: 10 N and 10 N + 5."""
    for number in range(FRAMES):
        folder = tmp_path / "blur"
        folder.mkdir(exist_ok=True)
        write_picture(folder / f"{number}.png", np.full((SIDE, SIDE, 3), 10 * number, np.uint8))
        (tmp_path / "voxels").mkdir(exist_ok=True)
        np.save(tmp_path / "voxels" / f"{number}.npy", np.full((BINS, SIDE, SIDE), 10 * number + 5, np.uint8))
    frames = open_frames(tmp_path / "blur")
    return frames, VoxelSource(tmp_path / "voxels", frames, bins=BINS)


@pytest.mark.parametrize("length", [0, 2, 3])
@pytest.mark.parametrize("number", [0, 1, 4, FRAMES - 1])
def test_a_frame_has_its_neighbours_spikes(source: tuple[FrameSource, VoxelSource], number: int, length: int) -> None:
    """Catches spikes of a frame further on, of the clip's end, or a frame that is another one of its clip."""
    statistics = SpikeStatistics(BINS, mean=0.0, std=1.0, windows=1)
    tile, overlap = Extent(length, 0, 0), Extent(1, 0, 0)
    traits = NetworkTraits(spike_bins=BINS)
    restorer = VideoRestorer(Shown(), traits, statistics=statistics, tile=tile, overlap=overlap)
    answers = restore_with_other_spikes(restorer, *source, number, count=FRAMES, tile=tile, overlap=overlap)
    expected = {"own": 10 * number + 5, "previous": 10 * number - 5, "next": 10 * number + 15, "none": 0}
    if number == 0:
        del expected["previous"]
    if number == FRAMES - 1:
        del expected["next"]
    assert {name: int(picture[0, 0, 0]) for name, picture in answers.items()} == expected
    for picture in answers.values():
        assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
        assert (picture[..., 1] == 10 * number).all()
