"""The runs of an experiment: which there are, who does them, and what is done."""

import json
import multiprocessing
import re
from pathlib import Path

import pytest

from spikejax.config.files import differences
from spikejax.errors import InputError
from spikejax.experiments.plan import (
    EVALUATIONS,
    Run,
    choose_runs,
    differing_batches,
    evaluation_header,
    is_locked,
    listed,
    lock,
    plan_runs,
)
from spikejax.experiments.spec import Experiment, read_experiment
from tests.experiments.toy import SEEDS, STEPS, VARIANTS, write_toy


def toy(folder: Path, extra: str = "", **changed: object) -> Experiment:
    """The toy experiment."""
    return read_experiment(str(write_toy(folder, extra=extra, **changed)))


def labels(runs: list[Run]) -> list[tuple[str, int]]:
    """Variant and seed of each run."""
    return [(run.variant, run.seed) for run in runs]


def test_runs_differ_by_what_they_should(tmp_path: Path) -> None:
    """Catches batches that change with the seed of the weights, and networks of a variant that are all the same."""
    runs = plan_runs(toy(tmp_path), tmp_path, ["--config.optimizer.beta1=0.8"])
    assert labels(runs) == [(variant, seed) for seed in SEEDS for variant in VARIANTS]
    assert len({run.workdir for run in runs}) == len({run.lock for run in runs}) == 4
    assert differences(runs[0].config, runs[2].config) == ["seed: 123 -> 124"]
    assert [line.partition(":")[0] for line in differences(runs[0].config, runs[1].config)] == ["model.vrt.dims"]
    assert {run.config.data.seed for run in runs} == {123}
    assert {run.config.optimizer.beta1 for run in runs} == {0.8}
    assert differing_batches(runs) == []
    assert plan_runs(toy(tmp_path, extra=", seeds=1"), tmp_path)[-1].variant == "narrow"


def test_variants_on_other_batches_are_named(tmp_path: Path) -> None:
    """Catches a comparison that says nothing of more updates or larger clips for one of two."""
    path = write_toy(tmp_path)
    path.write_text(path.read_text().replace('("model.vrt.dims=', '("training.steps=7", "data.threshold_factor=4", "'))
    text = path.read_text().replace(f'"{",".join(["16"] * 8)}"', '"data.frames=3"')
    path.write_text(text)
    runs = plan_runs(read_experiment(str(path)), tmp_path)
    assert differing_batches(runs) == ["data.frames", "training.steps"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model.vrt.dims=16", "model.vrt.dim=16", 'variant wide: there is no configuration key "model.vrt.dim"'),
        ("model.vrt.dims=16", "model.vrt.dims=x", "variant wide: model.vrt.dims: expected"),
        ('base="quickstart"', 'base="quikstart"', "variant narrow: expected a configuration, one of"),
        (
            'metric="psnr"',
            'metric="lpips"',
            "variant narrow: metric: expected one of validation.metrics",
        ),
    ],
)
def test_configurations_are_read_whole_first(old: str, new: str, message: str, tmp_path: Path) -> None:
    """Catches a last variant that is wrong, and is found when the others are trained."""
    path = write_toy(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=f"^{message}"):
        plan_runs(read_experiment(str(path)), tmp_path)


def test_shards_are_a_partition(tmp_path: Path) -> None:
    """Catches runs that nobody does, or that two machines do."""
    runs = plan_runs(toy(tmp_path), tmp_path)
    for count in (1, 2, 3, 5):
        parts = [choose_runs(runs, shard=(number, count)) for number in range(1, count + 1)]
        assert sorted(labels(sum(parts, []))) == sorted(labels(runs))
    assert labels(choose_runs(runs, only=["wide"])) == [("wide", 123), ("wide", 124)]
    assert labels(choose_runs(runs, only=["wide"], shard=(2, 2))) == [("wide", 124)]
    expected = "--only: expected variants of the experiment, narrow, wide, found 'wid'; did you mean 'wide'?"
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        choose_runs(runs, only=["wid"])


def test_what_is_done_is_seen_on_disk(tmp_path: Path) -> None:
    """Catches an evaluation of an earlier checkpoint, or at another threshold, that counts as done."""
    experiment = toy(tmp_path)
    run = plan_runs(experiment, tmp_path)[0]
    assert (run.done_updates(), run.is_trained(), run.is_done(experiment.evaluations)) == (0, False, False)
    for name in ("3", str(STEPS), "7.orbax-checkpoint-tmp", "5.damaged"):
        (run.workdir / "checkpoints" / "last" / name).mkdir(parents=True)
    assert run.done_updates() == STEPS and not run.is_trained()
    point = {"step": STEPS, "group": "validation", "name": "psnr_recon", "value": 30.0, "time": 0.0}
    (run.workdir / "metrics.jsonl").write_text(json.dumps(point | {"group": "training"}) + "\n")
    assert not run.is_trained()  # killed before the validation at the end
    (run.workdir / "metrics.jsonl").write_text(json.dumps(point) + "\n")
    assert run.is_trained() and list(run.missing(experiment.evaluations)) == ["noise", "theta1", "theta4"]
    for name, evaluation in experiment.evaluations.items():
        folder = run.workdir / EVALUATIONS / name
        folder.mkdir(parents=True)
        header = evaluation_header(run, evaluation)
        (folder / "metrics.json").write_text(json.dumps(header | {"checkpoint": "last/3"}))
        assert run.scores(name, evaluation) is None
        (folder / "metrics.json").write_text(json.dumps(header | {"evaluation": {}}))
        assert run.scores(name, evaluation) is None
        (folder / "metrics.json").write_text(json.dumps(header | {"total": {"psnr_recon": 1.0}}))
        assert run.scores(name, evaluation) is not None
    assert run.is_done(experiment.evaluations)


def hold(path: Path, held: "multiprocessing.synchronize.Event", stop: "multiprocessing.synchronize.Event") -> None:
    """Holds a lock in a process of its own until it is told to stop."""
    with lock(path) as mine:
        assert mine
        held.set()
        stop.wait(60)


def test_a_run_is_somebodys(tmp_path: Path) -> None:
    """Catches two processes that train one run, a lock that outlives its process, and a dry run that takes one."""
    run = plan_runs(toy(tmp_path), tmp_path)[0]
    assert not is_locked(run.lock) and not run.lock.exists()
    context = multiprocessing.get_context("spawn")
    held, stop = context.Event(), context.Event()
    process = context.Process(target=hold, args=(run.lock, held, stop))
    process.start()
    try:
        assert held.wait(60)
        with lock(run.lock) as mine:
            assert not mine
        assert is_locked(run.lock)
        (line,) = listed([run], {})
        assert line == f"narrow, seed 123  0/{STEPS} updates, 0/0 evaluations, at work"
        process.kill()
        process.join()
        with lock(run.lock) as mine:
            assert mine
    finally:
        process.kill()
    assert listed([run], {}) == [f"narrow, seed 123  0/{STEPS} updates, 0/0 evaluations"]


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a network disk on which nothing can be run; --shard still shares the work there."""

    def refuse(self: object, timeout: float) -> None:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    notes: list[str] = []
    with lock(tmp_path / "a" / "lock", note=notes.append) as mine:
        assert mine
    assert len(notes) == 1 and "--shard" in notes[0]
