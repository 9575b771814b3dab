"""Checkpoints: what is kept, what comes back, and what is refused."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.errors import InputError
from spikejax.training.checkpoint import Checkpoints
from spikejax.training.step import Build, NetworkDescription, TrainState, abstract_state, create_state
from spikejax.training.trained_params import load_for_inference
from spikejax.training.workdir import check_workdir

STATISTICS = {"bins": 4, "mean": 0.5, "std": 0.25}


@pytest.fixture
def abstract(network: NetworkDescription, config: ConfigDict) -> TrainState:
    """The shapes and places of the stand-in's state."""
    return abstract_state(network, optax.adam(1e-3), sharding.make_mesh(config.mesh.to_dict()))


@pytest.fixture
def state(network: NetworkDescription, abstract: TrainState) -> TrainState:
    """A fresh state."""
    return create_state(network, optax.adam(1e-3), abstract, zeros=jax.tree.map(lambda _: False, network.shapes))


def test_last_comes_back_as_it_was(tmp_path: Path, config: ConfigDict, abstract: TrainState, state: TrainState) -> None:
    """Catches a state that is restored in part, in another dtype or at another place, and a lost loader position."""
    for data_state in ({"next": 7}, b'{"next": 7}'):
        workdir = tmp_path / type(data_state).__name__
        checkpoints = Checkpoints(workdir, config, statistics=STATISTICS)
        assert checkpoints.restore_last(abstract) is None
        checkpoints.save_last(3, state, {"next": 0})
        checkpoints.save_last(5, state, data_state)
        checkpoints.close()
        checkpoints = Checkpoints(workdir, config, statistics=STATISTICS)
        restored = checkpoints.restore_last(abstract)
        checkpoints.close()
        assert restored is not None
        step, again, position = restored
        assert (step, int(again.step), position) == (5, 5, data_state)
        jax.tree.map(np.testing.assert_array_equal, again.params, state.params)
        jax.tree.map(np.testing.assert_array_equal, again.optimizer, state.optimizer)
        assert jax.tree.map(lambda leaf: leaf.sharding, again) == jax.tree.map(lambda leaf: leaf.sharding, abstract)
        assert sorted(path.name for path in (workdir / "checkpoints" / "last").iterdir()) == ["3", "5"]


@pytest.mark.parametrize(
    ("now", "told"), [({"clips": 3, "names": 7}, "found 3 "), ({"clips": 4, "names": 8}, "found 4 of other names ")]
)
def test_a_data_set_that_has_changed(
    tmp_path: Path, config: ConfigDict, abstract: TrainState, state: TrainState, now: dict[str, int], told: str
) -> None:
    """Catches a run that goes on with other clips, in another order, without a word: a picture that was lost, say."""
    before = {"clips": 4, "names": 7}
    checkpoints = Checkpoints(tmp_path, config, statistics=None, data_set=before)
    checkpoints.save_last(3, state, {})
    checkpoints.close()
    for data_set, other in ((before, False), (None, False), (now, True)):
        checkpoints = Checkpoints(tmp_path, config, statistics=None, data_set=data_set, allow_other_data=other)
        assert checkpoints.restore_last(abstract) is not None
        checkpoints.close()
    checkpoints = Checkpoints(tmp_path, config, statistics=None, data_set=now)
    with pytest.raises(InputError, match=f"expected the 4 training clips that the run was at, {told}"):
        checkpoints.restore_last(abstract)
    checkpoints.close()


def scaled(params: Any, factor: float) -> Any:
    """Parameters that one can tell apart."""
    return jax.tree.map(lambda leaf: leaf * factor, params)


