"""Rows of a contact sheet that show a bare stream of spikes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from spikejax.data.spikes.any_stream import read_spikes, size_of
from spikejax.data.spikes.reconstruction import tfi, tfp
from spikejax.reports.contact_sheet import RowStream, SheetRow, evenly_spread, rate_picture


def stream_rows(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    upside_down: bool = False,
    limit: int = 6,
    half_width: int = 16,
) -> RowStream:
    """Rows of a stream at steps at equal distances: its spikes at the step, TFP of a wide and a narrow window, TFI.

    Args:
        path: a file of spikes.
        size: height and width of its frames, where no config.yaml says it (see `stream_size`).
        upside_down: whether the camera stored the rows the other way round.
        limit: the largest number of rows.
        half_width: of the wide TFP; the narrow one's is a quarter of it.

    Raises:
        InputError: the file is missing, damaged, not a whole number of frames, or of unknown size.
    """
    found = size_of(path, given=size, option="--spike-size")
    spikes = read_spikes(path, height=found.height, width=found.width, upside_down=upside_down)
    # Steps whose windows do not reach over an end of the stream, if it is long enough.
    margin = min(half_width, (len(spikes) - 1) // 2)
    steps = [margin + step for step in evenly_spread(len(spikes) - 2 * margin, limit)]
    # White is what nearly no pixel exceeds.
    bright = float(np.percentile(spikes.mean(axis=0, dtype=np.float32), 99.5))
    brightness = 1 / bright if bright > 0 else 1.0
    rows = (_row(spikes, step, half_width, brightness) for step in steps)
    return RowStream(len(steps), rows, notes=(found.note,))


def _row(spikes: UInt8[np.ndarray, "s h w"], step: int, half_width: int, brightness: float) -> SheetRow:
    narrow = max(1, half_width // 4)
    panels = {
        "spikes": np.repeat(spikes[step][..., None] * np.uint8(255), 3, axis=-1),
        f"TFP: {2 * half_width + 1} steps": rate_picture(tfp(spikes, step, half_width=half_width), brightness),
        f"TFP: {2 * narrow + 1} steps": rate_picture(tfp(spikes, step, half_width=narrow), brightness),
        "TFI": rate_picture(tfi(spikes, step), brightness),
    }
    count = int(spikes[step].sum())
    share = count / spikes[step].size
    return SheetRow(f"step {step} of {len(spikes)}: {count:,} spikes, {share:.1%} of the pixels", panels)
