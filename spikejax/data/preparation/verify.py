"""Verifies a data set in folders, all of its content: pictures, streams, what was counted and what was logged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spikejax.data.datasets.frame_runs import FrameFiles, FrameRun
from spikejax.data.datasets.layout import (
    ALIGNMENT,
    SPLITS,
    STATISTICS,
    TRAINING_SPLIT,
    read_alignment,
    read_description,
)
from spikejax.data.datasets.picture_index import read_index
from spikejax.data.datasets.usable_frames import Scan
from spikejax.data.datasets.voxel_statistics import add_histograms, read_statistics, statistics_of
from spikejax.data.preparation.workers import run_parallel
from spikejax.data.spikes.voxels import voxelise_packed
from spikejax.errors import InputError, one_line
from spikejax.io.bucket_listing import DataPath
from spikejax.io.json_files import read_json
from spikejax.io.lmdb_pictures import LmdbPicture
from spikejax.io.pictures import read_picture
from spikejax.io.tiled_arrays import open_frames_array
from spikejax.progress import count_text, with_progress

# Problems that a message lists one by one.
_LISTED_PROBLEMS = 10


@dataclass(frozen=True)
class FrameCheck:
    """A frame to verify.

    Attributes:
        split: "train" or "val".
        run: it belongs to.
        frame: its files.
        bins: time bins of the voxels; None = the data set names no number.
        logged: number of spikes in the alignment log; None = no log.
    """

    split: str
    run: FrameRun
    frame: FrameFiles
    bins: int | None
    logged: int | None


@dataclass(frozen=True)
class FrameReport:
    """What verifying a frame brought to light.

    Attributes:
        split: "train" or "val".
        problems: in words; empty for a sound frame.
        histogram: how many of its counts are 0, 1, 2, ...; empty without counts.
    """

    split: str
    problems: tuple[str, ...]
    histogram: tuple[int, ...] = ()


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    windows: int = 0

    def add(self, report: FrameReport) -> None:
        self.problems += report.problems
        if report.split != TRAINING_SPLIT or not report.histogram:
            return
        self.histogram = add_histograms(self.histogram, np.array(report.histogram))
        self.windows += 1


def check_root(root: Path, *, workers: int) -> str:
    """One line that says what a data set holds, once all of it has been read and compared.

    Args:
        root: the data set; caches and logs are verified where there are any.
        workers: processes; fewer than 2 = this one.

    Raises:
        InputError: something is wrong; the message says how much, and the first problems.
    """
    present = [split for split in SPLITS if (root / split).is_dir()]
    if not present:
        raise InputError(f"expected a data set with folders {' or '.join(SPLITS)}, found none: {root}")
    description = read_description(root) or {}
    statistics = read_json(root / STATISTICS) or {}
    bins = statistics.get("bins", description.get("bins"))
    findings = _Findings()
    checks: list[FrameCheck] = []
    for split in present:
        scan = _scan(root, split)
        findings.problems += [f"{split}/{row.sequence} {row.frame}: {row.reason}" for row in scan.dropped]
        checks += _checks(root, split, scan, bins, findings.problems)
    reports = run_parallel(check_frame, checks, workers)
    for report in with_progress(reports, "checking", total=len(checks), unit="frame"):
        findings.add(report)
    if bins is not None and findings.windows and not findings.problems:
        findings.problems += _statistics_problems(root, bins, findings)
    if findings.problems:
        listed = "; ".join(findings.problems[:_LISTED_PROBLEMS])
        more = (
            f"; and {len(findings.problems) - _LISTED_PROBLEMS} more"
            if len(findings.problems) > _LISTED_PROBLEMS
            else ""
        )
        found = count_text(len(findings.problems), "problem")
        raise InputError(f"expected a sound data set, found {found}: {listed}{more}")
    parts = [f"{count_text(sum(check.split == split for check in checks), 'frame')} of {split}" for split in present]
    return f"sound: {' and '.join(parts)}, made of {description.get('source', 'unknown origin')}: {root}"


def _scan(root: Path, split: str) -> Scan:
    """All frames of a split, with spikes unless it is indexed as one of pictures alone."""
    index = read_index(root / split)
    if index is None:
        return Scan(root, split, frames=1, spikes=True, smallest_side=1)
    blurry = any(sequence.blur is not None for sequence in index.sequences)
    return Scan(root, split, frames=1, spikes=False, smallest_side=1, blurry=blurry, scale=index.scale)


def _checks(root: Path, split: str, scan: Scan, bins: int | None, problems: list[str]) -> Iterator[FrameCheck]:
    """The frames of a split; what the alignment log does not agree with is added to the problems."""
    logged = {(row.sequence, row.frame): row.spikes for row in read_alignment(root / split)}
    existing = set()
    for run in scan.runs:
        for frame in run.frames:
            if isinstance(frame.blur, LmdbPicture) or frame.spikes is None:  # no log speaks of it
                yield FrameCheck(split, run, frame, bins, None)
                continue
            key = (frame.blur.parent.parent.name, frame.number)
            existing.add(key)
            if logged and key not in logged:
                problems.append(f"{frame.blur} has no line in {root / split / ALIGNMENT}")
            yield FrameCheck(split, run, frame, bins, logged.get(key))
    problems += [
        f"{root / split / ALIGNMENT} has {key[0]} {key[1]}, which is not there" for key in logged if key not in existing
    ]


def check_frame(check: FrameCheck) -> FrameReport:
    """Reads a frame's files and compares them with each other."""
    problems: list[str] = []
    histogram: tuple[int, ...] = ()
    for step in (_check_pictures, _check_spikes):
        try:
            histogram = tuple(step(check, problems)) or histogram
        except InputError as error:
            problems.append(one_line(error))
    return FrameReport(check.split, tuple(problems), histogram)


