"""Files of scores: metrics.json of restoring and of evaluating, and the tables beside the latter."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_directory, refuse_existing
from spikejax.io.places import check_can_be_written, entries, resolved
from spikejax.io.video_codecs import is_video_name

SCORES_FILE = "metrics.json"
Scores = Mapping[str, float]


def metrics_path(output: Path) -> Path:
    """The file of scores of a restored folder (in it) or video (beside it)."""
    return output.with_name(f"{output.stem}.{SCORES_FILE}") if is_video_name(output) else output / SCORES_FILE


def finite_scores(scores: Scores) -> dict[str, float | None]:
    """The scores as JSON can hold them: an infinite PSNR, which equal pictures have, is None."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def mean_scores(scores: Sequence[Scores]) -> dict[str, float]:
    """Each metric's mean over the frames or clips that have it."""
    names = dict.fromkeys(name for frame in scores for name in frame)
    return {name: float(np.mean([frame[name] for frame in scores if name in frame])) for name in names}


def mean_over_frames(frames: Mapping[str, Sequence[Scores]]) -> dict[str, float]:
    """Each metric's mean over all frames, by sequence, that have it: what others state as the total."""
    return mean_scores([scores for clip in frames.values() for scores in clip])


def check_score_folder(output: Path, *, overwrite: bool) -> None:
    """Raises InputError, before any work, if the output would destroy something else than earlier scores.

    So it does if nothing can be written there.
    """
    place = resolved(output)
    refuse_existing(output, replace=overwrite)
    if place.is_dir() and entries(place) and not (place / SCORES_FILE).is_file():
        raise InputError(f"expected an earlier evaluation to replace, found no {SCORES_FILE} in {output}")
    check_can_be_written(place)
    if place.is_dir():
        check_can_be_written(place / SCORES_FILE)


def write_score_folder(
    output: Path,
    frames: Mapping[str, Sequence[Scores]],
    *,
    header: Mapping[str, Any],
    overwrite: bool = False,
    extra: Mapping[str, Path] | None = None,
) -> dict[str, float]:
    """Writes metrics.json and three tables, all or nothing; returns the mean over the sequences.

    metrics.json holds the header, both totals, and the scores of every clip and frame; frames.csv has a line for each
    frame, clips.csv one for each sequence, the mean over its frames, and total.csv one for each of the totals.

    Args:
        output: the folder.
        frames: the scores of every frame, by sequence.
        header: what else metrics.json says.
        overwrite: whether earlier scores are replaced.
        extra: folders that are moved there, by the name that they have there.
    """
    clips = {name: mean_scores(scores) for name, scores in frames.items()}
    total = mean_scores(list(clips.values()))
    over_frames = mean_over_frames(frames)
    content = {
        **header,
        "total": finite_scores(total),
        "mean_over_frames": finite_scores(over_frames),
        "clips": {name: {"frames": len(frames[name]), **finite_scores(scores)} for name, scores in clips.items()},
        "frames": {name: [finite_scores(frame) for frame in scores] for name, scores in frames.items()},
    }
    counts = {"sequences": len(frames), "frames": sum(map(len, frames.values()))}
    with atomic_directory(output, replace=overwrite) as folder:
        (folder / SCORES_FILE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        _write_csv(
            folder / "frames.csv",
            (
                {"sequence": name, "frame": number, **frame}
                for name, scores in frames.items()
                for number, frame in enumerate(scores)
            ),
        )
        _write_csv(
            folder / "clips.csv",
            ({"sequence": name, "frames": len(frames[name]), **scores} for name, scores in clips.items()),
        )
        totals = {"mean over sequences": total, "mean over frames": over_frames}
        _write_csv(folder / "total.csv", [{"total": name, **counts, **values} for name, values in totals.items()])
        for name, made in (extra or {}).items():  # last: on a full disk they stay where the next start finds them
            shutil.move(made, folder / name)
    return total


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    # What compares neighbouring frames has no score of a sequence's first one: that field stays empty.
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
