"""Simulated exposures as a sequence of a data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spikejax.data.datasets.layout import (
    BLUR,
    DESCRIPTION,
    SHARP,
    SPIKE,
    AlignedFrame,
    read_alignment,
    read_description,
    write_alignment,
    write_description,
    write_dropped,
)
from spikejax.data.simulation.rig import Exposure
from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_directory, refuse_existing
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


def add_to_data_set(
    root: str | Path,
    name: str,
    exposures: Iterable[Exposure],
    *,
    description: Mapping[str, Any],
    provenance: Mapping[str, Any],
    split: str,
    overwrite: bool = False,
) -> Path:
    """Writes one sequence into a data set, which is made if it is not there, and returns the sequence's folder.

    Args:
        root: the data set.
        name: of the sequence.
        exposures: at least one; asked for when all else is known to fit.
        description: what dataset.json says of the whole data set: one camera films all sequences.
        provenance: what it says of the sequence.
        split: "train" or "val".
        overwrite: whether a sequence of that name is replaced.

    Raises:
        InputError: the sequence is there already, or the data set was made in another way.
    """
    if not re.fullmatch(r"[\w][\w.@ -]*", name):
        raise InputError(f"expected a sequence name of letters, digits and -_. that a folder can have, found {name!r}")
    root = Path(root)
    whole = _description(root, description)
    folder = root / split / name
    refuse_existing(folder, replace=overwrite)  # before the work, not after it
    with atomic_directory(folder, replace=overwrite) as temporary:
        rows = write_sequence(temporary, name, exposures)
    others = [row for row in read_alignment(root / split) if row.sequence != name]
    write_alignment(root / split, sorted([*others, *rows], key=lambda row: (row.sequence, row.frame)))
    write_dropped(root / split, [])
    whole["sequences"][f"{split}/{name}"] = dict(provenance)
    write_description(root, whole)
    return folder


def _description(root: Path, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What dataset.json says or will say."""
    present = read_description(root)
    if present is None:
        return {**wanted, "sequences": {}}
    for key, value in wanted.items():
        if present.get(key) != value:
            raise InputError(
                f"expected a data set with {key} {value!r}, found {present.get(key)!r}: {root / DESCRIPTION}"
            )
    return present