def _check_pictures(check: FrameCheck, problems: list[str]) -> tuple[int, ...]:
    run, frame = check.run, check.frame
    pairs = ((frame.blur, run.arrays.blur), (frame.sharp, run.arrays.sharp))
    # A frame whose input is made of its sharp picture has one picture.
    for path, array in pairs if frame.blur != frame.sharp else pairs[1:]:
        picture = read_picture(path)
        if path == frame.sharp and picture.shape[:2] != (run.height, run.width):
            sizes = f"{run.height}x{run.width} as the sequence, found {picture.shape[0]}x{picture.shape[1]}"
            problems.append(f"expected a picture of {sizes}: {path}")
        if array is not None and not np.array_equal(_stored(array, frame), picture):
            problems.append(f"frame {frame.number} of {array} is not {path}")
    return ()


def _check_spikes(check: FrameCheck, problems: list[str]) -> list[int]:
    """The histogram of the counts."""
    spikes, arrays = check.frame.spikes, check.run.arrays
    if spikes is None:
        return []
    counts = voxelise_packed(spikes.read(), check.bins or 1)
    total = int(counts.sum())
    if total in (0, spikes.steps * spikes.height * spikes.width):
        everywhere = f"{min(total, 1)} everywhere"
        problems.append(f"expected spikes at some times and not at others, found {everywhere}: {spikes.path}")
    if check.logged is not None and total != check.logged:
        problems.append(f"expected {check.logged} spikes as the alignment log says, found {total}: {spikes.path}")
    if check.bins is None:
        return []
    caches = [arrays.voxels] if arrays.voxels is not None else [spikes.cache] if spikes.cache is not None else []
    for cache in caches:
        stored = spikes.counts(check.bins) if cache is spikes.cache else _stored(cache, check.frame)
        if not np.array_equal(stored, counts):
            problems.append(f"the counts of frame {check.frame.number} in {cache} are not those of {spikes.path}")
    return np.bincount(counts.ravel()).tolist()


def _stored(array: DataPath, frame: FrameFiles) -> np.ndarray:
    return open_frames_array(array).read(frame.number, frame.number + 1)[0]


def _statistics_problems(root: Path, bins: int, findings: _Findings) -> list[str]:
    stored = read_statistics(root, bins=bins)
    wanted = statistics_of(findings.histogram, bins=bins, windows=findings.windows, source=str(root))
    if np.allclose((stored.mean, stored.std), (wanted.mean, wanted.std), rtol=1e-9, atol=0):
        return []
    expected = f"mean {wanted.mean:.6f} and std {wanted.std:.6f}"
    return [
        f"expected {expected} of the training split, found {stored.mean:.6f} and {stored.std:.6f}: {root / STATISTICS}"
    ]
