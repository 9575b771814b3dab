"""Rows of a contact sheet that show a bare stream of spikes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from spikejax.data.spikes.reconstruction import tfi, tfp
from spikejax.data.spikes.stream_files import read_config, read_spikes
from spikejax.errors import InputError
from spikejax.reports.contact_sheet import RowStream, SheetRow, evenly_spread, rate_picture

SPIKE_SUFFIXES = (".dat", ".npy", ".npz")


def stream_rows(path: Path, *, size: tuple[int, int] | None = None, limit: int = 6, half_width: int = 16) -> RowStream:
    """Rows of a stream at steps at equal distances: its spikes at the step, TFP of a wide and a narrow window, TFI.

    Args:
        path: a file of spikes.
        size: height and width of its frames; None = as config.yaml beside it says.
        limit: the largest number of rows.
        half_width: of the wide TFP; the narrow one's is a quarter of it.

    Raises:
        InputError: the file is missing, damaged, not a whole number of frames, or of unknown size.
    """
    if size is None and path.suffix == ".dat":
        if not (path.parent / "config.yaml").exists():
            raise InputError(f"expected --spike-size HEIGHTxWIDTH, or a config.yaml beside the spikes, for {path}")
        config = read_config(path.parent)
        size = (config.height, config.width)
    height, width = size or (None, None)
    spikes = read_spikes(path, height=height, width=width)
    # Steps whose windows do not reach over an end of the stream, if it is long enough.
    margin = min(half_width, (len(spikes) - 1) // 2)
    steps = [margin + step for step in evenly_spread(len(spikes) - 2 * margin, limit)]
    # White is what nearly no pixel exceeds.
    bright = float(np.percentile(spikes.mean(axis=0, dtype=np.float32), 99.5))
    brightness = 1 / bright if bright > 0 else 1.0
    return RowStream(len(steps), (_row(spikes, step, half_width, brightness) for step in steps))


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
