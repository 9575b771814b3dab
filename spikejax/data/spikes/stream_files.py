"""Spike streams as files: the `.dat` format of Vidar and SpikeCV, `.npy` and `.npz`.

A `.dat` file has no header. Pixel p = y * width + x of a frame is bit p % 8, least significant first, of the frame's
byte p // 8, and row 0 of the file is the *bottom* row of the picture. Some cameras store unused columns
(`stored_width`). In memory a stream is uint8 of 0 and 1, [s, h, w], row 0 at the top.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Int64, UInt8

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.box import Box
from spikejax.io.bucket_listing import DataPath, ListedPath, file_size, listed
from spikejax.io.paths import AnyPath

# Columns of the picture within the stored columns, by (picture width, stored width).
_PADDED_COLUMNS: Mapping[tuple[int, int], tuple[slice, ...]] = {
    (400, 416): (slice(0, 400),),  # streams recorded with a head
    (1000, 1024): (slice(0, 500), slice(512, 1012)),  # the 1000x1000 camera has two readout halves
}


@dataclass(frozen=True)
class StreamConfig:
    """What a `config.yaml` beside spike files says.

    Attributes:
        height: rows of a spike frame.
        width: columns of a spike frame, without padding columns.
        filename: the stream's file, when the folder holds a single one.
    """

    height: int
    width: int
    filename: str | None = None


@dataclass(frozen=True)
class PackedSpikes:
    """Spikes as a `.dat` file has them: 8 pixels a byte, the bottom row first.

    Attributes:
        frames: a frame's bytes.
        height: rows of the picture.
        width: columns of the picture.
        stored_width: pixels per row in `frames`, see `stored_width_of`.
    """

    frames: UInt8[np.ndarray, "s n"]
    height: int
    width: int
    stored_width: int

    def pixels(self, box: Box | None = None) -> tuple[Int64[np.ndarray, " h"], Int64[np.ndarray, " w"]]:
        """The number, within a frame, of the first pixel of each row, and the columns counted from there."""
        part = box or Box(0, 0, self.height, self.width)
        kept = _PADDED_COLUMNS.get((self.width, self.stored_width), (slice(0, self.width),))
        columns = np.concatenate([np.arange(columns.start, columns.stop) for columns in kept])
        rows = np.arange(self.height)[::-1] * self.stored_width
        return rows[part.slices[0]], columns[part.slices[1]]

    def unpack(self, box: Box | None = None) -> UInt8[np.ndarray, "s h w"]:
        """0 or 1, row 0 at the top; only a part of the picture if `box` says so."""
        rows, columns = self.pixels(box)
        if self.stored_width % 8 == 0:  # rows start at bytes, and those outside the box need not be unpacked
            stored = self.frames.reshape(len(self.frames), self.height, -1)[:, rows // self.stored_width]
            spikes = np.unpackbits(stored, axis=-1, bitorder="little")
        else:
            pixels = np.unpackbits(self.frames, axis=-1, bitorder="little")[:, : self.height * self.stored_width]
            spikes = pixels.reshape(len(pixels), self.height, self.stored_width)[:, rows // self.stored_width]
        if len(columns) != self.stored_width:
            spikes = spikes[..., columns]
        return np.ascontiguousarray(spikes)


def stored_width_of(path: AnyPath, *, height: int, width: int, stored_width: int | None = None) -> int:
    """Bits per row in the file: `stored_width` if given, else the first known layout the file's size is a multiple of.

    A size may fit two layouts (26 frames of 400 columns are 25 of 416): then the plain one is meant, except for
    the 1000x1000 camera, which always stores 1024. Pass `stored_width` where that guess is wrong.

    Raises:
        InputError: the file is missing or empty, or its size is not a whole number of frames.
    """
    size = _file_size(path)
    candidates = _stored_widths(height, width) if stored_width is None else (stored_width,)
    _check_stored_width(width, stored_width)
    frame_sizes = [_frame_bytes(height, columns) for columns in candidates]
    if size == 0:
        raise InputError(
            f"expected spike frames of {frame_sizes[0]} bytes ({height}x{width}), the file is empty: {path}"
        )
    for columns, frame_size in zip(candidates, frame_sizes, strict=True):
        if size % frame_size == 0:
            return columns
    raise InputError(
        f"expected a whole number of spike frames of {frame_sizes[0]} bytes ({height}x{width}), "
        f"found {size} bytes = {size / frame_sizes[0]:.2f} frames (truncated, or another size?): {path}"
    )


def count_frames(path: AnyPath, *, height: int, width: int, stored_width: int | None = None) -> int:
    """Number of spike frames in a `.dat` file, from its size alone; raises `InputError` as `read_dat` does."""
    columns = stored_width_of(path, height=height, width=width, stored_width=stored_width)
    return _file_size(path) // _frame_bytes(height, columns)


def read_dat(
    path: AnyPath,
    *,
    height: int,
    width: int,
    stored_width: int | None = None,
    box: Box | None = None,
    window: tuple[int, int] | None = None,
) -> UInt8[np.ndarray, "s h w"]:
    """The spikes of a `.dat` file, 0 or 1, row 0 at the top.

    Args:
        path: the file.
        height: rows of a frame.
        width: columns of the picture, without padding columns.
        stored_width: bits per row in the file (default: see `stored_width_of`).
        box: read only this part of every frame. Rows outside it are not even unpacked.
        window: read only the steps [t0, t1), and no other part of the file.

    Raises:
        InputError: the file is missing, empty or not a whole number of frames (says its size and the frame's), or
            ends before the window does.
    """
    packed = read_packed(path, height=height, width=width, stored_width=stored_width, window=window)
    return packed.unpack(box)


def read_packed(
    path: AnyPath,
    *,
    height: int,
    width: int,
    stored_width: int | None = None,
    window: tuple[int, int] | None = None,
) -> PackedSpikes:
    """The spikes of a `.dat` file as they are in it; arguments and errors as of `read_dat`."""
    columns = stored_width_of(path, height=height, width=width, stored_width=stored_width)
    frame_size = _frame_bytes(height, columns)
    steps = _file_size(path) // frame_size
    first, stop = (0, steps) if window is None else window
    if stop > steps:
        raise InputError(f"expected at least {stop} spike frames ({height}x{width}), found {steps}: {path}")
    count, offset = (stop - first) * frame_size, first * frame_size
    if isinstance(path, ListedPath):
        frames = np.frombuffer(bytearray(path.read_bytes(offset, offset + count)), np.uint8)
    else:
        frames = np.fromfile(path, dtype=np.uint8, count=count, offset=offset)
    return PackedSpikes(frames.reshape(-1, frame_size), height, width, columns)


def write_dat(path: AnyPath, spikes: UInt8[np.ndarray, "s h w"], *, stored_width: int | None = None) -> None:
    """Writes a stream that `read_dat` reads back unchanged, atomically.

    Args:
        path: the file; replaced if it exists.
        spikes: 0 or 1, row 0 at the top.
        stored_width: bits per row (default: 1024 for the 1000x1000 camera, else the width itself); padding columns are
            0.

    Raises:
        InputError: other values than 0 and 1, no frame, or a frame that is not a whole number of bytes.
    """
    steps, height, width = spikes.shape
    if steps == 0:
        raise InputError(f"expected at least one spike frame to write: {path}")
    if spikes.size and spikes.max() > 1:
        raise InputError(f"expected spikes of 0 and 1, found {spikes.max()}: {path}")
    columns = _stored_widths(height, width)[0] if stored_width is None else stored_width
    _check_stored_width(width, columns)
    _frame_bytes(height, columns)
    if columns != width:
        stored = np.zeros((steps, height, columns), np.uint8)
        start = 0
        for kept in _PADDED_COLUMNS[width, columns]:
            stored[..., kept] = spikes[..., start : start + kept.stop - kept.start]
            start += kept.stop - kept.start
        spikes = stored
    with atomic_write(path) as temporary:
        pack(spikes).frames.tofile(temporary)


def write_packed(path: AnyPath, packed: PackedSpikes) -> None:
    """Writes a stream as `write_dat` does; its bytes are copied unless there are padding columns on either side."""
    if not packed.stored_width == packed.width == _stored_widths(packed.height, packed.width)[0]:
        return write_dat(path, packed.unpack())
    _frame_bytes(packed.height, packed.width)
    with atomic_write(path) as temporary:
        packed.frames.tofile(temporary)


def pack(spikes: UInt8[np.ndarray, "s h w"]) -> PackedSpikes:
    """Spikes of 0 and 1, row 0 at the top, as a file has them, without padding columns."""
    steps, height, width = spikes.shape
    frames = np.packbits(spikes[:, ::-1].reshape(steps, -1), axis=-1, bitorder="little")
    return PackedSpikes(frames, height, width, width)


def read_spikes(
    path: AnyPath, *, height: int | None = None, width: int | None = None, stored_width: int | None = None
) -> UInt8[np.ndarray, "s h w"]:
    """The spikes of a `.dat`, `.npy` or `.npz` file, by its suffix.

    Args:
        path: the file. `.npy` holds (s, h, w) of 0 and 1, top row first, in any numeric or boolean type; `.npz` one
            such array.
        height: rows of a frame; with `.dat` needed unless a `config.yaml` lies beside it, else checked when given.
        width: columns of a frame, likewise.
        stored_width: bits per row of a `.dat` file.

    Raises:
        InputError: missing, unreadable, of another size than asked for, or not 0 and 1.
    """
    path = Path(path)
    if path.suffix == ".dat":
        if height is None or width is None:
            config = read_config(path.parent)
            height, width = config.height, config.width
        return read_dat(path, height=height, width=width, stored_width=stored_width)
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"expected spikes as .dat, .npy or .npz, found {path.suffix or 'no suffix'}: {path}")
    spikes = _load_array(path)
    if spikes.ndim != 3 or 0 in spikes.shape:
        raise InputError(f"expected spikes of shape (steps, height, width), found {spikes.shape}: {path}")
    if any(wanted not in (None, found) for wanted, found in zip((height, width), spikes.shape[1:], strict=True)):
        raise InputError(f"expected spikes of {height}x{width}, found {spikes.shape[1]}x{spikes.shape[2]}: {path}")
    if spikes.dtype.kind not in "buif" or not ((spikes == 0) | (spikes == 1)).all():
        raise InputError(f"expected spikes of 0 and 1, found other values ({spikes.dtype}): {path}")
    return spikes.astype(np.uint8)


def read_config(folder: AnyPath) -> StreamConfig:
    """What `config.yaml` in a folder of spikes says about their size.

    Raises:
        InputError: there is none, or it does not give spike_h and spike_w as positive whole numbers.
    """
    path = listed(folder) / "config.yaml"
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"expected a config.yaml with spike_h and spike_w beside the spikes, found none: {path}"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"expected YAML with spike_h and spike_w, found {type(error).__name__}: {path}") from error
    if not isinstance(fields, dict):
        raise InputError(f"expected spike_h and spike_w, found no such keys: {path}")
    return StreamConfig(_positive(fields, "spike_h", path), _positive(fields, "spike_w", path), fields.get("filename"))


def write_config(folder: AnyPath, config: StreamConfig) -> None:
    """Writes `config.yaml` into a folder of spikes."""
    fields: dict[str, Any] = {"spike_h": config.height, "spike_w": config.width}
    if config.filename is not None:
        fields["filename"] = config.filename
    with atomic_write(Path(folder) / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")


def _positive(fields: Mapping[str, Any], key: str, path: DataPath) -> int:
    number = fields.get(key)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InputError(f"expected {key} to be a positive whole number, found {number!r}: {path}")
    return number


def _load_array(path: Path) -> np.ndarray:
    try:
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
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected a whole numpy array file ({path.suffix}), found a damaged one: {path}") from error


def _file_size(path: AnyPath) -> int:
    try:
        return file_size(path)
    except FileNotFoundError:
        raise InputError(f"expected a spike file, found none: {path}") from None


def _stored_widths(height: int, width: int) -> tuple[int, ...]:
    padded = tuple(stored for shown, stored in _PADDED_COLUMNS if shown == width)
    return padded + (width,) if (height, width) == (1000, 1000) else (width,) + padded


def _check_stored_width(width: int, stored_width: int | None) -> None:
    if stored_width not in (None, width) and (width, stored_width) not in _PADDED_COLUMNS:
        known = ", ".join(f"{stored} for {shown}" for shown, stored in _PADDED_COLUMNS)
        raise InputError(
            f"expected a stored width equal to the width {width}, or a known one ({known}), found {stored_width}"
        )


def _frame_bytes(height: int, stored_width: int) -> int:
    if height < 1 or stored_width < 1 or (height * stored_width) % 8:
        raise InputError(
            f"expected a spike frame whose number of pixels is a multiple of 8, found {height}x{stored_width}"
        )
    return height * stored_width // 8
