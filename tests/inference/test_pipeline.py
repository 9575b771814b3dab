import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from spikejax.inference.pipeline import Sample, restore_stream
from spikejax.inference.tiling import Extent


def clip_of(length: int, height: int = 40, width: int = 56) -> np.ndarray:
    """Random frames."""
    return np.random.default_rng(0).integers(0, 256, (length, height, width, 3), dtype=np.uint8)


class Recorder:
    """Stands in for a network that changes nothing, and remembers the shapes it was called with."""

    def __init__(self) -> None:
        self.shapes: set[tuple[int, ...]] = set()

    def __call__(self, blur: np.ndarray, voxels: np.ndarray | None) -> np.ndarray:
        """Is a `ClipRestorer`."""
        self.shapes.add(blur.shape)
        return blur.astype(np.float32) / 255


@pytest.mark.parametrize("length", [4, 5, 9, 10])
def test_tiles_are_put_back_where_they_were_cut(length: int) -> None:
    """Catches frames, rows or columns that are shifted, lost, doubled or scaled by the blending."""
    clip, network = clip_of(length), Recorder()
    tile, overlap = Extent(4, 16, 24), Extent(1, 4, 6)
    restored = list(restore_stream(map(Sample, clip), network, tile=tile, overlap=overlap))
    np.testing.assert_array_equal(np.stack([sample.blur for sample, _ in restored]), clip)
    np.testing.assert_array_equal(np.stack([frame for _, frame in restored]), clip)
    assert network.shapes == {(4, 16, 24, 3)}


def test_one_tile_equals_the_network_alone() -> None:
    """Catches any change to the network's answer where nothing needs to be blended."""
    clip = clip_of(4)
    rng = np.random.default_rng(1)
    answer = rng.random(clip.shape, np.float32)
    restored = restore_stream(map(Sample, clip), lambda *_: answer, tile=Extent(4, 40, 56), overlap=Extent(1, 8, 8))
    np.testing.assert_array_equal(np.stack([frame for _, frame in restored]), np.rint(answer * 255).astype(np.uint8))


def test_neighbouring_clips_fade_into_each_other() -> None:
    """Catches a cut in time: the weights at the overlap's two frames are 2:1 and 1:2 (its share is the taper's)."""
    answers = itertools.count()
    network = lambda blur, _: np.full(blur.shape, 0.9 * next(answers), np.float32)  # noqa: E731
    clip = clip_of(8, 16, 16)
    restored = restore_stream(map(Sample, clip), network, tile=Extent(5, 16, 16), overlap=Extent(2, 0, 0))
    levels = [int(frame[0, 0, 0]) for _, frame in restored]
    assert levels == [0, 0, 0, round(0.3 * 255), round(0.6 * 255), 230, 230, 230]


def test_voxels_of_half_the_resolution_are_cut_with_the_frames() -> None:
    """Catches voxels of another place or time than the tile's frames."""
    clip = clip_of(6)
    voxels = clip[:, ::2, ::2].astype(np.float32)
    seen = []

    def network(blur: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        assert counts is not None
        seen.append(np.array_equal(counts, blur[:, ::2, ::2].astype(np.float32)))
        return np.zeros(blur.shape, np.float32)

    list(restore_stream(map(Sample, clip, voxels), network, tile=Extent(4, 16, 24), overlap=Extent(1, 4, 6)))
    assert len(seen) == 2 * 3 * 3
    assert all(seen)


def test_memory_does_not_grow_with_the_length() -> None:
    """Catches frames that are read long before they are needed."""
    read = []

    def samples() -> Iterator[Sample]:
        for index, frame in enumerate(clip_of(40, 16, 16)):
            read.append(index)
            yield Sample(frame)

    tile = Extent(5, 16, 16)
    restored = restore_stream(samples(), Recorder(), tile=tile, overlap=Extent(1, 0, 0))
    ahead = [len(read) - written for written, _ in enumerate(restored)]
    assert len(ahead) == 40
    assert max(ahead) <= 2 * tile.frames