def test_best_is_the_best_and_last_is_the_newest(
    tmp_path: Path, config: ConfigDict, state: TrainState, build: Build
) -> None:
    """Catches the newest kept as the best, the best dropped for being old, and inference that reads the wrong one."""
    checkpoints = Checkpoints(tmp_path, config, statistics=STATISTICS)
    for step, psnr in ((1, 20.0), (2, 30.0), (3, 25.0)):
        checkpoints.save_best(step, scaled(state.params, step), {"psnr_recon": psnr})
    checkpoints.save_last(3, dataclasses.replace(state, params=scaled(state.params, 3)), {})
    checkpoints.close()
    saved_config, params, statistics, checkpoint, _ = load_for_inference(tmp_path, build=build)
    jax.tree.map(np.testing.assert_array_equal, params, scaled(state.params, 2))
    assert saved_config.model.to_dict() == config.model.to_dict()
    assert (statistics, checkpoint) == (STATISTICS, "best_psnr/2")
    params = load_for_inference(tmp_path, which="last", build=build).params
    jax.tree.map(np.testing.assert_array_equal, params, scaled(state.params, 3))


def test_a_better_one_is_saved_after_going_back(tmp_path: Path, config: ConfigDict, state: TrainState) -> None:
    """Catches better validations that are not saved because a run continued from an older `last`."""
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    checkpoints.save_best(8, state.params, {"psnr_recon": 20.0})
    checkpoints.save_best(8, state.params, {"psnr_recon": 20.0})
    checkpoints.save_best(6, state.params, {"psnr_recon": 21.0})
    checkpoints.close()
    assert [path.name for path in (tmp_path / "checkpoints" / "best_psnr").iterdir()] == ["6"]


def spoil(step: Path) -> None:
    """Cuts the largest file of a checkpoint in half."""
    file = max((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, config: ConfigDict, abstract: TrainState, state: TrainState, caplog: pytest.LogCaptureFixture
) -> None:
    """Catches a run that is lost with its newest checkpoint, or goes on from half of one."""
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    for step in (3, 5):
        checkpoints.save_last(step, state, {"next": step})
    checkpoints.close()
    last = tmp_path / "checkpoints" / "last"
    spoil(last / "5")
    half_written = last / "7.orbax-checkpoint-tmp"
    half_written.mkdir()
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    restored = checkpoints.restore_last(abstract)
    assert restored is not None and (restored[0], restored[2]) == (3, {"next": 3})
    assert "last/5 is damaged and not used: the file" in caplog.text
    assert (last / "5.damaged").is_dir() and not half_written.exists()
    checkpoints.save_last(5, state, {"next": 5})
    checkpoints.wait()
    spoil(last / "3")
    spoil(last / "5")
    with pytest.raises(InputError, match="found only damaged ones: .*last"):
        checkpoints.restore_last(abstract)
    checkpoints.close()


def test_a_step_may_be_damaged_again(
    tmp_path: Path, config: ConfigDict, abstract: TrainState, state: TrainState
) -> None:
    """Catches a run that never starts again, where a step that was set aside is damaged a second time."""
    last = tmp_path / "checkpoints" / "last"
    for _ in range(2):
        checkpoints = Checkpoints(tmp_path, config, statistics=None)
        for step in (3, 5):
            if not (last / str(step)).exists():
                checkpoints.save_last(step, state, {"next": step})
        checkpoints.close()
        spoil(last / "5")
        checkpoints = Checkpoints(tmp_path, config, statistics=None)
        restored = checkpoints.restore_last(abstract)
        checkpoints.close()
        assert restored is not None and restored[0] == 3
    assert sorted(path.name for path in last.iterdir()) == ["3", "5.damaged"]


@pytest.mark.parametrize("kept", [0, 0.5])
def test_damaged_scores_of_the_best(tmp_path: Path, config: ConfigDict, state: TrainState, kept: float) -> None:
    """Catches a traceback of a library's where the scores that tell the best checkpoint are cut."""
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    checkpoints.save_best(3, state.params, {"psnr_recon": 20.0})
    checkpoints.close()
    (scores,) = tmp_path.glob("checkpoints/best_psnr/3/metrics/metrics")
    content = scores.read_bytes()
    scores.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="expected JSON, found .*best_psnr/3/metrics/metrics"):
        Checkpoints(tmp_path, config, statistics=None)
    with pytest.raises(InputError, match="expected JSON, found .*best_psnr/3/metrics/metrics"):
        load_for_inference(tmp_path)


