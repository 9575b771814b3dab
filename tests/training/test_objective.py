"""The sum of losses, with and without weights for the perceptual term."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.io.weights import Weights, write_weights
from spikejax.models.lpips import LPIPS
from spikejax.models.vgg import VGG
from spikejax.quality.losses import charbonnier, perceptual
from spikejax.quality.perceptual import load_vgg
from spikejax.training.loop import train
from spikejax.training.objective import make_loss, make_metrics
from spikejax.training.step import Build
from tests.models.parameters import build_random

# TensorFlow's import warns about Python's and its own deprecations.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow.*", "ignore::FutureWarning:tensorflow.*")


def write(path: Path, kind: str, network: nnx.Module) -> str:
    """A weights file of a network."""
    write_weights(path, Weights(kind, None, jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(network)))))
    return str(path)


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights as far as the loss needs them."""
    network = build_random(lambda rngs: VGG("vgg19", layers=("relu3_3",), rngs=rngs), size=0.06)
    return write(tmp_path_factory.mktemp("weights") / "vgg19.safetensors", "vgg19", network)


def test_loss_is_the_sum_of_its_terms(config: ConfigDict, vgg_file: str) -> None:
    """Catches a weight that is lost, and a term that is announced but not added."""
    config.loss.perceptual_weights_file = vgg_file
    notes: list[str] = []
    loss = make_loss(config.loss, note=notes.append)
    a, b = (jnp.asarray(x) for x in np.random.default_rng(0).uniform(size=(2, 1, 2, 8, 8, 3)).astype(np.float32))
    terms = charbonnier(a, b, epsilon=1e-3), perceptual(a, b, network=load_vgg(vgg_file, "vgg19"))
    assert float(jax.jit(loss)(a, b)) == pytest.approx(float(terms[0] + 0.1 * terms[1]), rel=1e-5)
    assert terms[1] > 0.1 * terms[0]
    assert not notes


def test_without_weights_the_terms_are_left_out_with_a_message(config: ConfigDict) -> None:
    """Catches a run that stops for want of a file, or goes on without a word."""
    notes: list[str] = []
    loss = make_loss(config.loss, note=notes.append)
    a, b = (jnp.asarray(x) for x in np.random.default_rng(0).uniform(size=(2, 1, 2, 8, 8, 3)).astype(np.float32))
    assert float(loss(a, b)) == float(charbonnier(a, b, epsilon=1e-3))
    assert list(make_metrics(config.validation, note=notes.append)) == ["psnr", "psnr_y", "ssim", "ssim_y"]
    assert ["loss.perceptual_weights_file names no weights of vgg19" in notes[0], len(notes)] == [True, 2]
    assert "validation.lpips_weights_file names no weights" in notes[1]
    config.loss.perceptual_weight = 0.0
    make_loss(config.loss, note=notes.append)
    assert len(notes) == 2


def test_wrong_weights_stop(config: ConfigDict, vgg_file: str) -> None:
    """Catches a file that was asked for and is not used."""
    config.loss.perceptual_network = "vgg"
    with pytest.raises(InputError, match="loss.perceptual_network: expected vgg19 or vgg16, got 'vgg'"):
        make_loss(config.loss, note=print)
    config.loss.perceptual_network = "vgg16"
    config.loss.perceptual_weights_file = vgg_file
    with pytest.raises(InputError, match="expected weights of vgg16, got vgg19"):
        make_loss(config.loss, note=print)
    config.validation.lpips_weights_file = vgg_file
    with pytest.raises(InputError, match="expected weights of lpips_alex or lpips_vgg, got vgg19"):
        make_metrics(config.validation, note=print)


def test_metric_by_weights(config: ConfigDict, tmp_path: Path) -> None:
    """Catches LPIPS that is configured and not measured."""
    network = build_random(lambda rngs: LPIPS("alex", rngs=rngs), size=0.05)
    config.validation.lpips_weights_file = write(tmp_path / "alex.safetensors", "lpips_alex", network)
    config.validation.metrics = ("lpips", "psnr")
    metrics = make_metrics(config.validation, note=print)
    assert list(metrics) == ["lpips", "psnr"]
    assert metrics["lpips"](np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)) != 0


def test_the_metric_of_the_best_checkpoint_is_measured(config: ConfigDict) -> None:
    """Catches a run that trains for a day and cannot say which checkpoint is the best."""
    config.validation.metrics = ("ssim",)
    with pytest.raises(InputError, match='validation.metrics: expected "psnr" among them, .*found ssim'):
        make_metrics(config.validation, note=print)


def test_a_run_with_both(config: ConfigDict, tmp_path: Path, vgg_file: str, build: Build) -> None:
    """Catches terms that the loop does not pass on: VGG within the compiled step, LPIPS among the scores."""
    network = build_random(lambda rngs: LPIPS("alex", rngs=rngs), size=0.05)
    config.validation.lpips_weights_file = write(tmp_path / "alex.safetensors", "lpips_alex", network)
    config.loss.perceptual_weights_file = vgg_file
    config.optimizer.clip_norm = float("inf")  # as the published recipe has it
    config.optimizer.warmup_steps = 0
    config.training.steps = 2
    scores = train(config, tmp_path / "run", build=build).scores
    assert scores is not None
    assert np.isfinite([scores["lpips_blur"], scores["lpips_recon"], scores["psnr_recon"]]).all()
    assert scores["lpips_blur"] != 0
