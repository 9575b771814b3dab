"""Mean and standard deviation of a data set's voxels, of the training split alone (ROOT/statistics.json).

Of log1p of the counts, over every pixel, bin and window. Validation data stay out, as they do from training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Int

from spikejax.data.datasets.layout import STATISTICS, TRAINING_SPLIT
from spikejax.data.datasets.usable_frames import Scan
from spikejax.errors import InputError
from spikejax.io.json_files import read_json, write_json
from spikejax.io.paths import AnyPath, as_path

# Below this nearly all counts are equal, and dividing by it would only amplify rounding.
_SMALLEST_STD = 1e-6


@dataclass(frozen=True)
class SpikeStatistics:
    """What standardises voxels.

    Attributes:
        bins: time bins per window that the counts were made with.
        mean: of log1p(counts).
        std: standard deviation of log1p(counts), never near 0.
        windows: number of exposure windows that were counted.
        split: the split they belong to.
    """

    bins: int
    mean: float
    std: float
    windows: int
    split: str = TRAINING_SPLIT


def measure_statistics(root: AnyPath, *, bins: int) -> SpikeStatistics:
    """The statistics of the training split, read one window at a time.

    Raises:
        InputError: there is no usable training frame, or all counts are (nearly) equal.
    """
    histogram = np.zeros(0, np.int64)
    windows = 0
    for run in Scan(root, TRAINING_SPLIT, frames=1, spikes=True, smallest_side=1).runs:
        for frame in run.frames:
            assert frame.spikes is not None
            counts = frame.spikes.counts(bins)
            histogram = add_histograms(histogram, np.bincount(counts.ravel()))
            windows += 1
    return statistics_of(histogram, bins=bins, windows=windows, source=str(root))


def add_histograms(one: Int[np.ndarray, " n"], other: Int[np.ndarray, " m"]) -> Int[np.ndarray, " longest"]:
    """The sum of two histograms, as long as the longer one."""
    both = np.zeros(max(len(one), len(other)), np.int64)
    both[: len(one)] += one
    both[: len(other)] += other
    return both


def statistics_of(histogram: Int[np.ndarray, " n"], *, bins: int, windows: int, source: str) -> SpikeStatistics:
    """The statistics of counts of which `histogram` says how many are 0, 1, 2, ...; `source` names them in errors.

    Raises:
        InputError: all counts are (nearly) equal.
    """
    mean, std = _moments(histogram)
    if std < _SMALLEST_STD:
        raise InputError(
            f"expected spikes that differ, found a standard deviation of {std:g} over {windows} windows: {source}"
        )
    return SpikeStatistics(bins, mean, std, windows)


def _moments(histogram: np.ndarray) -> tuple[float, float]:
    # Counts are small whole numbers: their histogram gives float64 sums that do not depend on the order of the files.
    values = np.log1p(np.arange(len(histogram), dtype=np.float64))
    share = histogram / histogram.sum()
    mean = float(share @ values)
    return mean, math.sqrt(float(share @ (values - mean) ** 2))


def ensure_statistics(root: AnyPath, *, bins: int) -> SpikeStatistics:
    """The statistics in ROOT/statistics.json; measured and written first unless they are there for `bins` bins."""
    fields = read_json(as_path(root) / STATISTICS)
    if fields is None or fields.get("bins") != bins:
        return write_statistics(root, bins=bins)
    return read_statistics(root, bins=bins)


def write_statistics(root: AnyPath, *, bins: int) -> SpikeStatistics:
    """Measures the training split and writes ROOT/statistics.json."""
    statistics = measure_statistics(root, bins=bins)
    write_json(as_path(root) / STATISTICS, asdict(statistics))
    return statistics


def read_statistics(root: AnyPath, *, bins: int) -> SpikeStatistics:
    """What ROOT/statistics.json says.

    Raises:
        InputError: it is missing, incomplete, for another number of bins or another split, or has an std near 0.
    """
    return read_statistics_file(as_path(root) / STATISTICS, bins=bins)


def read_statistics_file(path: AnyPath, *, bins: int) -> SpikeStatistics:
    """What a file of statistics says, or the one in a folder, which may be a data set or a workdir.

    Raises:
        InputError: as `read_statistics`.
    """
    path = as_path(path)
    file = path / STATISTICS if path.is_dir() else path
    fields = read_json(file)
    if fields is None:
        raise InputError(f"expected the training split's statistics, found none: {file}")
    return statistics_from(fields, bins=bins, source=str(file))


def statistics_from(fields: Mapping[str, object], *, bins: int, source: str) -> SpikeStatistics:
    """Statistics from a mapping such as a checkpoint's or a JSON file's, checked; `source` names it in errors."""
    try:
        statistics = SpikeStatistics(
            bins=int(fields["bins"]),  # type: ignore[call-overload]
            mean=float(fields["mean"]),  # type: ignore[arg-type]
            std=float(fields["std"]),  # type: ignore[arg-type]
            windows=int(fields.get("windows", 0)),  # type: ignore[call-overload]
            split=str(fields.get("split", TRAINING_SPLIT)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected bins, mean and std as numbers, found {error!r}: {source}") from error
    if statistics.bins != bins:
        raise InputError(f"expected statistics for {bins} bins, found them for {statistics.bins}: {source}")
    if statistics.split != TRAINING_SPLIT:
        raise InputError(f"expected statistics of the split {TRAINING_SPLIT!r}, found {statistics.split!r}: {source}")
    if not math.isfinite(statistics.mean) or not statistics.std >= _SMALLEST_STD:
        raise InputError(
            f"expected a finite mean and an std above 0, found {statistics.mean} and {statistics.std}: {source}"
        )
    return statistics
