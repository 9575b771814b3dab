"""Whole runs with the stand-in: from nothing to checkpoints, logs and pictures, stopped and continued."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict
from orbax.checkpoint.args import Composite, StandardRestore
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spikejax import train as command
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.errors import InputError
from spikejax.io.pictures import read_picture
from spikejax.training.checkpoint_manager import open_manager
from spikejax.training.loop import train
from spikejax.training.monitoring.metrics_log import read_points
from spikejax.training.step import Build
from spikejax.training.trained_params import load_for_inference
from spikejax.training.trainer import Trainer
from tests.file_limit import files_up_to
from tests.stand_ins import stopping_after

# TensorFlow's import warns about Python's and its own deprecations.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow.*", "ignore::FutureWarning:tensorflow.*"),
]


def last_params(workdir: Path, build: Build) -> dict:
    """The parameters that the last step left."""
    return load_for_inference(workdir, which="last", build=build)[1]


def test_a_run_leaves_what_it_promises(
    tmp_path: Path, run_config: ConfigDict, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a run that does not learn, scores of the wrong way round, and missing logs, pictures or checkpoints."""
    run_config.training.steps = 40
    run_config.training.profile_at, run_config.training.profile_updates = 3, 2
    outcome = train(run_config, tmp_path, build=build)
    assert (outcome.step, outcome.stopped_by) == (40, None)
    assert outcome.scores is not None
    assert outcome.scores["psnr_recon"] > outcome.scores["psnr_blur"]
    printed = capsys.readouterr().out
    assert "network: 3,027 parameters" in printed
    assert (
        f"PSNR {outcome.scores['psnr_blur']:.2f} -> {outcome.scores['psnr_recon']:.2f} dB" in printed.splitlines()[-5]
    )
    assert printed.splitlines()[-4:] == [
        f"pictures:    {tmp_path}/pictures",
        f"checkpoints: {tmp_path}/checkpoints",
        f"evaluate:    python -m spikejax.evaluate --workdir {tmp_path} --output SCORES",
        f"restore:     python -m spikejax.restore --network {tmp_path} --input CLIP --spikes SPIKES --output OUT",
    ]
    pictures = list((tmp_path / "pictures").iterdir())
    assert [path.name[-12:] for path in pictures] == ["_0000040.png"]
    assert read_picture(pictures[0]).shape == (32, 3 * 40, 3)
    curves = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"tensors": 0}).Reload()
    assert {
        "training/loss",
        "training/loss/charbonnier",
        "training/learning_rate",
        "training/skipped",
        "seconds_an_update/data",
        "seconds_an_update/saving",
        "speed/clips_a_second",
        "validation/psnr_y_recon",
    } <= set(curves.Tags()["tensors"])
    assert {"configuration", "versions", "parameters"} <= set(curves.Tags()["tensors"])
    assert any(tag.startswith("input, restored, ground truth/") for tag in curves.Tags()["tensors"])
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    assert json.loads((tmp_path / "versions.json").read_text())["jax"] == jax.__version__
    assert "neighbours/kernel" in (tmp_path / "parameters.txt").read_text()
    statistics = load_for_inference(tmp_path, build=build).statistics
    assert statistics is not None and statistics["bins"] == 4


