"""Spike streams as files: the `.dat` format of Vidar and SpikeCV.

A `.dat` file has no header. Pixel p = y * width + x of a frame is bit p % 8, least significant first, of the frame's
byte p // 8, and row 0 of the file is the *bottom* row of the picture. Some cameras store unused columns
(`stored_width`). In memory a stream is uint8 of 0 and 1, [s, h, w], row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.box import Box
from spikejax.io.bucket_listing import ListedPath, file_size
from spikejax.io.paths import AnyPath

# Columns of the picture within the stored columns, by (picture width, stored width).
_PADDED_COLUMNS: Mapping[tuple[int, int], tuple[slice, ...]] = {
    (400, 416): (slice(0, 400),),  # streams recorded with a head
    (1000, 1024): (slice(0, 500), slice(512, 1012)),  # the 1000x1000 camera has two readout halves
}


@dataclass(frozen=True)
class PackedSpikes:
    """Spikes as a `.dat` file has them: 8 pixels a byte, the bottom row first unless a camera is `upside_down`.

    Attributes:
        frames: a frame's bytes.
        height: rows of the picture.
        width: columns of the picture.
        stored_width: pixels per row in `frames`, see `stored_width_of`.
        upside_down: whether the camera stored the top row first.
    """

    frames: UInt8[np.ndarray, "s n"]
    height: int
    width: int
    stored_width: int
    upside_down: bool = False

    def pixels(self, box: Box | None = None) -> tuple[Int64[np.ndarray, " h"], Int64[np.ndarray, " w"]]:
        """The number, within a frame, of the first pixel of each row, and the columns counted from there."""
        part = box or Box(0, 0, self.height, self.width)
        kept = _PADDED_COLUMNS.get((self.width, self.stored_width), (slice(0, self.width),))
        columns = np.concatenate([np.arange(columns.start, columns.stop) for columns in kept])
        rows = np.arange(self.height)[:: 1 if self.upside_down else -1] * self.stored_width
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
    candidates = stored_widths(height, width) if stored_width is None else (stored_width,)
    _check_stored_width(width, stored_width)
    frame_sizes = [frame_bytes(height, columns) for columns in candidates]
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
    return _file_size(path) // frame_bytes(height, columns)


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
    upside_down: bool = False,
) -> PackedSpikes:
    """The spikes of a `.dat` file as they are in it; arguments and errors as of `read_dat`.

    Args:
        path: the file.
        height: rows of a frame.
        width: columns of the picture, without padding columns.
        stored_width: bits per row in the file (default: see `stored_width_of`).
        window: read only the steps [t0, t1), and no other part of the file.
        upside_down: whether the camera stored the top row first.
    """
    columns = stored_width_of(path, height=height, width=width, stored_width=stored_width)
    frame_size = frame_bytes(height, columns)
    steps = _file_size(path) // frame_size
    first, stop = (0, steps) if window is None else window
    if stop > steps:
        raise InputError(f"expected at least {stop} spike frames ({height}x{width}), found {steps}: {path}")
    count, offset = (stop - first) * frame_size, first * frame_size
    if isinstance(path, ListedPath):
        frames = np.frombuffer(bytearray(path.read_bytes(offset, offset + count)), np.uint8)
    else:
        frames = np.fromfile(path, dtype=np.uint8, count=count, offset=offset)
    return PackedSpikes(frames.reshape(-1, frame_size), height, width, columns, upside_down)


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
    columns = stored_widths(height, width)[0] if stored_width is None else stored_width
    _check_stored_width(width, columns)
    frame_bytes(height, columns)
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
    """Writes a stream as `write_dat` does; its bytes are copied unless they are arranged in another way."""
    if packed.upside_down or not packed.stored_width == packed.width == stored_widths(packed.height, packed.width)[0]:
        return write_dat(path, packed.unpack())
    frame_bytes(packed.height, packed.width)
    with atomic_write(path) as temporary:
        packed.frames.tofile(temporary)


def pack(spikes: UInt8[np.ndarray, "s h w"]) -> PackedSpikes:
    """Spikes of 0 and 1, row 0 at the top, as a file has them, without padding columns."""
    steps, height, width = spikes.shape
    frames = np.packbits(spikes[:, ::-1].reshape(steps, -1), axis=-1, bitorder="little")
    return PackedSpikes(frames, height, width, width)


def _file_size(path: AnyPath) -> int:
    try:
        return file_size(path)
    except FileNotFoundError:
        raise InputError(f"expected a spike file, found none: {path}") from None


def stored_widths(height: int, width: int) -> tuple[int, ...]:
    """Bits per row that frames of this size may have in a file, the most likely first."""
    padded = tuple(stored for shown, stored in _PADDED_COLUMNS if shown == width)
    return padded + (width,) if (height, width) == (1000, 1000) else (width,) + padded


def _check_stored_width(width: int, stored_width: int | None) -> None:
    if stored_width not in (None, width) and (width, stored_width) not in _PADDED_COLUMNS:
        known = ", ".join(f"{stored} for {shown}" for shown, stored in _PADDED_COLUMNS)
        raise InputError(
            f"expected a stored width equal to the width {width}, or a known one ({known}), found {stored_width}"
        )


def frame_bytes(height: int, stored_width: int) -> int:
    """Bytes of a frame in a file; raises `InputError` if they are not whole."""
    if height < 1 or stored_width < 1 or (height * stored_width) % 8:
        raise InputError(
            f"expected a spike frame whose number of pixels is a multiple of 8, found {height}x{stored_width}"
        )
    return height * stored_width // 8
