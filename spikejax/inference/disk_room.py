"""Whether an output fits on its disk: said once it can be known, and seen to before every frame."""

from __future__ import annotations

from pathlib import Path

from spikejax.errors import InputError
from spikejax.io.disk_space import free_bytes
from spikejax.progress import byte_text

# For what is small beside frames: scores, folders, a disk's own records.
_SMALL_FILES = 2**16


def check_room(folder: Path, needed: int) -> None:
    """Raises InputError, before a disk is full, if it has no room for `needed` bytes more."""
    free = free_bytes(folder)
    if free < needed + _SMALL_FILES:
        needs = f"{byte_text(needed)} are needed next, {byte_text(free)} are free"
        raise InputError(f"expected more room on the disk, {needs}: {folder}")


def room_in_words(parts: dict[Path, tuple[float, float]]) -> tuple[str, bool]:
    """What an output will take, in words, and whether it fits.

    Args:
        parts: by folder, the bytes that are still to be written there in the end, and those beside for a while.
    """
    disks: dict[int, tuple[Path, float, float]] = {}
    for folder, (stays, goes) in parts.items():
        disk = folder.stat().st_dev
        _, stays_there, goes_there = disks.get(disk, (folder, 0.0, 0.0))
        disks[disk] = folder, stays_there + stays, goes_there + goes
    texts, fits = [], True
    for folder, stays, goes in disks.values():
        free = free_bytes(folder)
        fits = fits and stays + goes <= free
        amounts = [f"about {byte_text(stays)}"] * (stays > 0) + [f"{byte_text(goes)} for a while"] * (goes > 0)
        texts.append(f"{' and '.join(amounts) or 'nothing'}, of {byte_text(free)} that are free: {folder}")
    return "; ".join(texts), fits
