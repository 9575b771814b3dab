import numpy as np
import pytest

from spikejax.inference.tiling import Extent, overlapping_clips, spatial_tiles, taper, tile_starts


@pytest.mark.parametrize(("length", "tile", "overlap"), [(64, 64, 20), (65, 64, 20), (720, 256, 20), (100, 16, 0)])
def test_tiles_cover_an_axis(length: int, tile: int, overlap: int) -> None:
    """Catches gaps, tiles that reach beyond the frame, and a smaller overlap than asked for."""
    starts = tile_starts(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] + tile == length
    assert all(0 < after - before <= tile - overlap for before, after in zip(starts, starts[1:], strict=False))


def test_no_more_tiles_than_needed() -> None:
    """Catches a last tile that lies on the one before."""
    assert tile_starts(64, 64, 20) == [0]
    assert tile_starts(108, 64, 20) == [0, 44]


def test_spatial_weights_sum_to_one() -> None:
    """Catches brighter or darker seams; three tiles overlap in places here, four at the crossings."""
    height, width = 75, 90
    total = np.zeros((height, width, 1))
    for tile in spatial_tiles(height, width, tile=Extent(2, 32, 32), overlap=Extent(0, 12, 20)):
        total[tile.box.slices] += tile.weights
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_weights_fall_towards_the_edges() -> None:
    """Catches a plain average, whose seams show, and weights of zero, which divide by zero at the frame's edge."""
    np.testing.assert_allclose(taper(6, 2), [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3])
    np.testing.assert_array_equal(taper(3, 0), [1, 1, 1])


@pytest.mark.parametrize("length", [2, 5, 6, 11, 12, 13])
def test_clips_cover_a_stream_like_tiles_cover_an_axis(length: int) -> None:
    """Catches a stream's last frames lost, doubled or in a clip of another length."""
    clips = list(overlapping_clips(iter(range(length)), frames=5, overlap=2))
    frames = min(5, length)
    starts = tile_starts(length, frames, 2 if length > 5 else 0)
    assert [clip for clip, _ in clips] == [list(range(start, start + frames)) for start in starts]
    assert [before_next for _, before_next in clips] == [*np.diff(starts).tolist(), frames]


def test_an_empty_stream_has_no_clips() -> None:
    """Catches an empty clip, which has no frame to take a size from."""
    assert list(overlapping_clips([], frames=5, overlap=2)) == []
