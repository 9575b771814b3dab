"""Scores of a checkpoint: the same as validation's, whole, and in files that others can read."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax import evaluate
from spikejax.config.files import save_config
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.data.spikes.voxels import standardise
from spikejax.distributed.sharding import batch_mesh
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.io.weights import Weights, write_weights
from spikejax.models.rngs import make_rngs
from spikejax.models.traits import NetworkTraits
from spikejax.training.checkpoint import Checkpoints
from spikejax.training.optimizer import make_optimizer
from spikejax.training.step import abstract_state, create_state, describe_network
from spikejax.training.validation import validate
from tests.stand_ins import KnownTiles, build_stand_in, tiny_config, trained_of

BINS = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two validation sequences of three frames."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    sizes: dict[str, Any] = dict(train_sequences=1, val_sequences=2, frames=3, height=32, width=40, max_motion=10.0)
    write_moving_photographs(folder, seed=1, bins=BINS, progress=False, **sizes)
    return folder


@pytest.mark.slow
def test_a_checkpoint_measures_as_in_training(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches other weights, statistics, clips or means than those of training's own validation."""
    monkeypatch.setattr("spikejax.training.measure_split.build_restorer", build_stand_in)
    config = tiny_config()
    config.data.source, config.data.root = "folder", str(root)
    network = describe_network(lambda: build_stand_in(config.model.to_dict(), rngs=make_rngs(3)))
    nowhere = everywhere(network.shapes, value=False)
    optimizer = make_optimizer(config.optimizer, lambda step: 0.1, network.axes, frozen=nowhere, slow=nowhere)
    abstract = abstract_state(network, optimizer, batch_mesh())
    state = create_state(network, optimizer, abstract, zeros=everywhere(network.shapes, value=False))
    statistics = json.loads((root / "statistics.json").read_text())
    checkpoints = Checkpoints(tmp_path / "run", config, statistics=statistics)
    checkpoints.save_best(1, state.params, {"psnr_recon": 1.0})
    checkpoints.close()

    evaluate.main(["--workdir", str(tmp_path / "run"), "--output", str(tmp_path / "out")])

    def restore(frames: np.ndarray, counts: np.ndarray | None) -> np.ndarray:
        voxels = standardise(np, counts, mean=statistics["mean"], std=statistics["std"])
        network_ = nnx.merge(network.graph, state.params)
        return np.asarray(network_(jnp.asarray(frames[None]), jnp.asarray(voxels[None]), key=None))[0]

    restorer = KnownTiles(restore).restorer(Extent(config.validation.frames, 0, 0))
    dataset = FolderDataset(root, "val", ClipSpec(2, BINS))
    validation = validate(restorer, dataset)
    assert validation is not None
    expected = validation.scores
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {name: scores["total"][name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert {"tof_recon", "warp_error_recon"} == {name for name in scores["total"].keys() - expected if "recon" in name}
    assert (scores["split"], scores["unused"], scores["checkpoint"]) == ("val", [], "best_psnr/1")
    assert f"{expected['psnr_blur']:.4f} ->" in capsys.readouterr().out

    evaluate.main(["--workdir", str(tmp_path / "run"), "--output", str(tmp_path / "high"), "--threshold-factor", "4"])
    high = json.loads((tmp_path / "high" / "metrics.json").read_text())
    dataset = FolderDataset(root, "val", ClipSpec(2, BINS, threshold_factor=4.0))
    raised = validate(restorer, dataset)
    assert raised is not None and high["threshold_factor"] == 4
    assert {name: high["total"][name] for name in expected} == pytest.approx(raised.scores, rel=1e-6)
    assert high["total"]["psnr_blur"] == scores["total"]["psnr_blur"]
    assert abs(high["total"]["psnr_recon"] - scores["total"]["psnr_recon"]) > 1e-3

    weights = tmp_path / "weights.safetensors"
    params = jax.tree.map(np.asarray, state.params)
    write_weights(weights, Weights("restorer", config.model.to_dict(), params, statistics))
    arguments = ["--workdir", str(weights), "--output", str(tmp_path / "again")]
    frames = ["--frames", str(config.validation.frames)]
    evaluate.main([*arguments, "--data", str(root), *frames])
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert (again["total"], again["checkpoint"]) == (scores["total"], "weights.safetensors")
    with pytest.raises(InputError, match="expected a workdir, which has the checkpoint last, found weights: .*weights"):
        evaluate.main([*arguments, "--data", str(root), "--overwrite", "--which", "last"])


def everywhere(shapes: Any, *, value: bool) -> Any:
    """The same tree with `value` everywhere."""
    return jax.tree.map(lambda _: value, shapes)


def test_code_that_comes_with_a_workdir_is_not_run(tmp_path: Path) -> None:
    """Catches a workdir from somebody else whose data set is code: it would run as soon as the run is evaluated."""
    config = tiny_config()
    config.data.source = f"{tmp_path / 'code.py'}:Data"
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\n")
    save_config(config, tmp_path / "run" / "config.json")
    with pytest.raises(InputError, match=r"data.source: expected an entry of the package .*, found .*code\.py:Data"):
        evaluate.main(["--workdir", str(tmp_path / "run"), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold-factor", "0.5"], "a number from 1, found '0.5'"),
        (["--dark-rate", "2"], "dark_rate: expected spikes a step from 0 to below 1, found"),
        (["--shot-photons", "20", "--data", "ROOT"], "found --data ROOT and --split val"),
        (["--shot-photons", "20", "--split", "train"], "found --data None and --split train"),
    ],
)
def test_another_camera_that_cannot_be_had(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a threshold that is lowered, and noise that is asked for and not added."""
    with pytest.raises((InputError, SystemExit)) as caught:
        evaluate.main(["--workdir", str(tmp_path / "run"), "--output", str(tmp_path / "out"), *arguments])
    assert message in str(caught.value) + capsys.readouterr().err


def test_another_camera_for_a_network_without_spikes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches numbers that are stated for a threshold, and are those of pictures alone."""
    without = trained_of(NetworkTraits(), tmp_path)
    save_config(tiny_config(), tmp_path / "config.json")
    monkeypatch.setattr("spikejax.evaluation.run.load_trained", lambda *rest, **options: without)
    for arguments in (["--threshold-factor", "2", "--data", str(root)], ["--dark-rate", "0.1"]):
        with pytest.raises(InputError, match="^expected a network that takes spikes for .*, found none"):
            evaluate.main(["--workdir", str(tmp_path), "--output", str(tmp_path / "out"), *arguments])


def test_output_that_is_something_else(tmp_path: Path) -> None:
    """Catches a folder of photographs that a slip of the pen replaces."""
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "a.png").write_bytes(b"")
    arguments = ["--workdir", str(tmp_path / "run"), "--output", str(tmp_path / "photographs")]
    with pytest.raises(InputError, match="expected a new or empty folder"):
        evaluate.main(arguments)
    with pytest.raises(InputError, match="expected an earlier evaluation to replace"):
        evaluate.main([*arguments, "--overwrite"])
    assert (tmp_path / "photographs" / "a.png").exists()


def test_weights_of_something_else(tmp_path: Path) -> None:
    """Catches a traceback, or a message about a missing configuration, for a file that is no workdir."""
    arguments = ["--output", str(tmp_path / "out"), "--workdir"]
    with pytest.raises(InputError, match=r"^expected --data or --sharp with weights, .*: .*nowhere\.safetensors$"):
        evaluate.main([*arguments, str(tmp_path / "nowhere.safetensors")])
    arguments = ["--data", str(tmp_path), *arguments]
    with pytest.raises(InputError, match=r"found no(ne|thing).*nowhere\.safetensors"):
        evaluate.main([*arguments, str(tmp_path / "nowhere.safetensors")])
    (tmp_path / "photo.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"expected .*photo\.png"):
        evaluate.main([*arguments, str(tmp_path / "photo.png")])
    write_weights(tmp_path / "other.safetensors", Weights("spynet", None, {"a": np.zeros(1, np.float32)}))
    with pytest.raises(InputError, match="expected a network that restores pictures, found weights of spynet"):
        evaluate.main([*arguments, str(tmp_path / "other.safetensors")])


def test_no_checkpoint_there(tmp_path: Path) -> None:
    """Catches a traceback, and an output folder that is left behind."""
    with pytest.raises(InputError, match="expected a run's configuration"):
        evaluate.main(["--workdir", str(tmp_path / "run"), "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