def test_stopped_and_continued_is_the_uninterrupted_run(
    tmp_path: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a batch repeated or left out, moments or counters that start again, another key of stochastic depth."""
    run_config.data.workers = 2
    train(run_config, tmp_path / "whole", build=build)
    with monkeypatch.context() as patch:
        stopping_after(5, patch)
        stopped = train(run_config, tmp_path / "parts", build=build)
    assert (stopped.step, stopped.scores, stopped.stopped_by) == (5, None, signal.SIGTERM)
    continued = train(run_config, tmp_path / "parts", build=build)
    assert (continued.step, continued.stopped_by) == (8, None)
    whole, parts = last_params(tmp_path / "whole", build), last_params(tmp_path / "parts", build)
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_a_validation_that_a_stop_left_out_is_made_up_for(
    tmp_path: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a curve with a hole, and a best network not measured, where SIGTERM came with a validation due."""
    run_config.validation.every = 4
    train(run_config, tmp_path / "whole", build=build)
    with monkeypatch.context() as patch:
        stopping_after(4, patch)
        assert train(run_config, tmp_path / "parts", build=build).step == 4
    train(run_config, tmp_path / "parts", build=build)
    whole, parts = (
        [(point.step, point.curve, point.value) for point in read_points(path) if point.group == "validation"]
        for path in (tmp_path / "whole" / "metrics.jsonl", tmp_path / "parts" / "metrics.jsonl")
    )
    assert parts == whole and {step for step, _, _ in parts} == {4, 8}


def test_the_host_runs_ahead_by_few_updates(
    tmp_path: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches minutes of updates that a signal has to wait for, since all of them were started long ago."""
    started: list[int] = []
    waited: list[int] = []
    update, block = Trainer.update, jax.block_until_ready

    def counted_update(self: Trainer) -> None:
        update(self)
        started.append(self.step)

    def counted_block(value: object) -> object:
        waited.append(len(started))
        return block(value)

    monkeypatch.setattr(Trainer, "update", counted_update)
    monkeypatch.setattr(jax, "block_until_ready", counted_block)
    run_config.training.update(dict(steps=6, log_every=6, checkpoint_every=6))
    run_config.validation.every = 6
    train(run_config, tmp_path, build=build)
    assert started == [1, 2, 3, 4, 5, 6]
    assert [count for count in waited if count >= 2] == [2, 3, 4, 5]  # for updates 1 to 4


def test_a_finished_run_validates_again_and_ends(tmp_path: Path, run_config: ConfigDict, build: Build) -> None:
    """Catches a finished run that trains on, fails on its own checkpoint, or finds other scores than before."""
    first = train(run_config, tmp_path, build=build)
    assert train(run_config, tmp_path, build=build) == first


def test_another_network_in_the_workdir(tmp_path: Path, run_config: ConfigDict, build: Build) -> None:
    """Catches a run that trains over another network's checkpoints."""
    train(run_config, tmp_path, build=build)
    run_config.model.vrt.dims, run_config.model.spike.channels = (32,) * 11, (32,) * 4
    with pytest.raises(InputError, match="holds a run of another configuration"):
        train(run_config, tmp_path, build=build)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda config: setattr(config.data, "root", ""), r"data.root: expected the folder .* found none"),
        (
            lambda config: setattr(config.data, "source", "web"),
            "data.source: expected folder, tfds, moving_photographs, moving_scenes or FILE",
        ),
        (
            lambda config: setattr(config.data, "batch_size", 0),
            "data.batch_size: expected a whole number from 1, found 0",
        ),
        (lambda config: setattr(config.mesh, "fsdp", 64), "mesh.fsdp: 64 does not divide"),
        (lambda config: setattr(config.data, "crop", 64), "crop"),
    ],
)
def test_wrong_configuration_leaves_nothing(
    tmp_path: Path, run_config: ConfigDict, build: Build, change: Callable[[ConfigDict], None], told: str
) -> None:
    """Catches a mistake that shows only after minutes, or leaves a workdir that looks like a run."""
    change(run_config)
    with pytest.raises(InputError, match=told):
        train(run_config, tmp_path / "run", build=build)
    assert not (tmp_path / "run").exists()


def test_loss_that_is_not_finite(tmp_path: Path, run_config: ConfigDict, build: Build) -> None:
    """Catches hours of training on NaN, NaN saved as the last state, and a bad clip that nobody can name."""

    def broken(config: dict, *, rngs: nnx.Rngs) -> nnx.Module:
        network: Any = build(config, rngs=rngs)
        network.last.bias[...] = jnp.full_like(network.last.bias[...], jnp.nan)
        return network

    run_config.training.log_every, run_config.training.checkpoint_every = 8, 2
    with pytest.raises(
        FloatingPointError, match=r"loss is nan \(charbonnier nan\), the gradient.s norm nan at step 1, of "
    ):
        train(run_config, tmp_path, build=broken)
    assert not list((tmp_path / "checkpoints" / "last").glob("[0-9]*"))
    facts = json.loads((tmp_path / "not_finite" / "0.json").read_text())
    assert (facts["update"], facts["loss/charbonnier"]) == (1, "nan")
    dataset = FolderDataset(run_config.data.root, "train", ClipSpec(frames=2, bins=4, crop=16))
    assert len(facts["clips"]) == 2
    assert set(facts["clips"]) <= {dataset.window_name(window) for window in range(len(dataset))}
    assert (tmp_path / "not_finite" / "0" / "params").is_dir()


