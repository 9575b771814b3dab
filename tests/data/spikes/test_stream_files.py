"""Tests of spike files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikejax.data.spikes.stream_files import (
    PackedSpikes,
    count_frames,
    pack,
    read_dat,
    write_dat,
    write_packed,
)
from spikejax.errors import InputError
from spikejax.io.box import Box

REAL = Path(__file__).parents[1] / "real"


def random_spikes(*shape: int, seed: int = 0) -> np.ndarray:
    """0 and 1 with even odds."""
    return np.random.default_rng(seed).integers(0, 2, shape).astype(np.uint8)


def test_real_stream_correlates_with_its_picture() -> None:
    """Catches a wrong bit order, pixel order or row order: without the flip the correlation is about -0.1."""
    spikes = read_dat(REAL / "frames_131_to_170.dat", height=250, width=400)
    picture = np.asarray(Image.open(REAL / "sharp_151.png").convert("L")).astype(np.float64)
    rate = spikes.mean(axis=0)
    assert spikes.shape == (40, 250, 400)
    assert np.corrcoef(rate.ravel(), picture.ravel())[0, 1] > 0.98
    assert np.corrcoef(rate[::-1].ravel(), picture.ravel())[0, 1] < 0.2


@pytest.mark.parametrize(("height", "width"), [(4, 16), (5, 24), (8, 3), (2, 12)])
def test_bits_lie_where_the_format_says(tmp_path: Path, height: int, width: int) -> None:
    """Catches any difference from a bit-by-bit reading of the format, also where rows do not start at bytes."""
    content = np.random.default_rng(1).bytes(3 * height * width // 8)
    path = tmp_path / "a.dat"
    path.write_bytes(content)
    expected = np.zeros((3, height, width), np.uint8)
    for frame in range(3):
        for row in range(height):
            for column in range(width):
                pixel = row * width + column
                byte = content[frame * height * width // 8 + pixel // 8]
                expected[frame, height - 1 - row, column] = (byte >> (pixel % 8)) & 1
    np.testing.assert_array_equal(read_dat(path, height=height, width=width), expected)
    write_dat(tmp_path / "b.dat", expected)
    assert (tmp_path / "b.dat").read_bytes() == content


@pytest.mark.parametrize(
    ("shape", "stored_width"),
    [((3, 6, 8), None), ((1, 8, 5), None), ((2, 4, 400), 416), ((2, 10, 400), None), ((2, 1000, 1000), None)],
)
def test_round_trip(tmp_path: Path, shape: tuple[int, ...], stored_width: int | None) -> None:
    """Catches a writer and a reader that disagree, in every known layout."""
    spikes = random_spikes(*shape)
    path = tmp_path / "a.dat"
    write_dat(path, spikes, stored_width=stored_width)
    read = read_dat(path, height=shape[1], width=shape[2], stored_width=stored_width)
    np.testing.assert_array_equal(read, spikes)
    assert read.flags.c_contiguous and read.dtype == np.uint8


def test_padding_columns_are_dropped(tmp_path: Path) -> None:
    """Catches the wrong columns of the two cameras that store more than they see."""
    stored = random_spikes(2, 250, 416)
    write_dat(tmp_path / "head.dat", stored)
    np.testing.assert_array_equal(read_dat(tmp_path / "head.dat", height=250, width=400), stored[..., :400])
    stored = random_spikes(1, 1000, 1024)
    write_dat(tmp_path / "large.dat", stored)
    expected = np.concatenate([stored[..., :500], stored[..., 512:1012]], axis=-1)
    np.testing.assert_array_equal(read_dat(tmp_path / "large.dat", height=1000, width=1000), expected)


def test_ambiguous_sizes(tmp_path: Path) -> None:
    """Catches a guess that changes: 26 plain frames are 25 padded ones; 125 camera frames are 128 plain ones."""
    path = tmp_path / "a.dat"
    path.write_bytes(bytes(26 * 12_500))
    assert count_frames(path, height=250, width=400) == 26
    assert count_frames(path, height=250, width=400, stored_width=416) == 25
    path.write_bytes(bytes(128_000))
    assert count_frames(path, height=1000, width=1000) == 1


@pytest.mark.parametrize(("height", "width"), [(12, 16), (8, 13)])
def test_boxes_and_windows_are_parts_of_the_whole(tmp_path: Path, height: int, width: int) -> None:
    """Catches a part that is read from the wrong rows (they are stored upside down), columns or frames."""
    spikes = random_spikes(7, height, width)
    path = tmp_path / "a.dat"
    write_dat(path, spikes)
    box = Box(top=2, left=5, height=4, width=7)
    read = read_dat(path, height=height, width=width, box=box, window=(2, 6))
    np.testing.assert_array_equal(read, spikes[2:6, 2:6, 5:12])
    with pytest.raises(InputError, match="at least 8 spike frames .*, found 7"):
        read_dat(path, height=height, width=width, window=(5, 8))


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    """Catches messages without the file, its size and the frame's, and damage that passes silently."""
    path = tmp_path / "cut.dat"
    path.write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"32 bytes \(16x16\), found 100 bytes = 3.12 frames.*cut\.dat"):
        read_dat(path, height=16, width=16)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"empty.*cut\.dat"):
        read_dat(path, height=16, width=16)
    with pytest.raises(InputError, match=r"found none.*absent\.dat"):
        read_dat(tmp_path / "absent.dat", height=16, width=16)
    with pytest.raises(InputError, match="multiple of 8, found 3x3"):
        write_dat(path, random_spikes(1, 3, 3))
    with pytest.raises(InputError, match="0 and 1, found 2"):
        write_dat(path, np.full((1, 8, 8), 2, np.uint8))
    with pytest.raises(InputError, match="stored width"):
        write_dat(path, random_spikes(1, 8, 8), stored_width=16)
    assert [file.name for file in tmp_path.iterdir()] == ["cut.dat"]


@pytest.mark.parametrize(("height", "width", "stored_width"), [(6, 8, 8), (5, 400, 416), (1000, 1000, 1024)])
@pytest.mark.parametrize("packed_again", [False, True])
@pytest.mark.parametrize("upside_down", [False, True])
def test_packed_spikes_are_written_as_unpacked(
    tmp_path: Path, height: int, width: int, stored_width: int, packed_again: bool, upside_down: bool
) -> None:
    """Catches rows upside down, padding columns that are kept or lost, and what stood in them."""
    frames = np.random.default_rng(0).integers(0, 256, (2, height * stored_width // 8)).astype(np.uint8)
    packed = PackedSpikes(frames, height, width, stored_width, upside_down)
    plain = PackedSpikes(frames, height, width, stored_width).unpack()
    np.testing.assert_array_equal(packed.unpack(), plain[:, ::-1] if upside_down else plain)
    if packed_again:
        packed = pack(packed.unpack())
    write_packed(tmp_path / "packed.dat", packed)
    write_dat(tmp_path / "unpacked.dat", packed.unpack())
    assert (tmp_path / "packed.dat").read_bytes() == (tmp_path / "unpacked.dat").read_bytes()


def test_packed_frames_of_odd_size_are_refused(tmp_path: Path) -> None:
    """Catches a file that no reader takes: its frames do not end at bytes."""
    with pytest.raises(InputError, match="multiple of 8, found 3x5"):
        write_packed(tmp_path / "odd.dat", pack(np.zeros((2, 3, 5), np.uint8)))
    assert not (tmp_path / "odd.dat").exists()
