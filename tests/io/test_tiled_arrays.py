"""Tests of frames kept as arrays in tiles."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.tiled_arrays import compressed_size, create_frames, frame_file, open_frames_array


def random_counts(shape: tuple[int, ...], largest: int) -> np.ndarray:
    """Counts with an empty corner, as a dark place gives them."""
    counts = np.random.default_rng(0).integers(0, largest + 1, shape)
    counts[..., :70, :70, :] = 0
    return counts.astype(np.uint8 if largest < 256 else np.uint16)


@pytest.mark.parametrize(
    ("shape", "largest"), [((2, 130, 200, 32), 3), ((3, 72, 65, 3), 255), ((1, 9, 8, 5), 400), ((2, 64, 64, 7), 1)]
)
def test_what_is_written_is_read(tmp_path: Path, shape: tuple[int, int, int, int], largest: int) -> None:
    """Catches tiles in the wrong place, sides that are no multiple of the tile, and numbers above 255 cut off."""
    counts = random_counts(shape, largest)
    array = create_frames(tmp_path / "a.zarr", shape, largest=largest)
    for index in reversed(range(shape[0])):
        array.write(index, counts[index])
    found = open_frames_array(tmp_path / "a.zarr")
    assert found.shape == shape and found.dtype == counts.dtype
    np.testing.assert_array_equal(found.read(0, shape[0]), counts)
    box = Box(3, 1, 6, 7)
    np.testing.assert_array_equal(found.read(shape[0] - 1, shape[0], box), counts[-1:, 3:9, 1:8])
    assert frame_file(tmp_path / "a.zarr", 0).stat().st_size == compressed_size(counts[0])


def test_spikes_take_less_than_a_tenth(tmp_path: Path) -> None:
    """Catches a codec that is switched off: counts of 0 to 3 of an unpredictable scene fit a fifteenth of float32."""
    counts = np.random.default_rng(0).binomial(3, 0.25, (128, 128, 32)).astype(np.uint8)
    assert compressed_size(counts) < counts.size * 4 / 15


def test_a_crop_does_not_read_the_other_tiles(tmp_path: Path) -> None:
    """Catches crops that decode whole frames: damage elsewhere in the file must not be seen, damage here must."""
    counts = random_counts((1, 128, 256, 8), 3)
    array = create_frames(tmp_path / "a.zarr", counts.shape)
    array.write(0, counts[0])
    file = frame_file(tmp_path / "a.zarr", 0)
    content = bytearray(file.read_bytes())
    content[40] ^= 255  # within the first tile
    file.write_bytes(content)
    np.testing.assert_array_equal(array.read(0, 1, Box(64, 128, 64, 64)), counts[:, 64:, 128:192])
    with pytest.raises(InputError, match=r"frames 0 to 0, whole, found .*a\.zarr"):
        array.read(0, 1, Box(0, 0, 8, 8))


def test_damage_is_one_clear_error(tmp_path: Path) -> None:
    """Catches missing frames read as darkness, truncated files, foreign folders, and errors of several lines."""
    counts = random_counts((2, 70, 70, 8), 3)
    path = tmp_path / "a.zarr"
    array = create_frames(path, counts.shape)
    array.write(1, counts[1])
    assert not frame_file(path, 0).exists()
    with pytest.raises(InputError, match=r"frames 0 to 1, whole, found .*missing.*a\.zarr") as caught:
        open_frames_array(path).read(0, 2)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    content = frame_file(path, 1).read_bytes()
    frame_file(path, 1).write_bytes(content[:-20])
    with pytest.raises(InputError, match=r"whole, found .*a\.zarr"):
        open_frames_array(path).read(1, 2)
    with pytest.raises(InputError, match=r"expected an array of frames, found .*b\.zarr"):
        open_frames_array(tmp_path / "b.zarr")
    with pytest.raises(InputError, match=r"\(3, 70, 70, 8\).*a\.zarr"):
        create_frames(path, (3, 70, 70, 8))
    with pytest.raises(InputError, match="at most 65535"):
        create_frames(path, (2, 70, 70, 8), largest=70_000)
    metadata = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**metadata, "data_type": "int8"}))
    with pytest.raises(InputError, match="small whole numbers"):
        open_frames_array(path)


def test_a_path_that_is_no_text(tmp_path: Path) -> None:
    """Catches a traceback of the storage library for the name of a folder whose bytes are not UTF-8."""
    path = tmp_path / os.fsdecode(b"clip \xfc") / "a.zarr"
    with pytest.raises(InputError, match=r"expected a path that is UTF-8, found one that is not: .*a\.zarr"):
        create_frames(path, (2, 70, 70, 3))
    with pytest.raises(InputError, match=r"expected a path that is UTF-8, found one that is not: .*a\.zarr"):
        open_frames_array(path)
