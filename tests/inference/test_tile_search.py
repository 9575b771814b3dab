from collections.abc import Callable
from types import SimpleNamespace

import pytest

from spikejax.errors import InputError
from spikejax.hardware.host import used_host_bytes
from spikejax.inference import tile_search
from spikejax.inference.tile_search import available_bytes, largest_tile
from spikejax.inference.tiling import Extent, tile_starts

FRAME, OVERLAP, START = (720, 1280), Extent(2, 20, 20), Extent(12, 256, 256)


def choose(
    available: int, needed: Callable[[Extent], float], multiple: int = 8, *, taken: int = 0
) -> tuple[Extent, list[Extent]]:
    """The chosen tile, and all that were compiled for it; the first compilation takes some of what is available."""
    compiled: list[Extent] = []

    def compiled_bytes(tile: Extent) -> float:
        compiled.append(tile)
        return needed(tile)

    tile = largest_tile(
        FRAME,
        start=START,
        overlap=OVERLAP,
        multiple=multiple,
        min_side=16,
        available=lambda: available - taken if compiled else available,
        compiled_bytes=compiled_bytes,
    )
    return tile, compiled


def linear(tile: Extent) -> float:
    """What a network needs: something for itself, the rest by pixels."""
    return 3e8 + 2500 * tile.frames * tile.height * tile.width


@pytest.mark.parametrize("available", [1e9, 2e9, 4e9, 8e9, 16e9])
def test_the_tile_fits_and_a_larger_one_would_not(available: float) -> None:
    """Catches a tile that ends in running out of memory, one far below what fits, and minutes of compiling."""
    tile, compiled = choose(int(available), linear)
    assert linear(tile) <= available
    assert linear(tile) > 0.6 * available  # the next one cuts the frame into fewer tiles, which is a step
    assert len(compiled) <= 4
    assert tile in compiled


@pytest.mark.parametrize("available", [int(2e9), int(4e9)])
def test_what_the_compiler_holds_is_not_given_twice(available: int) -> None:
    """Catches a process that is killed at its first tile, since the compiler's memory was to be free by then."""
    taken = 10**9
    tile, compiled = choose(available, linear, taken=taken)
    assert 0.6 * (available - taken) < linear(tile) <= available - taken
    assert linear(choose(available, linear)[0]) > available - taken
    assert len(compiled) <= 4


def test_the_compilers_memory_is_that_of_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches memory of the host that counts as a GPU's, and what the process held before as the compiler's."""
    used = iter([10**9, 17 * 10**8, 9 * 10**8])
    monkeypatch.setattr(tile_search, "used_host_bytes", lambda: next(used))
    on_cpu = tile_search.CompilerMemory(SimpleNamespace(platform="cpu"))
    assert (on_cpu.held, on_cpu.held) == (7 * 10**8, 0)
    assert tile_search.CompilerMemory(SimpleNamespace(platform="gpu")).held == 0


def test_a_whole_frame_where_it_fits() -> None:
    """Catches a frame that is cut up without need."""
    assert choose(10**12, linear)[0] == Extent(12, 720, 1280)


def test_memory_that_grows_faster_than_the_pixels() -> None:
    """Catches a guess that is believed without compiling for it, and a compiler's refusal that ends the search."""
    needed = lambda tile: linear(tile) ** 1.2 if linear(tile) < 2e9 else float("inf")  # noqa: E731
    tile, _ = choose(10**11, needed)
    assert needed(tile) <= 10**11


@pytest.mark.parametrize("multiple", [8, 16])
def test_tiles_share_the_work_evenly(multiple: int) -> None:
    """Catches sides that the network pads, that cut a spike pixel, or a last tile that lies on the one before."""
    tile, _ = choose(2 * 10**9, linear, multiple)
    for side, length, overlap in ((tile.height, 720, 20), (tile.width, 1280, 20)):
        assert side % multiple == 0 or side == length
        starts = tile_starts(length, side, overlap)
        assert len(starts) == 1 or starts[-1] - starts[-2] > (side - overlap) // 2


def test_no_tile_fits() -> None:
    """Catches a crash hours later where the first look could tell."""
    with pytest.raises(InputError, match="MiB of memory for the smallest tile"):
        choose(10**8, linear)


class Device:
    """A device that says so much of its memory."""

    def __init__(self, **memory: int) -> None:
        self._memory = memory

    def memory_stats(self) -> dict[str, int] | None:
        """As JAX's devices have it."""
        return self._memory or None


def test_a_limit_on_memory() -> None:
    """Catches a limit that leaves out what is used already, or that promises more than there is."""
    gpu = Device(bytes_limit=10_000, bytes_in_use=2_000)
    assert available_bytes(gpu) == 7_200
    assert available_bytes(gpu, limit=5_000) == 3_000
    assert available_bytes(gpu, limit=10**12) == 7_200
    used = used_host_bytes()
    free = available_bytes(Device(), limit=used + 10**7, sharing=2, held=10**6)
    assert 10**6 < free < 10**7 // 2
    assert available_bytes(Device(), limit=used // 2) == 0
