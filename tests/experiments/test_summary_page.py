"""What the page of an experiment shows of its runs, as far as they are done."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from spikejax.experiments.plan import EVALUATIONS, PICTURES, Run, evaluation_header, plan_runs
from spikejax.experiments.results import collect
from spikejax.experiments.spec import read_experiment
from spikejax.experiments.summary_page import write_page
from spikejax.io.pictures import write_picture
from spikejax.quality.score_files import write_score_folder
from tests.experiments.toy import write_toy


def measure(run: Run, psnr: float) -> None:
    """Writes what evaluating a run at "theta1" leaves: scores, and a picture of one sequence."""
    frames = [{"psnr_blur": 25.0, "psnr_recon": value, "ssim_blur": 0.5, "ssim_recon": 0.5} for value in (1.0, psnr)]
    evaluation = read_experiment(str(run.workdir.parents[2] / "toy.py")).evaluations["theta1"]
    write_score_folder(
        run.workdir / EVALUATIONS / "theta1", {"scene": frames}, header=evaluation_header(run, evaluation)
    )
    folder = run.workdir / PICTURES / "theta1"
    folder.mkdir(parents=True)
    write_picture(folder / "scene.png", np.zeros((16, 72, 3), np.uint8))


def page_of(folder: Path, runs: list[Run]) -> str:
    """The page of the toy experiment."""
    experiment = read_experiment(str(folder / "toy.py"))
    write_page(collect(experiment, runs), runs, folder / "page.html")
    return (folder / "page.html").read_text()


def plan(folder: Path) -> list[Run]:
    """The runs of the toy experiment."""
    return plan_runs(read_experiment(str(write_toy(folder))), folder)


def test_pictures_are_those_of_the_first_networks(tmp_path: Path) -> None:
    """Catches a column of another network, another frame's PSNR, and pictures that are cut in the wrong places."""
    runs = plan(tmp_path)
    for run, psnr in zip(runs, (31.0, 32.0, 33.0, 34.0), strict=True):
        measure(run, psnr)
    page = page_of(tmp_path, runs)
    panels = re.findall(r'<span>(\w+)</span><img width="24" height="16" [^>]+><span class="soft">([^<]*)', page)
    assert panels == [("input", "25.00 dB"), ("narrow", "31.00 dB"), ("wide", "32.00 dB"), ("sharp", "")]
    assert "acceptance: passed: wide" in page


@pytest.mark.parametrize("number", [0, 1])
def test_half_of_it_is_shown(number: int, tmp_path: Path) -> None:
    """Catches a page without pictures until the first of its columns is done."""
    runs = plan(tmp_path)
    measure(runs[number], 31.0)
    page = page_of(tmp_path, runs)
    assert re.findall(r"<span>(\w+)</span><img", page) == ["input", runs[number].variant, "sharp"]
    assert "0 of 4 networks are trained and measured so far" in page and "not known yet" in page


def test_nothing_is_done(tmp_path: Path) -> None:
    """Catches a page that cannot be written before the first run is done, and charts without lines."""
    page = page_of(tmp_path, plan(tmp_path))
    assert "<img" not in page and "<svg" not in page and "(input)" in page


def test_curves_are_means_over_networks(tmp_path: Path) -> None:
    """Catches curves of one network, a last point that is not at the end, and a loss that is no number."""
    runs = plan(tmp_path)
    for run, value in zip(runs, (1.0, 5.0, 3.0, 5.0), strict=True):
        run.workdir.mkdir(parents=True)
        points = [(step, value + step) for step in (2, 4, 6)] + [(5, 99.0)]
        lines = [dict(step=step, group="training", name="loss", value=loss, time=0) for step, loss in sorted(points)]
        lines.append(dict(step=4, group="training", name="loss", value=None, text="nan", time=0))
        (run.workdir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    page = page_of(tmp_path, runs)
    (spoken,) = re.findall(r'aria-label="(Loss[^"]+)"', page)
    # Means of 1 and 3 at updates 2, 4 and 6; 5, which is no multiple of the distance, is left out.
    assert spoken == "Loss: narrow 4 to 8, wide 7 to 11"
