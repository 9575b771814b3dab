"""Tests of picture files: their depth, their size, and what is written."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from spikejax.errors import InputError
from spikejax.io.pictures import is_deep, picture_header, picture_size, read_picture, write_picture
from spikejax.io.still_pictures import read_still


def pixels(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Random values of the whole range."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(
    ("picture", "mode", "deep"),
    [
        (pixels(6, 8, 3), "RGB", False),
        (pixels(6, 8), "L", False),
        (pixels(6, 8, 3, dtype=np.uint16), "RGB;16", True),
        (pixels(6, 8, dtype=np.uint16), "I;16", True),
    ],
)
def test_header_tells_the_depth(tmp_path: Path, suffix: str, picture: np.ndarray, mode: str, deep: bool) -> None:
    """Catches 16 bits read as 8 without a word: Pillow calls such colour RGB."""
    path = tmp_path / f"picture{suffix}"
    assert cv2.imwrite(str(path), picture)
    assert picture_header(path) == (mode, (6, 8))
    assert is_deep(path) == deep
    if deep:
        with pytest.raises(InputError, match=f"8 bits a channel, found mode '{mode}'"):
            read_picture(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_frames_are_read_as_written(tmp_path: Path, dtype: type) -> None:
    """Catches exchanged channels, and a depth that is lost."""
    frame = pixels(5, 7, 3, dtype=dtype)
    write_picture(tmp_path / "frame.png", frame)
    again = read_still(tmp_path / "frame.png").frame
    np.testing.assert_array_equal(again, frame)
    assert again.dtype == dtype


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    """Catches a picture with one or four channels where three are expected."""
    grey = pixels(5, 7)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.stack([grey] * 3, axis=-1))
    colour = pixels(5, 7, 4)
    Image.fromarray(colour, "RGBA").save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "alpha.png"), colour[..., :3])


def test_pictures_held_upright(tmp_path: Path) -> None:
    """Catches a phone's picture that lies on its side, and a header that says another size than the frame has."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(pixels(8, 12, 3))
    picture.save(tmp_path / "phone.png", exif=exif)
    frame = read_still(tmp_path / "phone.png").frame
    assert frame.shape == (12, 8, 3) and picture_size(tmp_path / "phone.png") == (12, 8)
    np.testing.assert_array_equal(frame, np.rot90(np.asarray(picture), -1))
    assert picture_header(tmp_path / "phone.png")[1] == (8, 12)  # as stored


@pytest.mark.parametrize("read", [read_picture, read_still, picture_size, picture_header, is_deep])
def test_what_is_no_picture_is_one_line(tmp_path: Path, read: object) -> None:
    """Catches the traceback of a decoder."""
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"expected a picture, cannot decode .*text\.png"):
        read(tmp_path / "text.png")  # type: ignore[operator]
