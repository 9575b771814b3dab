"""What the runs of an experiment have measured so far: means and spreads over seeds, and whether it is a success."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikejax.experiments.plan import Run
from spikejax.experiments.spec import Acceptance, Experiment
from spikejax.quality.metrics import AFTER, BEFORE, Metric, metric_named

PASSED, FAILED, UNKNOWN = "passed", "not passed", "not known yet"


@dataclass(frozen=True)
class Cell:
    """A variant at an evaluation.

    Attributes:
        scores: of each finished network, by its seed: every metric before and after.
        wanted: how many networks there will be.
    """

    scores: Mapping[int, Mapping[str, float]]
    wanted: int

    def values(self, name: str) -> list[float]:
        """A score, such as "psnr_recon", of the finished networks that have it."""
        return [scores[name] for scores in self.scores.values() if name in scores]

    def mean(self, name: str) -> float | None:
        """The mean over the networks; None where there are none."""
        values = self.values(name)
        return float(np.mean(values)) if values else None

    def spread(self, name: str) -> float | None:
        """The standard deviation over the networks (of n - 1); None for fewer than two."""
        values = self.values(name)
        return float(np.std(values, ddof=1)) if len(values) > 1 and all(map(math.isfinite, values)) else None

    @property
    def is_whole(self) -> bool:
        """Whether all networks are measured."""
        return len(self.scores) == self.wanted


@dataclass(frozen=True)
class Results:
    """All that there is.

    Attributes:
        experiment: what was asked.
        cells: by variant and evaluation.
        runs_done, runs: how many runs are done, of how many.
    """

    experiment: Experiment
    cells: Mapping[tuple[str, str], Cell]
    runs_done: int
    runs: int

    @property
    def metric(self) -> Metric:
        """What is compared."""
        return metric_named(self.experiment.metric)

    @property
    def score(self) -> str:
        """The name of what is compared, in files."""
        return f"{self.experiment.metric}_{AFTER}"

    def cell(self, variant: str, evaluation: str) -> Cell:
        """A variant at an evaluation."""
        return self.cells[variant, evaluation]

    def before(self, evaluation: str) -> float | None:
        """The metric of what the networks are given; None where nothing is measured yet."""
        name = f"{self.experiment.metric}_{BEFORE}"
        cells = (self.cell(variant, evaluation) for variant in self.experiment.variants)
        return next((mean for cell in cells if (mean := cell.mean(name)) is not None), None)

    def acceptance(self) -> tuple[str, str] | None:
        """How it ended (`PASSED`, `FAILED` or `UNKNOWN`), and the line that says so; None without a rule."""
        rule = self.experiment.acceptance
        if rule is None:
            return None
        cells = [self.cell(name, rule.evaluation) for name in (rule.variant, rule.reference)]
        means = [cell.mean(self.score) for cell in cells]
        if not all(cell.is_whole for cell in cells) or None in means:
            counts = " and ".join(
                f"{len(cell.scores)} of {cell.wanted} networks of {name}"
                for cell, name in zip(cells, (rule.variant, rule.reference), strict=True)
            )
            return UNKNOWN, f"acceptance: {UNKNOWN}: measured are {counts} ({rule.evaluation})"
        reached, reference = (float(mean) for mean in means if mean is not None)
        higher = self.metric.better == "higher"
        passed = reached >= reference - rule.margin if higher else reached <= reference + rule.margin
        return (PASSED if passed else FAILED), self._acceptance_line(rule, reached, reference, passed, higher)

    def _acceptance_line(self, rule: Acceptance, reached: float, reference: float, passed: bool, higher: bool) -> str:
        text, unit = self.metric.text, self.metric.unit_text
        sign = (">=" if passed else "<") if higher else ("<=" if passed else ">")
        margin = f" {'-' if higher else '+'} {rule.margin:g}" if rule.margin else ""
        return (
            f"acceptance: {PASSED if passed else FAILED}: {rule.variant} {text(reached)} {sign} "
            f"{rule.reference} {text(reference)}{margin}{unit} ({self.metric.title}, {rule.evaluation})"
        )


def collect(experiment: Experiment, runs: Sequence[Run]) -> Results:
    """What is there of an experiment's runs."""
    cells = {}
    for variant in experiment.variants:
        own = [run for run in runs if run.variant == variant]
        for name, evaluation in experiment.evaluations.items():
            totals = {run.seed: run.scores(name, evaluation) for run in own}
            scores = {seed: _total(content) for seed, content in totals.items() if content is not None}
            cells[variant, name] = Cell(scores, len(own))
    done = sum(run.is_done(experiment.evaluations) for run in runs)
    return Results(experiment, cells, done, len(runs))


def _total(content: Mapping[str, Any]) -> dict[str, float]:
    """The scores over all sequences; JSON has null for an infinite one."""
    return {name: math.inf if value is None else value for name, value in content["total"].items()}
