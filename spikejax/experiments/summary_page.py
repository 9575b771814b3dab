"""What the page of an experiment shows, gathered from the workdirs of its runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from spikejax.experiments.plan import PICTURES, Run, differing_batches
from spikejax.experiments.results import FAILED, PASSED, Results
from spikejax.experiments.spec import INPUT, SHARP
from spikejax.experiments.tables import table_rows
from spikejax.io.atomic import write_text
from spikejax.io.pictures import read_picture
from spikejax.progress import count_text
from spikejax.quality.metrics import AFTER, BEFORE
from spikejax.reports.experiment_page import CurveChart, ExperimentPage, Panel, Strip, Table, render_experiment
from spikejax.training.monitoring.metrics_log import METRICS_LOG, read_points

# Of a picture that validation writes.
_PANELS = (INPUT, "restored", SHARP)


def write_page(results: Results, runs: Sequence[Run], path: Path) -> None:
    """Writes the page, whole or not at all."""
    experiment, metric = results.experiment, results.metric
    acceptance = results.acceptance()
    verdict = None
    if acceptance is not None:
        verdict = {PASSED: "passed", FAILED: "failed"}.get(acceptance[0], "unknown"), acceptance[1]
    head, rows = table_rows(results)
    score = f"validation/{results.score}"
    unit = metric.unit and f" in {metric.unit}"
    caption = f"{metric.title}{unit} on the validation split, mean ± standard deviation over seeds."
    page = ExperimentPage(
        title=f"{experiment.title}: {count_text(len(experiment.variants), 'variant')} compared",
        notes=_notes(results, runs),
        verdict=verdict,
        tables=[Table("Results", caption, head, rows)],
        charts=[
            _curves(runs, score, f"{metric.title} during training", metric.unit),
            _curves(runs, "training/loss", "Loss", ""),
        ],
        pictures_caption=f"The middle frames of sequences ({experiment.pictures.evaluation}), restored by the first "
        "network of each variant.",
        strips=list(_strips(results, runs)),
    )
    write_text(path, render_experiment(page))


def _notes(results: Results, runs: Sequence[Run]) -> list[str]:
    updates = sorted({run.updates for run in runs})
    length = f"{updates[0]:,}" if len(updates) == 1 else f"{updates[0]:,} to {updates[-1]:,}"
    lines = [f"{results.experiment.source}, from {results.experiment.base}: {length} updates of each network."]
    if results.runs_done < results.runs:
        lines.append(f"{results.runs_done} of {results.runs} networks are trained and measured so far.")
    differing = differing_batches(runs)
    same = "All variants see the same batches." if not differing else f"Variants differ in {', '.join(differing)}."
    return [*lines, same]


def _curves(runs: Sequence[Run], curve: str, title: str, unit: str) -> CurveChart:
    """A line for each variant: the mean over its networks."""
    steps: dict[str, dict[int, list[float]]] = {}
    for run in runs:
        points = steps.setdefault(run.variant, defaultdict(list))
        for point in read_points(run.workdir / METRICS_LOG):
            if point.curve == curve and np.isfinite(point.value):
                points[point.step].append(point.value)
    distances = Counter(
        later - earlier for points in steps.values() for earlier, later in pairwise(sorted({0, *points}))
    )
    distance = distances.most_common(1)[0][0] if distances else 1
    lines = {}
    for variant, points in steps.items():
        last = max(points, default=0) // distance
        lines[variant] = [
            float(np.mean(points[step])) if step in points else None
            for step in range(0, (last + 1) * distance, distance)
        ]
    return CurveChart(title, unit, lines, distance)


def _strips(results: Results, runs: Sequence[Run]) -> Iterator[Strip]:
    """The columns of each sequence, as far as they are there."""
    shown = results.experiment.pictures
    firsts: dict[str, Run] = {}
    for run in runs:
        firsts.setdefault(run.variant, run)
    # What goes in, and the truth, are in the pictures of every variant.
    wanted = [firsts[column] for column in shown.columns if column in firsts] or list(firsts.values())
    names = {path.stem for run in wanted for path in (run.workdir / PICTURES / shown.evaluation).glob("*.png")}
    for name in sorted(names)[: shown.sequences]:
        columns = [(column, [firsts[column]] if column in firsts else wanted) for column in shown.columns]
        panels = [
            next((panel for run in candidates if (panel := _panel(results, run, column, name)) is not None), None)
            for column, candidates in columns
        ]
        if present := [panel for panel in panels if panel is not None]:
            yield Strip(name, present)


def _panel(results: Results, run: Run, column: str, name: str) -> Panel | None:
    """A picture of a sequence: of what goes in, of the truth, or of what a run makes of it; None if it is not there."""
    experiment = results.experiment
    path = run.workdir / PICTURES / experiment.pictures.evaluation / f"{name}.png"
    content = run.scores(experiment.pictures.evaluation, experiment.evaluations[experiment.pictures.evaluation])
    if content is None or not path.is_file():
        return None
    panels = np.split(read_picture(path), len(_PANELS), axis=1)
    picture = panels[_PANELS.index(column if column in _PANELS else "restored")]
    frames = content["frames"][name]
    scores = frames[len(frames) // 2]
    when = {INPUT: BEFORE, SHARP: ""}.get(column, AFTER)
    value = f"{results.metric.text(scores[f'{experiment.metric}_{when}'])}{results.metric.unit_text}" if when else ""
    return Panel(column, np.ascontiguousarray(picture), value)
