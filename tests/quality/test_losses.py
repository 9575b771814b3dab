"""Losses against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spikejax.config.defaults import get_config
from spikejax.models.vgg import VGG
from spikejax.quality.losses import acting_terms, charbonnier, perceptual
from tests.models.parameters import build_random


def test_charbonnier_is_its_formula() -> None:
    """Catches a sum for a mean, or a constant that is not squared."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 1, 2, 4, 4, 3)).astype(np.float32)
    expected = np.mean(np.sqrt((a.astype(np.float64) - b) ** 2 + 1e-6))
    assert charbonnier(jnp.asarray(a), jnp.asarray(b)) == pytest.approx(expected, rel=1e-6)
    assert charbonnier(jnp.asarray(a), jnp.asarray(a), epsilon=0.01) == pytest.approx(0.01, rel=1e-6)


def test_charbonnier_of_equal_pictures_has_a_gradient() -> None:
    """Catches an epsilon that is lost, whose root has no derivative at 0."""
    picture = jnp.full((1, 2, 4, 4, 3), 0.5)
    gradient = jax.grad(lambda x: charbonnier(x, picture))(picture)
    np.testing.assert_array_equal(gradient, 0.0)


def test_charbonnier_of_bfloat16_is_float32() -> None:
    """Catches a loss that is rounded to bfloat16, whose steps beside 1 are 1/128."""
    one = jnp.ones((1, 2, 4, 4, 3), jnp.bfloat16)
    value = charbonnier(one, jnp.zeros_like(one))
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(np.sqrt(1 + 1e-6), abs=5e-7)


@pytest.fixture(scope="module")
def network() -> VGG:
    """A short VGG with random weights."""
    return build_random(lambda rngs: VGG("vgg16", layers=("relu1_1", "relu1_2"), rngs=rngs), size=0.1)


def test_perceptual_is_the_mean_difference_of_features(network: VGG) -> None:
    """Catches pictures that are not normalised, a square for an absolute value, or a layer that is left out."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=(2, 1, 8, 8, 3)).astype(np.float32)
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    features = (network(jnp.asarray((x - mean.reshape(1, 1, 1, 3)) / std.reshape(1, 1, 1, 3))) for x in (a, b))
    expected = np.mean([np.mean(np.abs(np.asarray(x) - np.asarray(y))) for x, y in zip(*features, strict=True)])
    assert perceptual(jnp.asarray(a), jnp.asarray(b), network=network) == pytest.approx(expected, rel=1e-5)


def test_perceptual_of_a_clip_is_the_mean_of_its_frames(network: VGG) -> None:
    """Catches frames that are mixed, or only one of which is looked at."""
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(x) for x in rng.uniform(size=(2, 2, 3, 8, 8, 3)).astype(np.float32))
    frames = [perceptual(a[i, j], b[i, j], network=network) for i in range(2) for j in range(3)]
    assert perceptual(a, b, network=network) == pytest.approx(np.mean(frames), rel=1e-5)


@pytest.mark.slow
def test_perceptual_is_zero_for_equal_pictures_and_has_a_gradient(network: VGG) -> None:
    """Catches a loss that cannot be minimised, or teaches nothing."""
    sharp = jnp.asarray(np.random.default_rng(0).uniform(size=(1, 8, 8, 3)), jnp.float32)
    assert perceptual(sharp, sharp, network=network) == 0
    gradient = jax.grad(lambda x: perceptual(x, sharp, network=network))(sharp + 0.1)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    assert perceptual(sharp.astype(jnp.bfloat16), sharp, network=network).dtype == jnp.float32


@pytest.mark.parametrize(("weight", "file", "acts"), [(0.0, "vgg", False), (0.1, "", False), (0.1, "vgg", True)])
def test_terms_that_act(weight: float, file: str, acts: bool) -> None:
    """Catches a term that a model card names and training left out, and code or weights that are read for it."""
    config = get_config().loss
    config.terms = ("charbonnier", "perceptual", "absent.py:edges")
    config.perceptual_weight, config.perceptual_weights_file = weight, file
    assert acting_terms(config) == ["charbonnier", *["perceptual"] * acts, "absent.py:edges"]
