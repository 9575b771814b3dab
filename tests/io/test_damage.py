"""What `scripts/fuzz.py` has found: damage that a library answers with an error, or a text, of its own."""

import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from spikejax.data.datasets.layout import read_alignment, read_dropped
from spikejax.data.spikes.any_stream import read_spikes
from spikejax.errors import InputError
from spikejax.inference.voxel_source import _load_counts
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import is_deep, picture_header, picture_size, read_picture
from spikejax.io.still_pictures import read_still


def damaged_png(path: Path) -> None:
    """A PNG whose header has three bytes, with the right sum."""
    Image.new("RGB", (8, 8)).save(path)
    content = path.read_bytes()
    chunk = b"IHDR" + content[16:19]
    path.write_bytes(content[:8] + struct.pack(">I", 3) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:])


@pytest.mark.parametrize("read", [read_picture, read_still, picture_size, picture_header, is_deep])
def test_a_picture_that_its_reader_answers_with_an_error_of_its_own(tmp_path: Path, read: Callable) -> None:
    """Catches the traceback of a decoder of Pillow's, whose errors have no common class (here a ValueError)."""
    damaged_png(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"expected a picture, cannot decode .*a\.png: Truncated IHDR chunk"):
        read(tmp_path / "a.png")


# Headers of the length of the right one: what NumPy reads them with fails at each in another way.
HEADERS = {
    "TokenError": b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), ",
    "SyntaxError": b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4)) }",
    "OverflowError": b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 3, 4), }",
    "MemoryError": b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999, 3, 4), }",
    "ValueError": b"\xff\xfe",
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_whose_header_is_damaged(tmp_path: Path, kind: str, suffix: str) -> None:
    """Catches the traceback of NumPy's reader of headers, in whatever reads arrays."""
    whole = tmp_path / "whole.npy"
    np.save(whole, np.zeros((2, 3, 4), np.float32))
    content = whole.read_bytes()
    (length,) = struct.unpack("<H", content[8:10])
    damaged = content[:10] + HEADERS[kind].ljust(length) + content[10 + length :]
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("spikes.npy", damaged)
    else:
        path.write_bytes(damaged)
    reads = [lambda: read_spikes(path, height=3, width=4)]
    if suffix == ".npy":
        reads.append(lambda: _load_counts(path))
    for read in reads:
        with pytest.raises(InputError, match="damaged one"):
            read()


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"sequence,frame\n", b"sequence,frame,reason\n\xff,1,2\n", b"x" * 200000]
)
@pytest.mark.parametrize(("name", "read"), [("alignment.csv", read_alignment), ("dropped.csv", read_dropped)])
def test_a_table_that_is_damaged(tmp_path: Path, name: str, read: Callable, content: bytes) -> None:
    """Catches the traceback of a table of other bytes, without a column, or with a field without an end."""
    (tmp_path / name).write_bytes(content + b"\na,b,c\n")
    with pytest.raises(InputError, match=rf"expected .*{name}"):
        read(tmp_path)


def test_a_film_whose_title_is_of_another_encoding(tmp_path: Path) -> None:
    """Catches a video that is refused, with a traceback, for the letters of its title."""
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        container.metadata["title"] = "TITLETITLE"
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "bgr0"
        for value in (10, 200):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((16, 16, 3), value, np.uint8))))
        container.mux(stream.encode())
    content = (tmp_path / "a.mkv").read_bytes()
    assert b"TITLETITLE" in content
    (tmp_path / "a.mkv").write_bytes(content.replace(b"TITLETITLE", b"TITEL \xe4\xf6\xfc\xdf"))
    assert len(list(open_frames(tmp_path / "a.mkv"))) == 2


LIBRARIES = """
import warnings
import cv2
from spikejax.cli import run
from spikejax.errors import InputError
from spikejax.io import pictures

def main(arguments):
    cv2.imread("nowhere.tif")
    warnings.warn_explicit("Truncated File Read", UserWarning, "TiffImagePlugin.py", 1, module="PIL.TiffImagePlugin")
    warnings.warn("Reading `.npy` or `.npz` file required additional header parsing as it is of Python 2")
    raise InputError("expected a picture")

run(main)
"""


def test_libraries_print_nothing() -> None:
    """Catches what Pillow, NumPy and OpenCV print about a file beside the command's own line."""
    ended = subprocess.run(
        [sys.executable, "-c", LIBRARIES], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert (ended.returncode, ended.stderr) == (2, "spikejax: error: expected a picture\n")
