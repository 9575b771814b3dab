"""What several tests of the data part share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.datasets.layout import write_alignment
from spikejax.data.datasets.voxel_statistics import write_statistics
from spikejax.data.simulation.rig import Exposure
from spikejax.data.simulation.write_sequence import write_sequence

HEIGHT, WIDTH, STEPS = 16, 24, 6


def write_root(root: Path, *, lengths: tuple[int, ...] = (4, 3), ratio: int = 1, split: str = "train") -> Path:
    """The data set in a folder; sequence s00 has lengths[0] frames, and so on."""
    rng = np.random.default_rng(len(lengths) + ratio)
    rows = []
    for number, length in enumerate(lengths):
        exposures = [
            Exposure(
                rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8),
                rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8),
                rng.integers(0, 2, (STEPS, HEIGHT // ratio, WIDTH // ratio)).astype(np.uint8),
            )
            for _ in range(length)
        ]
        rows += write_sequence(root / split / f"s{number:02d}", f"s{number:02d}", exposures)
    write_alignment(root / split, rows)
    if split == "train":
        write_statistics(root, bins=3)
    return root


@pytest.fixture
def make_root() -> Callable[..., Path]:
    """Writes a data set of random pictures, 16x24, and spikes of 6 steps: (root, lengths, ratio, split) -> root."""
    return write_root
