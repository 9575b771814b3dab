"""Turns a published data set into one that is read fast (see `layout`): checked, aligned, counted and logged.

May be stopped at any time and started again: what is whole is kept, and while anything is missing a file UNFINISHED
says so, which every reader of the data set respects. Started again when all is done, it does nothing.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikejax.data.datasets.layout import (
    SPIKE,
    STATISTICS,
    TRAINING_SPLIT,
    UNFINISHED,
    VOXEL_ARRAY,
    AlignedFrame,
    FrameOrigin,
    read_dropped,
    write_alignment,
    write_dropped,
    write_origins,
)
from spikejax.data.datasets.voxel_statistics import add_histograms, statistics_of
from spikejax.data.preparation.frame_job import FrameJob, expected_sizes, prepare_frame
from spikejax.data.preparation.frame_selection import (
    FrameKey,
    FrameRules,
    PlannedFrame,
    PreparationPlan,
    plan_preparation,
)
from spikejax.data.preparation.journal import FrameRecord, Journal, fingerprint, is_record_of
from spikejax.data.preparation.output_root import begin, check_apart, check_continues, working_alone
from spikejax.data.preparation.published_layouts import LayoutChoices, find_published
from spikejax.data.preparation.workers import run_parallel
from spikejax.data.spikes.stream_size import StreamConfig, size_notes, write_config
from spikejax.errors import InputError
from spikejax.io.disk_space import free_bytes
from spikejax.io.json_files import write_json
from spikejax.io.tiled_arrays import open_frames_array
from spikejax.progress import byte_text, count_text, with_progress

_PREPARED_BY = "spikejax.prepare"
# Frames that the expected disk use is measured on.
_MEASURED = 3
# Below this the spikes of a sequence hardly follow its pictures' light.
_WEAK_ALIGNMENT = 0.5

PrintLine = Callable[[str], None]


@dataclass(frozen=True)
class PrepareSettings:
    """What is made of a published data set.

    Attributes:
        layout: one of `published_layouts.LAYOUTS`, or `FILE.py:NAME`.
        bins: time bins of the voxels.
        choices: what the layout leaves open.
        rules: what is asked of a frame.
        picture_arrays: whether pictures are written as arrays in tiles, too.
        link: whether files that stay as they are become hard links; the result does not depend on it.
    """

    layout: str
    bins: int = 32
    choices: LayoutChoices = LayoutChoices()
    rules: FrameRules = FrameRules()
    picture_arrays: bool = True
    link: bool = False


def prepare(
    source: Path, root: Path, settings: PrepareSettings, *, workers: int, print_line: PrintLine
) -> PreparationPlan:
    """Prepares a data set and returns what is in it.

    Args:
        source: the published data set.
        root: the folder to write; one that the same settings have begun is continued.
        settings: what to make.
        workers: processes; fewer than 2 = this one.
        print_line: shows a line to the user.

    Raises:
        InputError: the source is not of the layout, nothing in it can be used, the root is something else, there is too
            little space, or the spikes of the training split are all alike.
    """
    check_apart(source, root)
    published = find_published(settings.layout, source, settings.choices)
    description = _description(source, settings, published.blur)
    check_continues(root, description)
    told = False
    journal = Journal(root)
    while True:
        plan = plan_preparation(
            published.sequences, settings.rules, lambda key, frame: _content_problem(journal, key, frame)
        )
        if not plan.sequences:
            raise InputError(
                f"expected frames with spikes and pictures, can use none of {source}{_first_dropped(plan)}"
            )
        if not told:
            for line in size_notes(sequence.stream_size for sequence in plan.sequences):
                print_line(line)
            # Only now, so that other settings may be tried where these have come to nothing.
            begin(root, description)
            told = True
        stale = list(_stale_folders(root, plan, settings))
        if not stale and not _pending(root, plan, settings, journal) and _is_finished(root, plan):
            print_line(f"nothing to do: {_amount(plan)} are prepared in {root}")
            return plan
        with working_alone(root):
            for folder in stale:
                shutil.rmtree(folder)
            problems = _run(_pending(root, plan, settings, journal), journal, root, workers, print_line)
            if not problems:  # else the sequences that lose a frame are cut there
                _finish(root, plan, settings, journal, print_line)
                break
    print_line(f"prepared {_amount(plan)} in {root}")
    return plan


def _description(source: Path, settings: PrepareSettings, blur: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "source": _PREPARED_BY,
        "layout": settings.layout,
        "published": source.resolve().name,
        "blur": blur,
    }
    fields |= {"bins": settings.bins, "picture_arrays": settings.picture_arrays, "split": settings.choices.split}
    fields |= {"spike_offset": settings.choices.spike_offset, "spike_margin": settings.choices.spike_margin}
    rules = asdict(settings.rules)
    return {**fields, **rules, "spike_size": None if rules["spike_size"] is None else list(rules["spike_size"])}


def _content_problem(journal: Journal, key: FrameKey, frame: PlannedFrame) -> str:
    record = journal.records.get(key)
    return record.problem if record is not None and record.problem and record.files == fingerprint(frame) else ""


def _stale_folders(root: Path, plan: PreparationPlan, settings: PrepareSettings) -> Iterator[Path]:
    """Folders of sequences that the plan does not have, or has with other frames."""
    planned = {root / sequence.split / sequence.name: sequence for sequence in plan.sequences}
    for folder in root.glob("*/[!.]*/"):
        sequence = planned.get(folder)
        shape = None if sequence is None else (len(sequence.frames), *sequence.spike_size, settings.bins)
        array = folder / VOXEL_ARRAY
        if sequence is None or (array.is_dir() and open_frames_array(array).shape != shape):
            yield folder


def _pending(root: Path, plan: PreparationPlan, settings: PrepareSettings, journal: Journal) -> list[FrameJob]:
    """What is left to do."""
    jobs = []
    for sequence in plan.sequences:
        folder = root / sequence.split / sequence.name
        for number, frame in enumerate(sequence.frames):
            job = FrameJob(sequence, number, folder, settings.bins, settings.picture_arrays, settings.link)
            record = journal.records.get((sequence.split, sequence.source, frame.name))
            if not is_record_of(record, sequence, number) or not job.is_written():
                jobs.append(job)
    return jobs


def _is_finished(root: Path, plan: PreparationPlan) -> bool:
    logged = all(read_dropped(root / split) == dropped for split, dropped in plan.dropped.items())
    return logged and not (root / UNFINISHED).exists()


def _run(
    jobs: Sequence[FrameJob], journal: Journal, root: Path, workers: int, print_line: PrintLine
) -> list[FrameRecord]:
    """The records of the frames that could not be used; all jobs are done and recorded in the journal."""
    problems: list[FrameRecord] = []
    if not jobs:
        return problems
    try:
        _check_space(jobs, root, print_line)
        for sequence, folder in {job.sequence: job.folder for job in jobs}.items():
            write_config(folder / SPIKE, StreamConfig(*sequence.spike_size))
        records = run_parallel(prepare_frame, jobs, workers)
        for record in with_progress(records, "preparing", total=len(jobs), unit="frame"):
            journal.append(record)
            if record.problem:
                problems.append(record)
    except OSError as error:
        kept = f"{count_text(len(journal.records), 'frame')} done and kept"
        raise InputError(f"stopped: {error}; {kept}, the same command continues: {root}") from error
    return problems


def _check_space(jobs: Sequence[FrameJob], root: Path, print_line: PrintLine) -> None:
    """Says how much will be written, by the measure of a few frames; raises `InputError` if there is less space."""
    measured: Counter[str] = Counter()
    count = 0
    for job in jobs[:: max(1, len(jobs) // _MEASURED)][:_MEASURED]:
        with contextlib.suppress(InputError):  # reported when the frame itself is prepared
            measured.update(expected_sizes(job))
            count += 1
    if not count:
        return
    sizes = {kind: size * len(jobs) / count for kind, size in measured.items()}
    free = free_bytes(root)
    parts = ", ".join(f"{byte_text(size)} of {kind}" for kind, size in sizes.items())
    needed = f"{byte_text(sum(sizes.values()))} for {count_text(len(jobs), 'frame')} ({parts})"
    text = f"{needed}, {byte_text(free)} are free: {root}"
    if sum(sizes.values()) > free:
        raise InputError(f"expected space on the disk: about {text}")
    print_line(f"will write about {text}")


def _finish(
    root: Path, plan: PreparationPlan, settings: PrepareSettings, journal: Journal, print_line: PrintLine
) -> None:
    """Writes the logs and the statistics, prints warnings, and declares the data set finished."""
    histogram = np.zeros(0, np.int64)
    windows = 0
    for split, dropped in plan.dropped.items():
        aligned, origins = [], []
        for sequence in plan.sequences:
            if sequence.split != split:
                continue
            for number, frame in enumerate(sequence.frames):
                record = journal.records[split, sequence.source, frame.name]
                t1 = frame.t0 + frame.steps
                aligned.append(AlignedFrame(sequence.name, number, frame.t0, t1, record.spikes))
                origins.append(FrameOrigin(sequence.name, number, str(frame.blur), str(frame.sharp), str(frame.stream)))
                if split == TRAINING_SPLIT:
                    histogram, windows = add_histograms(histogram, np.array(record.histogram)), windows + 1
        write_alignment(root / split, aligned)
        write_origins(root / split, origins)
        write_dropped(root / split, dropped)
    (root / STATISTICS).unlink(missing_ok=True)
    if windows:
        statistics = statistics_of(histogram, bins=settings.bins, windows=windows, source=str(root))
        write_json(root / STATISTICS, asdict(statistics))
    else:
        print_line(
            "warning: no training split, so no statistics: give those of the training data to whatever reads this"
        )
    for line in _warnings(root, plan, settings, journal):
        print_line(f"warning: {line}")
    (root / UNFINISHED).unlink()


def _warnings(root: Path, plan: PreparationPlan, settings: PrepareSettings, journal: Journal) -> Iterator[str]:
    """What the user should know of the finished data set, a line each."""
    for split, dropped in plan.dropped.items():
        if dropped:
            first = f"the first: {dropped[0].sequence} {dropped[0].frame}: {dropped[0].reason}"
            yield f"{count_text(len(dropped), 'frame')} of {split} left out, see {root / split}/dropped.csv; {first}"
    lengths = Counter(frame.steps for sequence in plan.sequences for frame in sequence.frames)
    for steps, count in sorted(lengths.items()):
        if steps < settings.bins:
            fewer = f"{settings.bins - steps} fewer than the {settings.bins} bins"
            yield f"{count_text(count, 'window')} of {steps} stream frames, {fewer}: as many bins are always empty"
    same = 0
    for sequence in plan.sequences:
        records = [journal.records[sequence.split, sequence.source, frame.name] for frame in sequence.frames]
        same += sum(record.same for record in records)
        alignment = float(np.median([record.alignment for record in records]))
        if alignment < _WEAK_ALIGNMENT:
            folder = f"{sequence.split}/{sequence.name}"
            reason = f"correlation {alignment:.2f}: another scene, or upside down?"
            yield f"the spikes of {folder} do not follow its pictures ({reason})"
    if same:
        yield f"{count_text(same, 'sharp picture')} identical to the blurry one"


def _first_dropped(plan: PreparationPlan) -> str:
    dropped = [row for rows in plan.dropped.values() for row in rows]
    if not dropped:
        return ": no sequence is there"
    first = dropped[0]
    return f": {len(dropped)} left out, the first ({first.sequence}, {first.frame}) because: {first.reason}"


def _amount(plan: PreparationPlan) -> str:
    parts = []
    for split in plan.dropped:
        sequences = [sequence for sequence in plan.sequences if sequence.split == split]
        frames = sum(len(sequence.frames) for sequence in sequences)
        parts.append(f"{count_text(frames, 'frame')} in {count_text(len(sequences), 'sequence')} of {split}")
    return " and ".join(parts)
