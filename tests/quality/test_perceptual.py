"""Perceptual networks from weights files."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from spikejax.errors import InputError
from spikejax.io.weights import Weights, write_weights
from spikejax.models.lpips import LPIPS
from spikejax.models.vgg import VGG
from spikejax.quality.perceptual import load_lpips, load_vgg, lpips_distance
from tests.models.parameters import build_random


def write(path: Path, kind: str, network: nnx.Module) -> Path:
    """A weights file of a network."""
    params = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(network)))
    write_weights(path, Weights(kind, None, params))
    return path


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a VGG that ends after its second block."""
    network = build_random(lambda rngs: VGG("vgg16", layers=("relu2_2",), rngs=rngs), size=0.05)
    return write(tmp_path_factory.mktemp("weights") / "vgg16.safetensors", "vgg16", network)


def test_a_part_of_the_weights_is_enough(vgg_file: Path) -> None:
    """Catches layers after the last one asked for that are kept, and weights in the wrong place."""
    whole, part = (load_vgg(vgg_file, "vgg16", layers=(layer,)) for layer in ("relu2_2", "relu1_2"))
    assert (len(whole.convolutions), len(part.convolutions)) == (4, 2)
    np.testing.assert_array_equal(part.convolutions[1].kernel[...], whole.convolutions[1].kernel[...])
    assert whole.convolutions[3].kernel[...].std() == pytest.approx(0.05, rel=0.01)


def test_files_that_do_not_fit(tmp_path: Path, vgg_file: Path) -> None:
    """Catches weights of another network that are taken, and parameters that stay random without a word."""
    for load, told in (
        (lambda: load_vgg(vgg_file, "vgg19"), "expected weights of vgg19, found vgg16: "),
        (lambda: load_lpips(vgg_file), "expected weights of lpips_alex or lpips_vgg, found vgg16: "),
        (lambda: load_vgg(vgg_file, "vgg16"), "expected weights of vgg16, found 6 missing: "),
        (lambda: load_vgg(tmp_path / "nothing.safetensors", "vgg16"), "found nothing"),
    ):
        with pytest.raises(InputError) as caught:
            load()
        assert told in str(caught.value)


@pytest.mark.slow
def test_distance_takes_8_bit_pictures_of_any_size(tmp_path: Path) -> None:
    """Catches pictures on another scale than [0, 1], or arguments whose order matters."""
    network: Any = build_random(lambda rngs: LPIPS("alex", rngs=rngs), size=0.05)
    for head in network.heads:
        head.kernel[...] = abs(head.kernel[...])
    distance = lpips_distance(load_lpips(write(tmp_path / "alex.safetensors", "lpips_alex", network)))
    rng = np.random.default_rng(0)
    for size in ((32, 40), (35, 33)):
        a, b = rng.integers(0, 256, (2, *size, 3), np.uint8)
        expected = network(*(jax.numpy.asarray(picture, np.float32)[None] / 255 for picture in (a, b)))[0]
        assert distance(a, b) == pytest.approx(float(expected), rel=1e-4)
        assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-5)
        assert distance(a, a) == pytest.approx(0, abs=1e-12)
