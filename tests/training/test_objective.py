"""The sum of losses, with and without weights for the perceptual term."""

import re
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
from spikejax.quality.losses import LOSS_TERMS, charbonnier, evaluate_terms, perceptual
from spikejax.quality.perceptual import load_vgg
from spikejax.training.loop import train
from spikejax.training.monitoring.metrics_log import METRICS_LOG, read_points
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


@pytest.mark.slow
def test_loss_is_the_sum_of_its_terms(config: ConfigDict, vgg_file: str) -> None:
    """Catches a weight that is lost, and a term that is announced but not added."""
    config.loss.perceptual_weights_file = vgg_file
    notes: list[str] = []
    loss = make_loss(config.loss, note=notes.append)
    a, b = (jnp.asarray(x) for x in np.random.default_rng(0).uniform(size=(2, 1, 2, 8, 8, 3)).astype(np.float32))
    expected = charbonnier(a, b, epsilon=1e-3), perceptual(a, b, network=load_vgg(vgg_file, "vgg19"))
    total, terms = jax.jit(evaluate_terms)(loss, a, {"sharp": b})
    assert float(total) == pytest.approx(float(expected[0] + 0.1 * expected[1]), rel=1e-5)
    assert float(terms["charbonnier"]) == pytest.approx(float(expected[0]), rel=1e-6)
    assert float(terms["perceptual"]) == pytest.approx(0.1 * float(expected[1]), rel=1e-5)
    assert expected[1] > 0.1 * expected[0]
    assert not notes


def test_without_weights_the_terms_are_left_out_with_a_message(config: ConfigDict) -> None:
    """Catches a run that stops for want of a file, or goes on without a word."""
    notes: list[str] = []
    loss = make_loss(config.loss, note=notes.append)
    a, b = (jnp.asarray(x) for x in np.random.default_rng(0).uniform(size=(2, 1, 2, 8, 8, 3)).astype(np.float32))
    total, terms = evaluate_terms(loss, a, {"sharp": b})
    assert float(total) == float(terms["charbonnier"]) == float(charbonnier(a, b, epsilon=1e-3)) and len(terms) == 1
    assert list(make_metrics(config.validation, note=notes.append)) == ["psnr", "psnr_y", "ssim", "ssim_y"]
    assert ["loss.perceptual_weights_file names no weights of vgg19" in notes[0], len(notes)] == [True, 2]
    assert "validation.lpips_weights_file names no weights" in notes[1]
    config.loss.perceptual_weight = 0.0
    make_loss(config.loss, note=notes.append)
    assert len(notes) == 2


def test_wrong_weights_stop(config: ConfigDict, vgg_file: str) -> None:
    """Catches a file that was asked for and is not used."""
    config.loss.perceptual_network = "vgg"
    with pytest.raises(InputError, match="loss.perceptual_network: expected vgg16 or vgg19, found 'vgg'"):
        make_loss(config.loss, note=print)
    config.loss.perceptual_network = "vgg16"
    config.loss.perceptual_weights_file = vgg_file
    with pytest.raises(InputError, match="expected weights of vgg16, found vgg19"):
        make_loss(config.loss, note=print)
    config.validation.lpips_weights_file = vgg_file
    with pytest.raises(InputError, match="expected weights of lpips_alex or lpips_vgg, found vgg19"):
        make_metrics(config.validation, note=print)