def test_another_optimizer_is_refused(
    tmp_path: Path, config: ConfigDict, network: NetworkDescription, state: TrainState
) -> None:
    """Catches moments that are taken for those of another optimizer, or a mismatch that is taken for damage."""
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    checkpoints.save_last(3, state, {})
    checkpoints.wait()
    other = abstract_state(network, optax.sgd(1.0, momentum=0.9), sharding.make_mesh(config.mesh.to_dict()))
    with pytest.raises(InputError, match="expected a checkpoint of this optimizer, found "):
        checkpoints.restore_last(other)
    checkpoints.close()


def test_average_that_is_asked_for_later(
    tmp_path: Path, config: ConfigDict, network: NetworkDescription, state: TrainState
) -> None:
    """Catches a run that cannot go on with an average because it was begun without one."""
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    checkpoints.save_last(3, state, {})
    checkpoints.wait()
    mesh = sharding.make_mesh(config.mesh.to_dict())
    restored = checkpoints.restore_last(abstract_state(network, optax.adam(1e-3), mesh, average=True))
    assert restored is not None
    jax.tree.map(np.testing.assert_array_equal, restored[1].average, state.params)
    checkpoints.close()


def test_inference_without_validation_reads_last(
    tmp_path: Path, config: ConfigDict, state: TrainState, build: Build
) -> None:
    """Catches an empty folder of the best that hides the last, and statistics made up for a network without spikes."""
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    checkpoints.save_last(2, state, {})
    checkpoints.close()
    _, params, statistics, *_ = load_for_inference(tmp_path, build=build)
    jax.tree.map(np.testing.assert_array_equal, params, state.params)
    assert statistics is None


def test_another_network_is_refused(tmp_path: Path, config: ConfigDict, state: TrainState, build: Build) -> None:
    """Catches a checkpoint whose arrays are cut or left out to fit, and a message that does not say what differs."""
    checkpoints = Checkpoints(tmp_path, config, statistics=None)
    checkpoints.save_last(2, state, {})
    checkpoints.close()
    check_workdir(tmp_path, config)
    config.model.vrt.dims = (24,) * 11
    with pytest.raises(InputError, match=r"another configuration \(model.vrt.dims: \(16, .*\) -> \(24, .*\)\)"):
        check_workdir(tmp_path, config)
    other = Checkpoints(tmp_path, config, statistics=None)  # as if config.json had been edited
    other.close()
    with pytest.raises(
        InputError, match=r"found 8 of another shape: .*\n  blocks.0.bias: expected \(24,\), found \(16,\)\n"
    ):
        load_for_inference(tmp_path, build=build)


def test_a_run_that_came_to_nothing_binds_nobody(tmp_path: Path, config: ConfigDict) -> None:
    """Catches a workdir that refuses another network though it holds no checkpoint."""
    Checkpoints(tmp_path, config, statistics=None).close()
    config.model.vrt.dims = (24,) * 11
    check_workdir(tmp_path, config)


def test_inference_from_nothing(tmp_path: Path, config: ConfigDict, build: Build) -> None:
    """Catches a traceback, or random weights, for a folder that is no workdir or has no checkpoint yet."""
    with pytest.raises(InputError, match="found no file: .*config.json"):
        load_for_inference(tmp_path, build=build)
    Checkpoints(tmp_path, config, statistics=None).close()
    with pytest.raises(InputError, match="expected a checkpoint in .*best_psnr or .*last, found none"):
        load_for_inference(tmp_path, build=build)


def test_loading_does_not_import_tensorflow() -> None:
    """Catches seconds of imports (and a gigabyte) before anything is restored."""
    code = "import sys, spikejax.training.checkpoint; sys.exit('tensorflow' in sys.modules or 'clu' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
