"""The experiment as a command: killed and shared it comes to the same, and what cannot be run is refused first."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from spikejax import evaluate, experiment
from spikejax.errors import InputError
from spikejax.experiments.plan import Run
from spikejax.models.traits import NetworkTraits
from spikejax.training.measure_split import TrainedNetwork
from spikejax.training.validation import Validation
from tests.experiments.toy import SEEDS, STEPS, VARIANTS, write_toy
from tests.stand_ins import trained_of

ROOT = Path(__file__).parents[1]
RUNS = [f"{variant}/seed_{seed}" for seed in SEEDS for variant in VARIANTS]


@contextlib.contextmanager
def started(path: Path, workdir: Path, *more: str) -> Iterator[subprocess.Popen]:
    """The command in a process of its own, which does not outlive the block."""
    command = [sys.executable, "-m", "spikejax.experiment", "--config", str(path), "--workdir", str(workdir), *more]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=os.environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Returns once a file or folder is there; fails if the process ends before, or after two minutes."""
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"no {path}"
        time.sleep(0.01)


def table(workdir: Path) -> dict[str, Any]:
    """What table.json says."""
    return json.loads((workdir / "table.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The toy experiment's file, and the folder of one process that was left to do all of it."""
    folder = tmp_path_factory.mktemp("whole")
    path = write_toy(folder)
    with started(path, folder / "work") as process:
        output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert max(map(len, output[output.index("PSNR (dB)") : output.index("acceptance")].splitlines())) <= 80
    return path, folder / "work"


@pytest.mark.slow
def test_stopped_killed_and_shared_is_the_same(whole: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches numbers that depend on kills or on who did a run, what is done twice, and no table before the end."""
    path, expected = whole
    workdir = tmp_path / "work"
    runs = [workdir / "runs" / run for run in RUNS]
    with started(path, workdir) as process:
        wait_for(runs[0] / "checkpoints" / "last" / "2", process)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "acceptance: not known yet" in output and table(workdir)["runs_done"] == 0
    with started(path, workdir) as process:
        wait_for(runs[1] / "checkpoints" / "last" / "2", process)
        process.kill()
        process.communicate()
    assert table(workdir)["runs_done"] == 1 and (workdir / "experiment.html").is_file()  # what was done before
    measured = runs[0] / "evaluations" / "theta1" / "metrics.json"
    first = measured.stat().st_mtime_ns
    with started(path, workdir) as one, started(path, workdir) as other:
        outputs = [process.communicate(timeout=400)[0] for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), outputs
    assert measured.stat().st_mtime_ns == first
    done = [line for text in outputs for line in text.splitlines() if line.startswith("done: ")]
    assert len(done) == 3  # each of the other runs was trained by one of the two
    assert table(workdir) == table(expected)
    assert (workdir / "table.csv").read_bytes() == (expected / "table.csv").read_bytes()
    # What differs are the paths of the data sets, and times.
    assert {path.name for path in workdir.iterdir()} == {path.name for path in expected.iterdir()}


@pytest.mark.slow
def test_another_rule_in_a_folder_that_was_moved(
    whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches runs that are trained again for another rule, or where their folder was moved; a dry run that works."""
    workdir = tmp_path / "moved"
    shutil.copytree(whole[1], workdir, symlinks=True)
    content = table(workdir)
    assert content["acceptance"]["result"] == "passed" and content["runs_done"] == content["runs"] == 4
    means = {(cell["variant"], cell["evaluation"]): cell["mean"]["psnr_recon"] for cell in content["cells"]}
    better = "narrow" if means["narrow", "theta1"] > means["wide", "theta1"] else "wide"
    path = write_toy(tmp_path, margin=0.0)
    worse = ({*VARIANTS} - {better}).pop()
    text = path.read_text().replace('variant="wide", reference="narrow"', f'variant="{worse}", reference="{better}"')
    path.write_text(text)
    states = {run: (workdir / "runs" / run / "metrics.jsonl").stat().st_mtime_ns for run in RUNS}
    experiment.main(["--config", str(path), "--workdir", str(workdir), "--shard", "2/2"])
    assert "acceptance: not passed" in capsys.readouterr().out
    assert {run: (workdir / "runs" / run / "metrics.jsonl").stat().st_mtime_ns for run in RUNS} == states
    experiment.main(["--config", str(path), "--workdir", str(workdir), "--only", "wide", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"wide, seed {seed}  {STEPS}/{STEPS} updates, 3/3 evaluations" for seed in SEEDS]
    page = (workdir / "experiment.html").read_text()
    assert page.count("<img ") == 4 and "acceptance: not passed" in page and "All variants see the same batches" in page


@pytest.mark.slow
def test_another_configuration_is_refused(whole: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches runs of two configurations that are compared as if they were of one."""
    _, workdir = whole
    arguments = ["--config", str(write_toy(tmp_path)), "--workdir", str(workdir), "--config.optimizer.beta1=0.5"]
    with pytest.raises(InputError, match="^variant narrow: .* holds a run of another configuration .*optimizer.beta1"):
        experiment.main(arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("theta1", []),
        ("theta4", ["--threshold-factor", "4"]),
        ("noise", ["--shot-photons", "10", "--dark-rate", "0.05"]),
    ],
)
def test_evaluate_looks_through_the_same_cameras(
    name: str, camera: list[str], whole: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a command and an experiment whose cameras differ in threshold or noise, or look at other scenes."""
    run = tmp_path / "run"
    shutil.copytree(whole[1] / "runs" / RUNS[0], run)
    arguments = ["--workdir", str(run), "--output", str(tmp_path / "out"), "--which", "last", "--trust-code"]
    arguments += ["--metrics", "psnr", "ssim"]
    evaluate.main([*arguments, *camera])
    measured = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert measured["total"] == json.loads((run / "evaluations" / name / "metrics.json").read_text())["total"]
    assert (run / "noisy_data").exists() == (name == "noise")
    said = capsys.readouterr().out
    assert ("spikes of a camera whose threshold is 4 times as high\n" in said) == (name == "theta4")
    assert ("noise of the spike camera: shot_photons 10, dark_rate 0.05\n" in said) == (name == "noise")


def test_a_variant_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches an experiment that ends, or says that all is well, where one of its networks does not learn."""
    tried = []

    def fail_once(run: Run, *rest: object) -> None:
        tried.append(run.label)
        if len(tried) == 2:
            raise FloatingPointError("the loss of update 3 is nan")

    monkeypatch.setattr("spikejax.experiments.running._do", fail_once)
    with pytest.raises(SystemExit) as caught:
        experiment.main(["--config", str(write_toy(tmp_path)), "--workdir", str(tmp_path / "work")])
    assert caught.value.code == 4 and len(tried) == 4
    assert "spikejax: wide, seed 123: the loss of update 3 is nan" in capsys.readouterr().err


def without_training(monkeypatch: pytest.MonkeyPatch, *, bins: int | None, measure: Callable[[str], None]) -> None:
    """Has every run trained at once, to a network that takes spikes in so many bins, and measured by `measure`."""
    trained = dataclasses.replace(trained_of(NetworkTraits(spike_bins=bins), Path()), checkpoint=f"last/{STEPS}")
    scores = {f"{metric}_{when}": 1.0 for metric in ("psnr", "ssim") for when in ("blur", "recon")}
    validation = Validation(scores, {"scene": [scores]}, {"scene": np.zeros((8, 24, 3), np.uint8)})

    def validate(run: Run, trained: TrainedNetwork, name: str, *rest: object) -> Validation:
        measure(f"{run.label}: {name}")
        return validation

    running = "spikejax.experiments.running"
    monkeypatch.setattr(f"{running}.train", lambda *rest: SimpleNamespace(stopped_by=None))
    monkeypatch.setattr(f"{running}.load_trained", lambda *rest, **options: trained)
    monkeypatch.setattr(f"{running}._validate", validate)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_measuring(number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a signal that is lost, so that the next run begins, where it comes at the end of the last evaluation."""
    measured: list[str] = []

    def measure(label: str) -> None:
        measured.append(label)
        if label.endswith("theta4"):
            os.kill(os.getpid(), number)

    without_training(monkeypatch, bins=4, measure=measure)
    with pytest.raises(SystemExit) as caught:
        experiment.main(["--config", str(write_toy(tmp_path)), "--workdir", str(tmp_path / "work")])
    assert caught.value.code == 128 + number
    assert measured == [f"narrow, seed 123: {name}" for name in ("noise", "theta1", "theta4")]


def test_without_spikes_one_camera_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a control that is measured with every camera, or left out of the table for all but one."""
    measured: list[str] = []
    without_training(monkeypatch, bins=None, measure=measured.append)
    path = write_toy(tmp_path)
    path.write_text(path.read_text().replace("theta1=dict(),", "theta1=dict(), more=dict(frames=3),"))
    experiment.main(["--config", str(path), "--workdir", str(tmp_path / "work"), "--only", "narrow"])
    assert [label.rpartition(" ")[2] for label in measured] == ["more", "noise"] * 2
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("narrow")]
    assert row.split() == ["narrow", "2", *["1.00±0.00"] * 4]


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a list of runs that makes their folders."""
    experiment.main(["--config", str(write_toy(tmp_path)), "--workdir", str(tmp_path / "work"), "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].split() == f"narrow, seed 123 0/{STEPS} updates, 0/3 evaluations".split()
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("old", "new", "more", "message"),
    [
        ("model.vrt.dims=16", "model.vrt.dim=16", [], 'variant wide: there is no configuration key "model.vrt.dim"'),
        (
            "model.vrt.dims=16",
            'optimizer.frozen=none_such", "model.vrt.dims=16',
            [],
            "variant wide: optimizer.frozen: ",
        ),
        ("model.vrt.dims=16", 'data.crop=64", "model.vrt.dims=16', [], "variant wide: data.crop: expected at most 32"),
        (
            "",
            "",
            ["--config.data.source=folder", "--config.data.root=."],
            "variant narrow: evaluations.noise: expected",
        ),
        (
            *("", "", ["--only", "wid"]),
            "--only: expected variants of the experiment, narrow, wide, found 'wid'; did you mean 'wide'?",
        ),
        (
            *('metric="psnr"', 'metric="lpips"', ["--config.validation.metrics=psnr,lpips"]),
            "variant narrow: metric: expected one that can be measured, found lpips: validation.lpips_weights_file",
        ),
        (
            *("theta1=dict(),", 'theta1=dict(), mine=dict(data="."),', []),
            "variant narrow: evaluations.mine: expected sequences as val/SEQUENCE/blur, found none",
        ),
        ("", "", ["--config.training.step=3"], "variant narrow: there is no configuration key"),
    ],
)
def test_what_cannot_be_run_is_refused_before_training(
    old: str, new: str, more: list[str], message: str, tmp_path: Path
) -> None:
    """Catches a mistake in the last variant that shows after the others were trained for hours."""
    path = write_toy(tmp_path)
    path.write_text(path.read_text().replace(old, new) if old else path.read_text())
    with pytest.raises(InputError) as caught:
        experiment.main(["--config", str(path), "--workdir", str(tmp_path / "work"), *more])
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.glob("work/runs/*/*/checkpoints"))
    made = list(tmp_path.glob("work/data/*"))
    assert not made or "evaluations.mine" in message, "data were made for what cannot be done"


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_workdir_that_is_a_file(below: str, more: list[str], tmp_path: Path) -> None:
    """Catches a message about JSON, and a list of runs that can never lie there."""
    (tmp_path / "afile").write_text("mine")
    arguments = ["--config", str(write_toy(tmp_path)), "--workdir", str(tmp_path / "afile" / below), *more]
    with pytest.raises(InputError, match=f"--workdir: expected a folder, found a file: {tmp_path}/afile$"):
        experiment.main(arguments)


@pytest.mark.parametrize("name", ["", "runs", "locks", "data"])
def test_a_file_in_the_way(name: str, tmp_path: Path) -> None:
    """Catches a traceback, and a run that is trained before it is noticed that nothing can be written."""
    workdir = tmp_path / "work"
    (workdir / name).parent.mkdir(exist_ok=True)
    (workdir / name).write_bytes(b"")
    with pytest.raises(InputError, match="expected .*work"):
        experiment.main(["--config", str(write_toy(tmp_path)), "--workdir", str(workdir)])
    assert not list(tmp_path.glob("work/runs/*/*/checkpoints"))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"])
def test_a_shard_that_is_none(shard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a shard that does nothing, or something that another one does."""
    with pytest.raises(SystemExit) as caught:
        experiment.main(["--config", "spikes_pay", "--workdir", str(tmp_path), f"--shard={shard}"])
    assert caught.value.code == 2 and "--shard" in capsys.readouterr().err
