"""The page of evaluations side by side: totals, sequences, curves over the frames, and the frames that differ most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from spikejax.errors import InputError
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import read_picture
from spikejax.quality.metrics import AFTER, BEFORE, Metric, Picture, metric_named
from spikejax.quality.score_comparison import Comparison, FrameDifference, ScoredOutput, difference
from spikejax.reports.experiment_page import CurveChart, ExperimentPage, Panel, Strip, Table, render_experiment

# What `evaluate --save-frames` writes, see `spikejax.evaluation.partial`.
FRAMES = "frames"
# Sequences with a chart of their own, those that differ most; a table names all.
_CHARTS = 8


def render_comparison(comparison: Comparison, *, frames: int) -> str:
    """The page as HTML, with everything in it and without a script.

    Args:
        comparison: of two evaluations or more.
        frames: how many to show.

    Raises:
        InputError: a picture that an evaluation should have written is missing or damaged.
    """
    shown = comparison.shown
    unit = f" in {shown.unit}" if shown.unit else ""
    strips = list(_strips(comparison, frames))
    caption = "The frames whose scores differ most." if strips else ""
    notes = [*(_described(output) for output in comparison.outputs), *(f"Note: {note}." for note in comparison.notes)]
    if frames and not strips:
        notes.append("No pictures: evaluate with --save-frames keeps them.")
    page = ExperimentPage(
        title=f"{' and '.join(comparison.labels)}, compared",
        notes=notes,
        verdict=None,
        tables=[
            Table("Totals", "Means over the sequences.", *total_table(comparison)),
            Table("Sequences", f"{shown.title}{unit}; those that differ most come first.", *sequence_table(comparison)),
        ],
        charts=[
            CurveChart(f"{name}: {shown.title}", shown.unit, comparison.frames_of(name), axis="frame")
            for name in list(comparison.sequences)[:_CHARTS]
        ],
        pictures_caption=caption,
        strips=strips,
    )
    return render_experiment(page)


def total_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the totals of every metric: before restoring, after it by each output, and the differences."""
    rows = []
    for name, (before, *after) in comparison.totals.items():
        metric = metric_named(name)
        title = f"{metric.title}{metric.unit and f' ({metric.unit})'}"
        rows.append([title, metric.text(before), *_values(metric, after)])
    return ["metric", "before", *_heads(comparison)], rows


def sequence_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the metric of every sequence, and the differences."""
    rows = [[name, *_values(comparison.shown, values)] for name, values in comparison.sequences.items()]
    return ["sequence", *_heads(comparison)], rows


def _heads(comparison: Comparison) -> list[str]:
    first, *rest = comparison.labels
    return [first, *rest, *(f"{label} - {first}" for label in rest)]


def _values(metric: Metric, values: Sequence[float | None]) -> list[str]:
    """The values, and how much larger than the first the others are."""
    differences = [difference(value, values[0]) for value in values[1:]]
    signed = ["" if value is None else f"{value:+.{metric.digits}f}" for value in differences]
    return [*(metric.text(value) for value in values), *signed]


def _described(output: ScoredOutput) -> str:
    """What an evaluation was of, in a line."""
    content = output.content
    data = content.get("data") or content.get("sharp") or "unknown data"
    tile = ",".join(map(str, content.get("tile") or ()))
    return f"{output.label}: {content.get('checkpoint')} of {content.get('network')} on {data}, tiles of {tile}"


def _strips(comparison: Comparison, count: int) -> Iterator[Strip]:
    """The pictures of the frames that differ most, as far as the evaluations kept theirs."""
    kept = [output for output in comparison.outputs if (output.folder / FRAMES).is_dir()]
    if not kept:
        return
    for frame in comparison.differing_frames(count):
        yield Strip(_named(comparison, frame), list(_panels(comparison, kept, frame)))


def _named(comparison: Comparison, frame: FrameDifference) -> str:
    metric = comparison.shown
    return f"{frame.sequence}, frame {frame.number}: {frame.spread:.{metric.digits}f}{metric.unit_text} apart"


def _panels(comparison: Comparison, kept: Sequence[ScoredOutput], frame: FrameDifference) -> Iterator[Panel]:
    metric = comparison.shown
    first = kept[0]
    before = first.sequences[frame.sequence][frame.number].get(f"{comparison.metric}_{BEFORE}")
    yield Panel("before", _picture(first, frame, "before"), f"{metric.text(before)}{metric.unit_text}")
    for output in kept:
        score = output.sequences[frame.sequence][frame.number].get(f"{comparison.metric}_{AFTER}")
        yield Panel(output.label, _picture(output, frame, "restored"), f"{metric.text(score)}{metric.unit_text}")
    yield Panel("sharp", _picture(first, frame, "sharp"))


def _picture(output: ScoredOutput, frame: FrameDifference, kind: str) -> Picture:
    folder: Path = output.folder / FRAMES / frame.sequence / kind
    names, counted = open_frames(folder).names or (), len(output.sequences[frame.sequence])
    if len(names) != counted:
        raise InputError(f"expected {counted} pictures, as many as scores, found {len(names)}: {folder}")
    return read_picture(folder / names[frame.number])
