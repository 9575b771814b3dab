"""Means, spreads and the acceptance line, and the same on the terminal, as Markdown, CSV and JSON."""

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import pytest

from spikejax.experiments.plan import EVALUATIONS, Run, evaluation_header, plan_runs
from spikejax.experiments.results import FAILED, PASSED, UNKNOWN, Results, collect
from spikejax.experiments.spec import Experiment, read_experiment
from spikejax.experiments.tables import csv_text, json_content, markdown_text, terminal_text, write_tables
from spikejax.quality.score_files import write_score_folder
from tests.experiments.toy import write_toy

# PSNR after restoring, by variant and seed, at each evaluation.
PSNR = {("narrow", 123): 30.0, ("narrow", 124): 31.0, ("wide", 123): 29.0, ("wide", 124): 30.0}


def measured(folder: Path, *, margin: float, only: int | None = None) -> tuple[Experiment, list[Run]]:
    """The toy experiment with scores as evaluating leaves them, of the first seed alone with `only`."""
    experiment = read_experiment(str(write_toy(folder, margin=margin)))
    runs = plan_runs(experiment, folder)
    for run in runs:
        for name, evaluation in experiment.evaluations.items():
            if only in (None, run.seed):
                psnr = PSNR[run.variant, run.seed] - (name == "theta4")
                frame = {"psnr_blur": 25.0, "ssim_blur": 0.5, "psnr_recon": psnr, "ssim_recon": 0.75}
                header = evaluation_header(run, evaluation)
                write_score_folder(run.workdir / EVALUATIONS / name, {"scene": [frame]}, header=header)
    return experiment, runs


def results(folder: Path, *, margin: float = 1.0, only: int | None = None) -> Results:
    """What is collected of those."""
    return collect(*measured(folder, margin=margin, only=only))


def test_means_and_spreads(tmp_path: Path) -> None:
    """Catches a spread of n instead of n - 1, a mean over evaluations, and a spread of a single network."""
    both = results(tmp_path)
    cell = both.cell("narrow", "theta1")
    assert (cell.mean("psnr_recon"), cell.is_whole) == (30.5, True)
    assert cell.spread("psnr_recon") == pytest.approx(math.sqrt(0.5))
    other = both.cell("narrow", "theta4")
    assert other.mean("psnr_recon") == 29.5 and both.before("theta4") == 25.0
    (tmp_path / "one").mkdir()
    one = results(tmp_path / "one", only=123).cell("wide", "theta1")
    assert (one.mean("psnr_recon"), one.spread("psnr_recon"), one.is_whole) == (29.0, None, False)


@pytest.mark.parametrize(
    ("margin", "result", "line"),
    [
        (1.0, PASSED, "acceptance: passed: wide 29.50 >= narrow 30.50 - 1 dB (PSNR, theta1)"),
        (0.99, FAILED, "acceptance: not passed: wide 29.50 < narrow 30.50 - 0.99 dB (PSNR, theta1)"),
        (0.0, FAILED, "acceptance: not passed: wide 29.50 < narrow 30.50 dB (PSNR, theta1)"),
    ],
)
def test_acceptance_both_ways(margin: float, result: str, line: str, tmp_path: Path) -> None:
    """Catches a rule that is turned round, or that leaves out its margin."""
    collected = results(tmp_path, margin=margin)
    assert collected.acceptance() == (result, line)
    assert terminal_text(collected).splitlines()[-1] == line and line in markdown_text(collected)


def test_acceptance_needs_all_networks(tmp_path: Path) -> None:
    """Catches a verdict over the first seeds, which the others would change; and one without a rule."""
    collected = results(tmp_path, only=123)
    acceptance = collected.acceptance()
    assert acceptance is not None and acceptance[0] == UNKNOWN
    assert acceptance[1].endswith("measured are 1 of 2 networks of wide and 1 of 2 networks of narrow (theta1)")
    without = dataclasses.replace(collected.experiment, acceptance=None)
    assert dataclasses.replace(collected, experiment=without).acceptance() is None


