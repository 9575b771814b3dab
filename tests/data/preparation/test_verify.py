"""Reading everything that was prepared again, and comparing it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.data.preparation.verify import check_root
from spikejax.data.spikes.stream_files import write_dat
from spikejax.errors import InputError
from spikejax.io.tiled_arrays import open_frames_array
from tests.data.prepared import TEST, TRAIN, contents, run
from tests.data.published import picture, save, spikes, write_gopro


def change_counts(root: Path) -> None:
    """Adds a spike to the cache."""
    array = open_frames_array(root / "train" / TRAIN / "spike_vox.zarr")
    counts = array.read(1, 2)[0]
    array.write(1, counts + (np.arange(counts.size).reshape(counts.shape) == 7).astype(np.uint8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_counts, r"counts of frame 1 in .*spike_vox\.zarr are not those of .*000001\.dat"),
        (
            lambda root: save(root / "train" / TRAIN / "sharp/000002.png", picture(0)),
            r"frame 2 of .*sharp\.zarr is not",
        ),
        (lambda root: write_dat(root / "val" / TEST / "spike/000000.dat", spikes(5, 16)), "as the alignment log says"),
        (lambda root: (root / "val" / TEST / "spike/000001.dat").unlink(), "expected spikes of the frame, found none"),
        (lambda root: (root / "val" / TEST / "spike_vox.zarr/1.0.0.0").unlink(), r"missing.*spike_vox\.zarr"),
        (
            lambda root: os.truncate(root / "train" / TRAIN / "blur.zarr/0.0.0.0", 99),
            r"frames 0 to 0, whole.*blur\.zarr",
        ),
        (
            lambda root: (root / "statistics.json").write_text('{"bins": 4, "mean": 0.1, "std": 0.2}'),
            r"mean .* of the training split, found 0\.100000",
        ),
    ],
)
def test_check_only_finds(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    """Catches a verification that looks at names alone."""
    root = tmp_path / "root"
    run(write_gopro(tmp_path / "source", train=3, test=2), root)
    check_root(root, workers=1)
    damage(root)
    before = contents(root)
    with pytest.raises(InputError, match=message):
        check_root(root, workers=1)
    assert contents(root) == before