def test_an_average_is_what_is_validated_and_restored(
    tmp_path: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches an average that is not continued, or left out of the checkpoints that restoring reads."""
    run_config.training.ema_decay, run_config.validation.every = 0.9, 8
    train(run_config, tmp_path / "whole", build=build)
    average = last_params(tmp_path / "whole", build)
    with open_manager(tmp_path / "whole" / "checkpoints" / "last", "params", create=False) as manager:
        newest = manager.restore(8, args=Composite(params=StandardRestore(average))).params
    distance = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), average["last"], newest["last"])
    assert min(jax.tree.leaves(distance)) > 1e-4
    # The only validation was of the last step.
    best = load_for_inference(tmp_path / "whole", which="best_psnr", build=build)[1]
    jax.tree.map(np.testing.assert_array_equal, best, average)
    with monkeypatch.context() as patch:
        stopping_after(5, patch)
        train(run_config, tmp_path / "parts", build=build)
    train(run_config, tmp_path / "parts", build=build)
    jax.tree.map(np.testing.assert_array_equal, last_params(tmp_path / "parts", build), average)


def test_changes_are_shown_and_refused_unless_allowed(
    tmp_path: Path, run_config: ConfigDict, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a recipe that changes half-way unnoticed, and another machine's mesh that counts as a change."""
    train(run_config, tmp_path, build=build)
    run_config.training.log_every, run_config.mesh.data, run_config.validation.every = 4, 1, 8
    train(run_config, tmp_path, build=build)
    run_config.training.steps, run_config.optimizer.peak_learning_rate = 10, 1e-3
    with pytest.raises(InputError, match=r"peak_learning_rate: 0.01 -> 0.001; training.steps: 8 -> 10\); choose"):
        train(run_config, tmp_path, build=build)
    outcome = train(run_config, tmp_path, build=build, allow_config_changes=True)
    assert outcome.step == 10
    assert "changed configuration: training.steps: 8 -> 10" in capsys.readouterr().out


def test_full_disk_ends_in_one_clear_error(
    tmp_path: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches pages of a storage library's stack trace when the disk is full."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("orbax.checkpoint.CheckpointManager.save", full)
    with pytest.raises(InputError, match="no space left on the disk"):
        train(run_config, tmp_path, build=build)


@pytest.mark.parametrize("size", [3000, 12_000])
def test_files_that_may_not_grow(
    size: int, tmp_path: Path, run_config: ConfigDict, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a limit of files' sizes that libraries say in words of their own, and halves that are left after it."""
    with files_up_to(size), pytest.raises(InputError, match=f"no space left on the disk.*{os.strerror(errno.EFBIG)}"):
        train(run_config, tmp_path / "run", build=build)
    assert "Traceback" not in capsys.readouterr().err
    assert train(run_config, tmp_path / "run", build=build).step == run_config.training.steps
    train(run_config, tmp_path / "whole", build=build)
    jax.tree.map(
        np.testing.assert_array_equal, last_params(tmp_path / "run", build), last_params(tmp_path / "whole", build)
    )


def test_started_from_another_run(
    tmp_path: Path, run_config: ConfigDict, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches weights that are named in the configuration and not used."""
    train(run_config, tmp_path / "first", build=build)
    run_config.training.start_from = str(tmp_path / "first")
    run_config.training.steps, run_config.optimizer.peak_learning_rate = 4, 1e-9
    train(run_config, tmp_path / "second", build=build)
    assert "fresh: nothing" in capsys.readouterr().out
    best = load_for_inference(tmp_path / "first", build=build)[1]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), best, last_params(tmp_path / "second", build)
    )


def test_command_ends_in_one_line_and_exit_2(tmp_path: Path) -> None:
    """Catches a traceback, or pages of TensorFlow's greetings, around the one line that matters."""
    command = [sys.executable, "-m", "spikejax.train", "--config", "configs/quickstart.py", "--workdir", str(tmp_path)]
    ended = subprocess.run(
        [*command, "--config.training.stepz=3"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("spikejax: error: ") and ended.stderr.count("\n") == 1
    assert 'did you mean "training.steps"?' in ended.stderr


def test_a_loss_that_is_not_finite_has_an_exit_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a launcher that tries again what ends in the same way each time."""

    def diverge(*_: Any, **__: Any) -> None:
        raise FloatingPointError("the loss is nan")

    monkeypatch.setattr("spikejax.training.loop.train", diverge)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        command.main(["--config", "configs/quickstart.py", "--workdir", str(tmp_path), "--num-processes", "1"])
    assert ended.value.code == 4
    assert capsys.readouterr().err == "spikejax: the loss is nan\n"


def test_a_second_run_in_a_workdir_is_refused(
    tmp_path: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches two runs that write into each other's logs, and remove each other's unfinished checkpoints."""
    refused: list[str] = []
    update = Trainer.update

    def update_beside_another(self: Trainer) -> None:
        if not refused:
            unfinished = tmp_path / "checkpoints" / "last" / "1.orbax-checkpoint-tmp"
            unfinished.mkdir()
            with pytest.raises(InputError) as error:
                train(run_config, tmp_path, build=build)
            refused.append(str(error.value))
            assert unfinished.exists()
            unfinished.rmdir()
        update(self)

    monkeypatch.setattr(Trainer, "update", update_beside_another)
    assert train(run_config, tmp_path, build=build).step == 8
    assert refused == [f"expected to work alone, found another process at work: {tmp_path}"]
