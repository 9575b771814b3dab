"""Streams of spikes in any kind of file: `.dat`, `.npy` and `.npz`, by the suffix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from spikejax.data.spikes.stream_files import count_frames, read_dat
from spikejax.data.spikes.stream_size import StreamSize, find_stream_size
from spikejax.errors import InputError
from spikejax.io.damage import DAMAGED_ARRAY
from spikejax.io.paths import AnyPath

STREAM_SUFFIXES = (".dat", ".npy", ".npz")


def read_spikes(
    path: AnyPath,
    *,
    height: int | None = None,
    width: int | None = None,
    stored_width: int | None = None,
    upside_down: bool = False,
) -> UInt8[np.ndarray, "s h w"]:
    """The spikes of a file, 0 or 1, row 0 at the top.

    Args:
        path: the file. `.npy` holds (s, h, w) of 0 and 1, top row first, in any numeric or boolean type; `.npz` one
            such array.
        height: rows of a frame; with `.dat` needed unless a `config.yaml` says it (see `stream_size`).
        width: columns of a frame, likewise.
        stored_width: bits per row of a `.dat` file.
        upside_down: whether the camera stored the rows the other way round.

    Raises:
        InputError: missing, unreadable, of unknown or another size than asked for, or not 0 and 1.
    """
    path = Path(path)
    if (height is None) != (width is None):
        raise InputError(f"expected height and width of the spikes, or neither, found {height} and {width}: {path}")
    given = None if height is None or width is None else (height, width)
    size = size_of(path, given=given)
    if path.suffix == ".dat":
        spikes = read_dat(path, height=size.height, width=size.width, stored_width=stored_width)
    else:
        spikes = _read_array(path)
    return np.ascontiguousarray(spikes[:, ::-1]) if upside_down else spikes


def size_of(
    path: Path,
    *,
    given: tuple[int, int] | None = None,
    option: str = "",
    pictures: tuple[int, int] | None = None,
    otherwise: StreamSize | None = None,
) -> StreamSize:
    """The size of a stream's frames: an array's own, or that of a `.dat` file, see `find_stream_size`."""
    if path.suffix == ".dat":
        return find_stream_size(path, given=given, option=option, pictures=pictures, otherwise=otherwise)
    shape = _stream_shape(_load_array(path, header_only=True), path)
    if given not in (None, shape[1:]):
        raise InputError(f"expected spikes of {given[0]}x{given[1]}, found {shape[1]}x{shape[2]}: {path}")
    return StreamSize(shape[1], shape[2], "the array")


def count_steps(path: Path, *, height: int, width: int) -> int:
    """Number of steps of a stream; raises `InputError` as `read_spikes` does."""
    if path.suffix == ".dat":
        return count_frames(path, height=height, width=width)
    return _stream_shape(_load_array(path, header_only=True), path)[0]


def _read_array(path: Path) -> UInt8[np.ndarray, "s h w"]:
    spikes = _load_array(path)
    _stream_shape(spikes, path)
    if spikes.dtype.kind not in "buif" or not ((spikes == 0) | (spikes == 1)).all():
        raise InputError(f"expected spikes of 0 and 1, found other values ({spikes.dtype}): {path}")
    return spikes.astype(np.uint8)


def _stream_shape(spikes: np.ndarray, path: Path) -> tuple[int, int, int]:
    """Steps, height and width."""
    if spikes.ndim != 3 or 0 in spikes.shape:
        raise InputError(f"expected spikes of shape (steps, height, width), found {spikes.shape}: {path}")
    steps, height, width = spikes.shape
    return steps, height, width


def _load_array(path: Path, *, header_only: bool = False) -> np.ndarray:
    """The array in a file; its header alone is read where that is possible and enough."""
    if path.suffix not in STREAM_SUFFIXES:
        raise InputError(f"expected spikes as .dat, .npy or .npz, found {path.suffix or 'no suffix'}: {path}")
    try:
        if header_only and path.suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r")
        # Opened here, because numpy leaves a damaged .npz open.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            if len(loaded.files) != 1:
                raise InputError(
                    f"expected one array of spikes, found {len(loaded.files)} ({', '.join(loaded.files)}): {path}"
                )
            return loaded[loaded.files[0]]
    except FileNotFoundError:
        raise InputError(f"expected a spike file, found none: {path}") from None
    except DAMAGED_ARRAY as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected a whole numpy array file ({path.suffix}), found a damaged one: {path}") from error
