"""The size of spikes against that of the pictures beside them: equal, or smaller by a whole number."""

from __future__ import annotations

from spikejax.errors import InputError


def spike_ratio(pictures: tuple[int, int], spikes: tuple[int, int], *, source: object) -> int:
    """How many times as large as the spikes the pictures are.

    Args:
        pictures: height and width.
        spikes: likewise.
        source: where the spikes are from, for the message.

    Raises:
        InputError: the pictures are not larger by a whole number, the same along both sides.
    """
    ratio = pictures[0] // spikes[0] if spikes[0] > 0 else 0
    if ratio < 1 or (spikes[0] * ratio, spikes[1] * ratio) != pictures:
        expected = f"expected spikes of the pictures' size {pictures[0]}x{pictures[1]} (height x width) or a whole part"
        raise InputError(f"{expected} of it, found {spikes[0]}x{spikes[1]}: {source}")
    return ratio
