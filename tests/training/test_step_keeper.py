"""Runs that start again with the step that was compiled before: the same numbers, and no compiling."""

import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.training import dry_run, loop, step_keeper
from spikejax.training.loop import train
from spikejax.training.step import Build
from spikejax.training.trained_params import load_for_inference
from tests.stand_ins import stopping_after

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow.*", "ignore::FutureWarning:tensorflow.*"),
]


@pytest.fixture
def folder(tmp_path: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where steps are kept; the stand-in counts as the package's own network, and no run before had its program."""
    folder = tmp_path / "compiled"
    folder.mkdir(mode=0o700)
    for module in (loop, dry_run):
        monkeypatch.setattr(module, "folder_in_use", lambda: folder)
        monkeypatch.setattr(module, "build_restorer", build)
    run_config.training.log_every = 1
    run_config.seed = time.time_ns() % 2**32  # is in the program, so that JAX's own cache does not have it
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e6)
    yield folder
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before)


def losses(workdir: Path) -> list[tuple[int, str, float]]:
    """The points of the curves that a run's numbers are."""
    points = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [
        (point["step"], point["name"], point["value"])
        for point in points
        if point["group"] in ("training", "validation")
    ]


def test_a_run_that_starts_again_compiles_nothing_and_is_the_same(
    tmp_path: Path,
    folder: Path,
    run_config: ConfigDict,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches a kept step that computes other numbers, or is not used; and a restart whose time nobody can read."""
    with monkeypatch.context() as patch:
        stopping_after(5, patch)
        train(run_config, tmp_path / "parts", build=build)
    assert "compiling the training step ..." in capsys.readouterr().out
    assert len(list(folder.iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(step_keeper, "_compile", pytest.fail)
        train(run_config, tmp_path / "parts", build=build)
        printed = capsys.readouterr().out
        assert "took the step that was compiled before, and did the first step, in " in printed
        assert "first update done " in printed and " in 2 processes made progress" in printed
        train(run_config, tmp_path / "given", build=build, compiled=next(folder.iterdir()))
    assert "took the compiled step of " in capsys.readouterr().out
    monkeypatch.setattr(loop, "folder_in_use", lambda: None)
    train(run_config, tmp_path / "whole", build=build)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") == losses(tmp_path / "given")
    of = [load_for_inference(tmp_path / name, which="last", build=build)[1] for name in ("whole", "parts", "given")]
    jax.tree.map(np.testing.assert_array_equal, of[0], of[1])
    jax.tree.map(np.testing.assert_array_equal, of[0], of[2])
    names = {
        f"{point['group']}/{point['name']}"
        for point in map(json.loads, (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines())
    }
    assert {"start/seconds_to_first_update", "goodput/share", "goodput/compiling", "goodput/redone"} <= names


def test_a_run_takes_the_step_of_its_check(
    tmp_path: Path,
    folder: Path,
    run_config: ConfigDict,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches minutes of compiling that are done twice, and another step, or memory, for having been compiled ahead."""
    run_config.training.steps, run_config.optimizer.warmup_steps = 2, 0
    dry_run.compile_only(run_config, build=build)
    assert len(list(folder.iterdir())) == 1
    first = capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(step_keeper, "_compile", pytest.fail)
        dry_run.compile_only(run_config, build=build)
        assert capsys.readouterr().out == first
        train(run_config, tmp_path / "after", build=build)
    assert "took the step that was compiled before" in capsys.readouterr().out
    monkeypatch.setattr(loop, "folder_in_use", lambda: None)
    train(run_config, tmp_path / "alone", build=build)
    assert losses(tmp_path / "after") == losses(tmp_path / "alone")


@pytest.mark.parametrize("kind", ["cut", "others may write"])
def test_a_kept_step_that_cannot_be_used_is_compiled_again(
    kind: str, tmp_path: Path, folder: Path, run_config: ConfigDict, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a run that ends for a damaged cache, and code that others have put there."""
    run_config.training.steps, run_config.optimizer.warmup_steps = 1, 0
    train(run_config, tmp_path / "first", build=build)
    (kept,) = folder.iterdir()
    if kind == "cut":
        kept.write_bytes(kept.read_bytes()[:-1])
    else:
        kept.chmod(0o666)
    capsys.readouterr()
    train(run_config, tmp_path / "second", build=build)
    assert "compiling the training step ..." in capsys.readouterr().out


def test_what_may_not_be_kept(
    tmp_path: Path, folder: Path, run_config: ConfigDict, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a step of a network of somebody's own, which may change without its name, or of a program JAX had."""
    run_config.training.steps, run_config.optimizer.warmup_steps = 1, 0
    with monkeypatch.context() as patch:
        patch.setattr(loop, "build_restorer", lambda *model, **more: Any)
        train(run_config, tmp_path / "own", build=build)
        with pytest.raises(InputError, match="without code of somebody's own, found it for the network"):
            train(run_config, tmp_path / "given", build=build, compiled=tmp_path / "step.bin")
    compile_step = step_keeper._compile
    monkeypatch.setattr(step_keeper, "_compile", lambda lowered: (compile_step(lowered)[0], False))
    train(run_config, tmp_path / "read", build=build)
    assert not any(folder.iterdir())


def test_a_program_of_jaxs_cache_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a program that JAX has read from its cache and that is kept: called again it lacks functions."""
    lowered = jax.jit(lambda x: x + 1).lower(1.0)
    assert step_keeper._compile(lowered)[1]

    class Read:
        """Compiles as JAX does what it has in its cache."""

        def compile(self) -> Any:
            """Says so."""
            jax.monitoring.record_event("/jax/compilation_cache/cache_hits")
            return lowered.compile()

    assert not step_keeper._compile(Read())[1]
