"""The table of an experiment: for the terminal (80 columns), as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikejax.experiments.results import Results
from spikejax.io.atomic import atomic_write
from spikejax.quality.metrics import AFTER, BEFORE, measured_metrics
from spikejax.quality.score_files import finite_scores

_COLUMNS = 80
_NOT_YET = "-"
_INPUT = "(input)"


def table_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """The head and the rows, as texts: what goes in, then a variant each, with a column for each evaluation."""
    experiment, metric = results.experiment, results.metric
    head = ["variant", "seeds", *experiment.evaluations]
    befores = [results.before(evaluation) for evaluation in experiment.evaluations]
    rows = [[_INPUT, "", *(_NOT_YET if value is None else metric.text(value) for value in befores)]]
    for variant in experiment.variants:
        cells = [results.cell(variant, evaluation) for evaluation in experiment.evaluations]
        fewest, wanted = min(len(cell.scores) for cell in cells), cells[0].wanted
        count = f"{wanted}" if fewest == wanted else f"{fewest} of {wanted}"
        texts = [_mean_and_spread(results, variant, evaluation) for evaluation in experiment.evaluations]
        rows.append([variant, count, *texts])
    return head, rows


def _mean_and_spread(results: Results, variant: str, evaluation: str) -> str:
    cell, metric = results.cell(variant, evaluation), results.metric
    mean, spread = cell.mean(results.score), cell.spread(results.score)
    if mean is None:
        return _NOT_YET
    return metric.text(mean) + ("" if spread is None else f" ± {metric.text(spread)}")


def terminal_text(results: Results) -> str:
    """The table in 80 columns: evaluations that do not fit beside each other stand below."""
    head, rows = table_rows(results)
    rows = [[text.replace(" ± ", "±") for text in row] for row in rows]
    widths = [max(len(row[number]) for row in [head, *rows]) for number in range(len(head))]
    blocks: list[list[int]] = [[]]
    for number in range(2, len(head)):
        used = widths[0] + widths[1] + 2 + sum(widths[other] + 2 for other in blocks[-1])
        if blocks[-1] and used + widths[number] + 2 > _COLUMNS:
            blocks.append([])
        blocks[-1].append(number)
    unit = results.metric.unit_text
    lines = [f"{results.metric.title}{unit and ' (' + unit.strip() + ')'}, mean ± standard deviation over seeds"]
    for block in blocks:
        for row in [head, *rows]:
            texts = [row[0].ljust(widths[0]), row[1].rjust(widths[1])]
            lines.append("  ".join([*texts, *(row[number].rjust(widths[number]) for number in block)]))
        lines.append("")
    return "\n".join([*lines, *_closing_lines(results)])


def markdown_text(results: Results) -> str:
    """The table and the line of acceptance as Markdown."""
    head, rows = table_rows(results)
    lines = [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
    unit = results.metric.unit_text
    note = f"{results.metric.title}{unit and ' in' + unit}, mean ± standard deviation over seeds."
    return "\n".join([*lines, "", note, "", *_closing_lines(results)]) + "\n"


def _closing_lines(results: Results) -> list[str]:
    acceptance = results.acceptance()
    lines = [f"{results.runs_done} of {results.runs} runs done"] if results.runs_done < results.runs else []
    return lines + ([acceptance[1]] if acceptance else [])


def csv_text(results: Results) -> str:
    """A line for each variant, evaluation and metric that was measured."""
    file = io.StringIO()
    columns = ["variant", "evaluation", "metric", "networks", "before", "mean", "spread", "lowest", "highest"]
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    for (variant, evaluation), cell in results.cells.items():
        for metric in measured_metrics(next(iter(cell.scores.values()), {})):
            name = f"{metric}_{AFTER}"
            values = cell.values(name)
            row: dict[str, Any] = dict(variant=variant, evaluation=evaluation, metric=metric, networks=len(values))
            row |= dict(before=cell.mean(f"{metric}_{BEFORE}"), mean=cell.mean(name), spread=cell.spread(name))
            writer.writerow(row | dict(lowest=min(values), highest=max(values)))
    return file.getvalue()


def json_content(results: Results) -> dict[str, Any]:
    """All of it: every network's scores as well."""
    acceptance = results.acceptance()
    cells = [
        {
            "variant": variant,
            "evaluation": evaluation,
            "networks": len(cell.scores),
            "of": cell.wanted,
            "mean": finite_scores({name: mean for name in _names(cell) if (mean := cell.mean(name)) is not None}),
            "spread": {name: spread for name in _names(cell) if (spread := cell.spread(name)) is not None},
            "scores": {str(seed): finite_scores(scores) for seed, scores in cell.scores.items()},
        }
        for (variant, evaluation), cell in results.cells.items()
    ]
    return {
        "experiment": results.experiment.source,
        "metric": results.experiment.metric,
        "runs": results.runs,
        "runs_done": results.runs_done,
        "acceptance": None if acceptance is None else {"result": acceptance[0], "line": acceptance[1]},
        "cells": cells,
    }


def _names(cell: Any) -> Sequence[str]:
    return list(next(iter(cell.scores.values()), {}))


def write_tables(results: Results, folder: Path) -> None:
    """Writes table.json, table.csv and table.md, each whole or not at all."""
    texts = {
        "table.json": json.dumps(json_content(results), indent=2, allow_nan=False) + "\n",
        "table.csv": csv_text(results),
        "table.md": markdown_text(results),
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
