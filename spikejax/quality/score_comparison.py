"""Evaluations side by side: the totals of each, and in which sequences and frames they differ most."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spikejax.errors import InputError
from spikejax.io.json_files import read_json
from spikejax.quality.metrics import AFTER, BEFORE, Metric, measured_metrics, metric_named
from spikejax.quality.score_files import SCORES_FILE

# By so much, in units of the metric's last stated digit, what was measured before restoring may differ.
_SAME_INPUT = 0.5
Values = Sequence[float | None]


@dataclass(frozen=True)
class ScoredOutput:
    """What an evaluation wrote.

    Attributes:
        label: a short name, unlike those of the others.
        folder: where it lies.
        content: of metrics.json.
    """

    label: str
    folder: Path
    content: Mapping[str, Any]

    @property
    def sequences(self) -> dict[str, list[dict[str, float | None]]]:
        """The scores of every frame, by sequence."""
        return self.content["frames"]

    def total(self, name: str) -> float | None:
        """The mean over the sequences of a score such as "psnr_recon"; None if it is infinite."""
        return self.content["total"][name]

    def clip(self, sequence: str, name: str) -> float | None:
        """The mean over a sequence's frames; None if it is infinite."""
        return self.content["clips"][sequence].get(name)


@dataclass(frozen=True)
class FrameDifference:
    """A frame, and how far the outputs' scores of it are from each other.

    Attributes:
        sequence: its name.
        number: of the frame, from 0.
        scores: of each output, None where infinite.
        spread: the largest minus the smallest.
    """

    sequence: str
    number: int
    scores: tuple[float | None, ...]
    spread: float


@dataclass(frozen=True)
class Comparison:
    """Evaluations of the same sequences.

    Attributes:
        outputs: what is compared; differences are from the first.
        metric: the name of the one that sequences and frames are compared by.
        notes: what the user should know before believing a difference.
    """

    outputs: tuple[ScoredOutput, ...]
    metric: str
    notes: tuple[str, ...]

    @property
    def shown(self) -> Metric:
        """How the metric's values are stated."""
        return metric_named(self.metric)

    @property
    def labels(self) -> list[str]:
        """The outputs' names."""
        return [output.label for output in self.outputs]

    @property
    def metrics(self) -> list[str]:
        """What all of them measured."""
        first, *rest = (measured_metrics(output.content["total"]) for output in self.outputs)
        return [name for name in first if all(name in others for others in rest)]

    @property
    def totals(self) -> dict[str, list[float | None]]:
        """The mean over the sequences by metric: before restoring, then after for each output."""
        return {
            name: [
                self.outputs[0].total(f"{name}_{BEFORE}"),
                *(output.total(f"{name}_{AFTER}") for output in self.outputs),
            ]
            for name in self.metrics
        }

    @property
    def sequences(self) -> dict[str, list[float | None]]:
        """The metric after restoring for each output, by sequence; those that differ most come first."""
        name = f"{self.metric}_{AFTER}"
        values = {sequence: [output.clip(sequence, name) for output in self.outputs] for sequence in self._names}
        return dict(sorted(values.items(), key=lambda item: -_spread(item[1])))

    def frames_of(self, sequence: str) -> dict[str, list[float | None]]:
        """The metric of every frame of a sequence after restoring, by output."""
        name = f"{self.metric}_{AFTER}"
        return {output.label: [scores.get(name) for scores in output.sequences[sequence]] for output in self.outputs}

    def differing_frames(self, count: int) -> list[FrameDifference]:
        """The frames whose scores differ most, at most one of each sequence while there are others."""
        best: dict[str, list[FrameDifference]] = {}
        for sequence in self._names:
            lines = list(self.frames_of(sequence).values())
            frames = [
                FrameDifference(sequence, number, scores, _spread(scores))
                for number, scores in enumerate(zip(*lines, strict=True))
                if any(score is not None for score in scores)
            ]
            best[sequence] = sorted(frames, key=lambda frame: -frame.spread)[:count]
        ranked = [
            (rank, frame) for frames in best.values() for rank, frame in enumerate(frames) if rank == 0 or frame.spread
        ]
        ranked.sort(key=lambda pair: (pair[0], -pair[1].spread))
        return [frame for _, frame in ranked[:count]]

    @property
    def _names(self) -> list[str]:
        return list(self.outputs[0].sequences)