def test_a_lower_metric_is_better(tmp_path: Path) -> None:
    """Catches a rule that takes a larger distance for a success."""
    experiment, runs = measured(tmp_path, margin=1.0)
    lower = dataclasses.replace(experiment, metric="lpips")
    for run in runs:
        path = run.workdir / EVALUATIONS / "theta1" / "metrics.json"
        content = json.loads(path.read_text())
        content["total"] = {"lpips_blur": 0.5, "lpips_recon": 0.1 if run.variant == "narrow" else 1.2}
        path.write_text(json.dumps(content))
    acceptance = collect(lower, runs).acceptance()
    assert acceptance is not None
    assert acceptance[1] == "acceptance: not passed: wide 1.2000 > narrow 0.1000 + 1 (LPIPS, theta1)"


def test_the_table_in_every_form(tmp_path: Path) -> None:
    """Catches a number that one form has and another has not, and a line that a terminal would break."""
    collected = results(tmp_path)
    text = terminal_text(collected)
    assert [line.split() for line in text.splitlines()[1:5]] == [
        ["variant", "seeds", "noise", "theta1", "theta4"],
        ["(input)", "25.00", "25.00", "25.00"],
        ["narrow", "2", "30.50±0.71", "30.50±0.71", "29.50±0.71"],
        ["wide", "2", "29.50±0.71", "29.50±0.71", "28.50±0.71"],
    ]
    assert "| wide | 2 | 29.50 ± 0.71 | 29.50 ± 0.71 | 28.50 ± 0.71 |" in markdown_text(collected)
    rows = list(csv.DictReader(io.StringIO(csv_text(collected))))
    (row,) = [row for row in rows if (row["variant"], row["evaluation"], row["metric"]) == ("wide", "theta4", "psnr")]
    assert (row["mean"], row["lowest"], row["highest"], row["before"]) == ("28.5", "28.0", "29.0", "25.0")
    assert len(rows) == 2 * 3 * 2
    write_tables(collected, tmp_path)
    content = json.loads((tmp_path / "table.json").read_text())
    assert content == json_content(collected)
    assert content["cells"][0]["scores"]["124"]["psnr_recon"] == 31.0
    assert (tmp_path / "table.csv").read_text() == csv_text(collected)


def test_what_is_not_there_yet(tmp_path: Path) -> None:
    """Catches a table that cannot be written before all is measured."""
    experiment = read_experiment(str(write_toy(tmp_path)))
    nothing = collect(experiment, plan_runs(experiment, tmp_path))
    text = terminal_text(nothing)
    assert "narrow   0 of 2" in text and "0 of 4 runs done" in text and "not known yet" in text
    assert len(csv_text(nothing).splitlines()) == 1
    write_tables(nothing, tmp_path)


def test_wide_tables_fit_80_columns(tmp_path: Path) -> None:
    """Catches a table of many evaluations that a terminal breaks in the middle of rows."""
    path = write_toy(tmp_path)
    many = ", ".join(f"threshold_{number}=dict(threshold_factor={number})" for number in range(1, 12))
    path.write_text(path.read_text().replace("theta1=dict(),", f"theta1=dict(), {many},"))
    experiment = read_experiment(str(path))
    text = terminal_text(collect(experiment, plan_runs(experiment, tmp_path)))
    assert max(map(len, text.split("\n\n")[0].splitlines())) <= 80
    tables = text.split("acceptance")[0]
    assert all(len(line) <= 80 for line in tables.splitlines())
    assert all(tables.count(f" threshold_{number}") >= 1 for number in range(1, 12))


def test_equal_pictures_have_an_infinite_psnr(tmp_path: Path) -> None:
    """Catches a null that is taken for a number, or for a network that is missing."""
    experiment, runs = measured(tmp_path, margin=1.0)
    path = runs[0].workdir / EVALUATIONS / "theta1" / "metrics.json"
    content = json.loads(path.read_text())
    content["total"]["psnr_recon"] = None
    path.write_text(json.dumps(content))
    collected = collect(experiment, runs)
    assert collected.cell("narrow", "theta1").mean("psnr_recon") == math.inf
    assert collected.cell("narrow", "theta1").spread("psnr_recon") is None
    assert json.loads(json.dumps(json_content(collected), allow_nan=False))["cells"][1]["mean"]["psnr_recon"] is None
