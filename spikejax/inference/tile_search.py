"""How much memory a device can give, and the largest tile that fits."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax

from spikejax.errors import InputError
from spikejax.hardware.host import available_host_bytes, used_host_bytes
from spikejax.inference.tiling import Extent

# Left for what is not asked for: the allocator's gaps, other programs' growth.
_SHARE = 0.9
_TILES_A_SIDE_LIMIT = 64
_ASPECT_LIMIT = 3
# A better tile saves seconds; another compilation of a large network costs a minute.
_COMPILATION_LIMIT = 4


def peak_device_bytes() -> int | None:
    """The largest memory in use on the first accelerator; None on a CPU, where it is part of the host's."""
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def available_bytes(device: Any, *, sharing: int = 1, held: int = 0, limit: int | None = None) -> int:
    """What a device can still give to a program.

    Args:
        device: asked for its limit and its use; a CPU's memory is the host's.
        sharing: how many devices share a host's memory.
        held: what else will be held there.
        limit: what may be used at most, of a device or, on CPUs, by this process; None = all there is.
    """
    memory = device.memory_stats() or {}
    if "bytes_limit" in memory:
        used = memory.get("bytes_in_use", 0)
        return min(int(_SHARE * (memory["bytes_limit"] - used)), sys.maxsize if limit is None else limit - used)
    free = int(_SHARE * available_host_bytes())
    if limit is not None:
        free = min(free, limit - used_host_bytes())
    return max(0, free - held) // sharing


class CompilerMemory:
    """What a process holds for having compiled since this was made; of CPUs alone, whose programs share it.

    The allocator keeps what the compiler has freed (`spikejax.hardware.allocator`), in pieces too small for the large
    arrays of a program: measured, some 500 MB stay of the small networks here, and are there beside the program.
    """

    def __init__(self, device: Any) -> None:
        """Begins with what the process holds now."""
        self._before = used_host_bytes() if device.platform == "cpu" else None

    @property
    def held(self) -> int:
        """Bytes, now."""
        return 0 if self._before is None else max(0, used_host_bytes() - self._before)


@dataclass(frozen=True)
class _Grid:
    tile: Extent
    count: int

    @property
    def pixels(self) -> int:
        frames, height, width = self.tile.shape
        return frames * height * width


def largest_tile(
    frame: tuple[int, int],
    *,
    start: Extent,
    overlap: Extent,
    multiple: int,
    min_side: int,
    available: Callable[[], int],
    compiled_bytes: Callable[[Extent], float],
) -> Extent:
    """The tile that covers a frame with the fewest tiles of those that fit into memory.

    Compiling tells how much a tile needs. That is done for few of them: memory grows about linearly with the pixels,
    so what some needed says which to try next.

    Args:
        frame: height and width of a frame.
        start: the first tile to try, within the frame; the result has as many frames.
        overlap: of neighbouring tiles.
        multiple: the sides of tiles smaller than the frame are multiples of it.
        min_side: rows and columns of the smallest tile that the network takes.
        available: bytes a device can give; asked after each compilation, which may take some of them.
        compiled_bytes: compiles the network for a tile and returns what a device needs to run it; infinity if the
            compiler says that the device cannot.

    Raises:
        InputError: not even the smallest tile fits.
    """
    grids = list(_grids(frame, start.frames, overlap, multiple, min_side))
    measured: dict[int, float] = {}  # bytes by number of pixels
    untried = list(grids)
    best: _Grid | None = None
    following: _Grid | None = min(grids, key=lambda grid: abs(math.prod(start.shape) - grid.pixels))
    while following is not None:
        needed = compiled_bytes(following.tile)
        room = available()
        untried.remove(following)
        if math.isfinite(needed):
            measured[following.pixels] = needed
        if needed <= room:
            # What comes after it in the list is cut into more tiles.
            best, untried = following, [grid for grid in untried if grid.pixels > following.pixels]
        elif best is None and following == grids[-1]:
            raise InputError(
                f"expected {needed / 2**20:,.0f} MiB of memory for the smallest tile ({following.tile}), "
                f"found {room / 2**20:,.0f} MiB available"
            )
        else:
            untried = [grid for grid in untried if grid.pixels < following.pixels]
        likely = (grid for grid in untried if _estimate(measured, grid.pixels) <= room)
        following = next(likely, None if best is not None else grids[-1])
        if best is not None and len(measured) >= _COMPILATION_LIMIT:
            following = None
    assert best is not None
    return best.tile


def _grids(frame: tuple[int, int], frames: int, overlap: Extent, multiple: int, min_side: int) -> Iterator[_Grid]:
    """Ways to cut a frame into tiles of nearly equal size, from the largest tiles to the smallest."""
    rows, columns = (
        dict(_sides(length, over, multiple, min_side))
        for length, over in zip(frame, (overlap.height, overlap.width), strict=True)
    )
    grids = [
        _Grid(Extent(frames, height, width), down * across)
        for height, down in rows.items()
        for width, across in columns.items()
        if max(height, width) <= _ASPECT_LIMIT * min(height, width) or (height, width) == frame
    ]
    smaller = math.inf
    for grid in sorted(grids, key=lambda grid: (grid.count, grid.pixels)):
        # A tile that is no smaller than one that covers the frame with fewer has no advantage.
        if grid.pixels < smaller:
            smaller = grid.pixels
            yield grid


def _sides(length: int, overlap: int, multiple: int, min_side: int) -> Iterator[tuple[int, int]]:
    """The side of tiles that cover an axis, and their number, as dictionary items: the fewest for a side come last."""
    smallest = max(min_side, overlap + 1)
    for count in range(_TILES_A_SIDE_LIMIT, 0, -1):
        side = -(-(length + (count - 1) * overlap) // count)
        side = min(length, -(-side // multiple) * multiple)
        if side >= smallest or side == length:
            yield side, count


def _estimate(measured: dict[int, float], pixels: int) -> float:
    """Bytes for a tile of so many pixels, on the line through the two largest that were measured."""
    points = sorted(measured.items())[-2:]
    if not points:
        return math.inf
    if len(points) == 1:
        return points[0][1] / points[0][0] * pixels
    (few, few_bytes), (many, many_bytes) = points
    return many_bytes + (many_bytes - few_bytes) / (many - few) * (pixels - many)
