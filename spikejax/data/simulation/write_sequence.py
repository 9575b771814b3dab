"""Simulated exposures as a sequence of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spikejax.data.datasets.layout import BLUR, SHARP, SPIKE, AlignedFrame
from spikejax.data.simulation.rig import Exposure
from spikejax.data.spikes.stream_files import StreamConfig, write_config, write_dat
from spikejax.io.paths import AnyPath
from spikejax.io.pictures import write_picture


def write_sequence(folder: AnyPath, name: str, exposures: Iterable[Exposure]) -> list[AlignedFrame]:
    """Writes consecutive exposures into a sequence's folder and returns their lines of the alignment log.

    One exposure is held at a time. The folder is expected to be a temporary one (see `atomic.atomic_directory`).
    """
    folder = Path(folder)
    for part in (BLUR, SHARP, SPIKE):
        (folder / part).mkdir(parents=True)
    rows: list[AlignedFrame] = []
    for frame, exposure in enumerate(exposures):
        stem = f"{frame:06d}"
        write_picture(folder / BLUR / f"{stem}.png", exposure.blur)
        write_picture(folder / SHARP / f"{stem}.png", exposure.sharp)
        write_dat(folder / SPIKE / f"{stem}.dat", exposure.spikes)
        steps, height, width = exposure.spikes.shape
        if not rows:
            write_config(folder / SPIKE, StreamConfig(height, width))
        start = rows[-1].t1 if rows else 0
        rows.append(AlignedFrame(name, frame, start, start + steps, int(exposure.spikes.sum())))
    return rows
