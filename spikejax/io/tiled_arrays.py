"""The frames of a sequence as one array on disk in tiles (zarr, version 3), of which a part is read without the rest.

Every frame is a file of its own, which appears whole or not at all, and holds tiles of 64x64 pixels with all their
channels, compressed and with a checksum each. Counts of spikes and pictures are kept alike. The files are written and
read by tensorstore, which works outside the interpreter's lock; any other zarr library reads them, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from jaxtyping import Shaped

from spikejax.errors import InputError
from spikejax.io.box import Box
from spikejax.io.buckets import array_store
from spikejax.io.paths import AnyPath, is_remote

# A random crop of 256x256 reads 20 to 25 tiles, 1.6 times its own pixels at most.
_TILE = 64
# LZ4 of the bits' planes: counts of up to 3 leave six of eight planes empty. Half a megabyte a frame larger than
# Zstandard and three times as fast; planes of groups of 8 bins are twice as fast as of single ones, a twentieth larger.
_COUNTS_CODEC: Mapping[str, Any] = {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": 8, "blocksize": 0}
# For photographs nothing of blosc's is smaller, and shuffling them gains nothing.
_PICTURE_CODEC: Mapping[str, Any] = {
    "cname": "zstd",
    "clevel": 3,
    "shuffle": "noshuffle",
    "typesize": 1,
    "blocksize": 0,
}
_DTYPES = ("uint8", "uint16")


class FrameArray:
    """An array [t, h, w, c] of whole numbers on disk; safe to use from several threads and processes."""

    def __init__(self, store: tensorstore.TensorStore, path: AnyPath):
        """Takes an open store; see `create_frames` and `open_frames_array`."""
        self._store = store
        self._path = path
        self.shape: tuple[int, ...] = tuple(store.shape)
        self.dtype = np.dtype(store.dtype.numpy_dtype)

    def write(self, index: int, frame: Shaped[np.ndarray, "h w c"]) -> None:
        """Writes a frame; raises `OSError` if the disk is full or the file cannot be written."""
        try:
            self._store[index].write(frame.astype(self.dtype, casting="unsafe", copy=False)).result()
        except ValueError as error:  # tensorstore's only error
            raise OSError(f"cannot write frame {index} of {self._path}: {_reason(error)}") from error

    def read(self, start: int, stop: int, box: Box | None = None) -> Shaped[np.ndarray, "t h w c"]:
        """Frames [start, stop), within a box or whole; only the tiles that the box touches are read.

        Raises:
            InputError: a frame is missing or damaged.
        """
        rows, columns = (slice(None), slice(None)) if box is None else box.slices
        try:
            return self._store[start:stop, rows, columns].read().result()
        except ValueError as error:
            expected = f"frames {start} to {stop - 1}, whole"
            raise InputError(f"expected {expected}, found {_reason(error)}: {self._path}") from error


def create_frames(path: AnyPath, shape: tuple[int, int, int, int], *, largest: int = 255) -> FrameArray:
    """An array for frames [t, h, w, c], to be written one by one; one of the same shape that is there is kept.

    Args:
        path: the folder to make.
        shape: frames, rows, columns and channels. Three channels are a picture's, any other number are counts.
        largest: the largest number that must fit.

    Raises:
        InputError: the numbers do not fit 16 bits, or there is an array of another shape.
    """
    if largest > np.iinfo(np.uint16).max:
        raise InputError(f"expected counts of at most 65535, found up to {largest}: {path}")
    dtype = _DTYPES[largest > np.iinfo(np.uint8).max]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FrameArray(tensorstore.open(_spec(_files(path), shape, dtype), create=True, open=True).result(), path)
    except ValueError as error:
        raise InputError(f"expected to make an array {shape} of {dtype}, found {_reason(error)}: {path}") from error


def open_frames_array(path: AnyPath) -> FrameArray:
    """The array that `create_frames` made; raises `InputError` if there is none or it is something else."""
    spec = {"driver": "zarr3", "kvstore": _files(path), "fill_missing_data_reads": False}
    try:
        array = FrameArray(tensorstore.open(spec, open=True).result(), path)
    except ValueError as error:
        raise InputError(f"expected an array of frames, found {_reason(error)}: {path}") from error
    if len(array.shape) != 4 or array.dtype.name not in _DTYPES:
        raise InputError(f"expected an array [t,h,w,c] of small whole numbers, found {array.shape}: {path}")
    return array


def frame_file(path: AnyPath, index: int) -> Path:
    """The file of a frame; it exists only when it is whole."""
    return Path(path) / f"{index}.0.0.0"


def compressed_size(frame: Shaped[np.ndarray, "h w c"]) -> int:
    """Bytes that a frame takes on disk."""
    store = tensorstore.open(_spec({"driver": "memory"}, (1, *frame.shape), frame.dtype.name), create=True).result()
    store[0].write(frame).result()
    assert store.kvstore is not None
    return len(store.kvstore["0.0.0.0"])


def _files(path: AnyPath) -> dict[str, Any]:
    if is_remote(path):
        return array_store(os.fspath(path))
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError:  # tensorstore takes no bytes, and its own error says nothing of the path
        raise InputError(f"expected a path that is UTF-8, found one that is not: {path}") from None
    return {"driver": "file", "path": text}


def _spec(kvstore: Mapping[str, Any], shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    frames, height, width, channels = shape
    codec = dict(_PICTURE_CODEC if channels == 3 else _COUNTS_CODEC)
    codec["typesize"] *= np.dtype(dtype).itemsize
    tiles = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": (1, _TILE, _TILE, channels),
            "codecs": [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "blosc", "configuration": codec},
                {"name": "crc32c"},
            ],
        },
    }
    file_shape = (1, -(-height // _TILE) * _TILE, -(-width // _TILE) * _TILE, channels)
    return {
        "driver": "zarr3",
        "kvstore": kvstore,
        # A tile without spikes is written, too: a missing one is damage and not a dark place.
        "store_data_equal_to_fill_value": True,
        "fill_missing_data_reads": False,
        "metadata": {
            "shape": (frames, height, width, channels),
            "data_type": dtype,
            "dimension_names": ["frame", "row", "column", "channel"],
            "chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}},
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": file_shape}},
            "codecs": [tiles],
        },
    }


def _reason(error: Exception) -> str:
    """What tensorstore says on one line, without the specification that it repeats."""
    return str(error).split(" [tensorstore_spec", 1)[0].split(" [source locations", 1)[0].replace("\n", " ")