MINE = """
import jax.numpy as jnp

def bias(config):
    return lambda restored, batch: 0.5 * jnp.abs((restored - batch["input"]).mean()) + 0 * batch["voxels"].sum()

def row_error(config):
    return lambda restored, batch: jnp.abs(restored - batch["sharp"]).mean(axis=(0, 1, 3, 4))

def number(config):
    return config.charbonnier_epsilon

def charbonnier(config):
    return lambda restored, batch: 0.0
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A user's file of loss terms."""
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def test_a_term_of_the_users(config: ConfigDict, mine: str) -> None:
    """Catches a term that is added without its name, that sees the sharp clips alone, or that stays in the table."""
    config.loss.terms = ("charbonnier", f"{mine}:bias")
    loss = make_loss(config.loss, note=print)
    clip = jnp.zeros((1, 2, 8, 8, 3))
    total, terms = jax.jit(evaluate_terms)(
        loss, clip + 0.25, {"input": clip, "sharp": clip + 0.25, "voxels": jnp.zeros((1, 2, 8, 8, 4))}
    )
    assert {name: float(term) for name, term in terms.items()} == pytest.approx({"charbonnier": 1e-3, "bias": 0.125})
    assert float(total) == pytest.approx(0.126)
    assert "bias" not in LOSS_TERMS


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (("charbonier",), "loss.terms: expected one of charbonnier, .* did you mean 'charbonnier'"),
        ((), "loss.terms: expected a term that acts, found none"),
        (("perceptual",), "loss.terms: expected a term that acts, found perceptual"),
        (("MINE:number",), "loss.terms: expected number to make a function, found float"),
        (("MINE:charbonnier",), "loss.terms: expected different names, found charbonnier twice"),
        (("MINE:MINE",), "loss.terms: expected MINE to be defined"),
    ],
)
def test_terms_that_cannot_be(config: ConfigDict, mine: str, terms: tuple[str, ...], message: str) -> None:
    """Catches a run that trains on something else than its configuration says, or on nothing."""
    config.loss.terms = tuple(name.replace("MINE:", f"{mine}:") for name in terms)
    with pytest.raises(InputError, match=message):
        make_loss(config.loss, note=lambda text: None)


def test_a_term_that_is_no_scalar(config: ConfigDict, mine: str) -> None:
    """Catches a gradient of a sum over rows that nobody asked for, or JAX's message without the term's name."""
    config.loss.terms = (f"{mine}:row_error",)
    clip = jnp.zeros((1, 2, 8, 8, 3))
    with pytest.raises(InputError, match=r"loss.terms: expected a scalar of row_error, found an array \(8,\)"):
        evaluate_terms(make_loss(config.loss, note=print), clip, {"sharp": clip})


def test_abstract_weights_need_no_file(config: ConfigDict) -> None:
    """Catches a plan that reads weights, or leaves the term out whose work it is to count."""
    config.loss.perceptual_weights_file = "/a/file/of/another/machine.safetensors"
    loss = make_loss(config.loss, note=print, abstract=True)
    leaves = jax.tree.leaves(loss)
    assert leaves and all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    clip = jax.ShapeDtypeStruct((1, 1, 16, 16, 3), jnp.float32)
    total, terms = jax.eval_shape(evaluate_terms, loss, clip, {"sharp": clip})
    assert total.shape == () and set(terms) == {"charbonnier", "perceptual"}


def test_metric_by_weights(config: ConfigDict, tmp_path: Path) -> None:
    """Catches LPIPS that is configured and not measured."""
    network = build_random(lambda rngs: LPIPS("alex", rngs=rngs), size=0.05)
    config.validation.lpips_weights_file = write(tmp_path / "alex.safetensors", "lpips_alex", network)
    config.validation.metrics = ("lpips", "psnr")
    metrics = make_metrics(config.validation, note=print)
    assert list(metrics) == ["lpips", "psnr"]
    assert metrics["lpips"](np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)) != 0


@pytest.mark.slow
def test_a_run_with_both(
    config: ConfigDict, tmp_path: Path, vgg_file: str, build: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches terms that the loop does not pass on: VGG within the compiled step, LPIPS among the scores, curves."""
    network = build_random(lambda rngs: LPIPS("alex", rngs=rngs), size=0.05)
    config.validation.lpips_weights_file = write(tmp_path / "alex.safetensors", "lpips_alex", network)
    config.loss.perceptual_weights_file = vgg_file
    config.optimizer.clip_norm = 0.0  # as the published recipe has it
    config.optimizer.warmup_steps = 0
    config.training.steps = 2
    config.training.log_every = 1
    scores = train(config, tmp_path / "run", build=build).scores
    assert re.search(r"loss [\d.]+ = charbonnier [\d.]+ \+ perceptual [\d.]+", capsys.readouterr().out)
    first = {point.curve: point.value for point in read_points(tmp_path / "run" / METRICS_LOG) if point.step == 1}
    total, *terms = (first[f"training/{name}"] for name in ("loss", "loss/charbonnier", "loss/perceptual"))
    assert total == pytest.approx(sum(terms), rel=1e-6) and all(term > 0 for term in terms)
    assert scores is not None
    assert np.isfinite([scores["lpips_blur"], scores["lpips_recon"], scores["psnr_recon"]]).all()
    assert scores["lpips_blur"] != 0