def compare_scores(folders: Sequence[str | os.PathLike[str]], *, metric: str | None = None) -> Comparison:
    """Evaluations side by side.

    Args:
        folders: what `python -m spikejax.evaluate` wrote, two or more.
        metric: by which sequences and frames are compared; None = the first that all measured.

    Raises:
        InputError: one is no evaluation, they are of other sequences, or not all measured the metric.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise InputError(f"expected two evaluations or more to compare, found {len(paths)}")
    labels = short_labels(paths)
    outputs = tuple(ScoredOutput(label, path, _read(path)) for label, path in zip(labels, paths, strict=True))
    first, *rest = outputs
    for other in rest:
        _check_same_sequences(first, other)
    comparison = Comparison(outputs, "", ())
    known = comparison.metrics
    if not known:
        raise InputError(f"expected evaluations by the same metrics, found none in common: {', '.join(labels)}")
    if metric is not None and metric not in known:
        raise InputError(f"expected --metric, one of {', '.join(known)}, found {metric!r}")
    return Comparison(outputs, metric or known[0], tuple(_notes(outputs, known)))


def difference(value: float | None, reference: float | None) -> float | None:
    """How much larger a score is; None where either is infinite."""
    return None if value is None or reference is None else value - reference


def short_labels(paths: Sequence[Path]) -> list[str]:
    """The ends of the paths, as few folders of each as keep all apart."""
    parts = [Path(os.path.abspath(path)).parts for path in paths]
    if len(set(parts)) < len(parts):
        twice = next(path for path, own in zip(paths, parts, strict=True) if parts.count(own) > 1)
        raise InputError(f"expected different evaluations to compare, found one twice: {twice}")
    length = next(n for n in range(1, max(map(len, parts)) + 1) if len({own[-n:] for own in parts}) == len(parts))
    return ["/".join(own[-length:]) for own in parts]


def _read(folder: Path) -> dict[str, Any]:
    path = folder / SCORES_FILE
    content = read_json(path)
    if content is None:
        raise InputError(f"expected what python -m spikejax.evaluate wrote, found no {path}")
    sequences = content.get("frames")
    if not (isinstance(content.get("total"), dict) and isinstance(content.get("clips"), dict)):
        raise InputError(f"expected the scores of an evaluation, found others (of a restored video?): {path}")
    if not isinstance(sequences, dict) or not sequences or sequences.keys() != content["clips"].keys():
        raise InputError(f"expected the scores of every frame by sequence, found none: {path}")
    return content


def _check_same_sequences(first: ScoredOutput, other: ScoredOutput) -> None:
    own, theirs = first.sequences, other.sequences
    for name in (*own, *theirs):
        if name not in own or name not in theirs:
            has, lacks = (first, other) if name in own else (other, first)
            raise InputError(
                f"expected evaluations of the same sequences, found {name} in {has.folder} and not in {lacks.folder}"
            )
        if len(own[name]) != len(theirs[name]):
            raise InputError(
                f"expected as many frames of {name} in all evaluations, found {len(own[name])} in {first.folder} and "
                f"{len(theirs[name])} in {other.folder}"
            )


def _notes(outputs: Sequence[ScoredOutput], metrics: Sequence[str]) -> list[str]:
    """What would make a difference of scores one of other things than networks."""
    notes = []
    if differing := [metric_named(name).title for name in metrics if _before_differs(outputs, name)]:
        notes.append(f"the inputs differ: {differing[0]} before restoring is not the same in all of them")
    for key in ("protocol", "tile", "overlap", "sigma", "threshold_factor", "noise"):
        values = [output.content.get(key) for output in outputs]
        if any(value != values[0] for value in values[1:]):
            stated = ", ".join(f"{output.label} {_text(value)}" for output, value in zip(outputs, values, strict=True))
            notes.append(f"{key} differs: {stated}")
    return notes


def _before_differs(outputs: Sequence[ScoredOutput], name: str) -> bool:
    first, *rest = (output.total(f"{name}_{BEFORE}") for output in outputs)
    margin = _SAME_INPUT * 10.0 ** -metric_named(name).digits
    gaps = (difference(value, first) for value in rest if value != first)
    return any(gap is None or abs(gap) > margin for gap in gaps)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _spread(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else 0.0
