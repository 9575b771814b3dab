"""Super-resolution, denoising and interpolation: from the data set to scores, with the published configurations."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from configs import vrt
from spikejax import evaluate
from spikejax.distributed import sharding
from spikejax.errors import InputError
from spikejax.io.pictures import read_picture, write_picture
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.traits import NetworkTraits
from spikejax.quality.losses import as_loss, charbonnier_term
from spikejax.training.degradation_config import degradation_of
from spikejax.training.inputs import open_inputs
from spikejax.training.loop import Outcome, train
from spikejax.training.step import Update, abstract_state, batch_shapes, describe_network, make_train_step
from tests.stand_ins import Layer

# TensorFlow's import warns about Python's and its own deprecations.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow.*", "ignore::FutureWarning:tensorflow.*"),
]

FRAMES, HEIGHT, WIDTH = 9, 66, 80


class StandIn(nnx.Module):
    """Takes and gives what the published networks do, and learns in a few updates."""

    needs_spikes, spike_bins = False, None

    def __init__(self, traits: NetworkTraits, *, rngs: nnx.Rngs):
        self.traits = traits
        self.layer = Layer(traits.input_channels, 3, rngs=rngs)

    def __call__(self, blur: jax.Array, voxels: jax.Array | None, key: jax.Array | None = None) -> jax.Array:
        """Restores clips, see `spikejax.models.restorer.Restorer`."""
        assert voxels is None
        x = blur[..., :3] + 0.1 * self.layer(blur)
        if self.traits.interpolates:
            return x.mean(axis=1, keepdims=True)
        return x.repeat(self.traits.upscale, axis=2).repeat(self.traits.upscale, axis=3)


def build(config: Mapping[str, Any], *, rngs: nnx.Rngs) -> StandIn:
    """Has the signature of `build_restorer`."""
    return StandIn(traits_in(config), rngs=rngs)


def traits_in(model: Mapping[str, Any]) -> NetworkTraits:
    """What a published network does, as its configuration says."""
    fields = model["vrt"]
    return NetworkTraits(
        upscale=fields["upscale"],
        interpolates=fields["warp_frames"] == 0,
        noise_level=fields["noise_map"],
        window=fields["window"][0],
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of sharp pictures alone: a gradient that moves and a grain that moves with it."""
    folder = tmp_path_factory.mktemp("data")
    row, column = np.mgrid[:HEIGHT, : WIDTH + FRAMES]
    scene = 90 + 0.8 * row + 0.5 * column + np.random.default_rng(0).uniform(-40, 40, row.shape)
    for split, shift in (("train", 0.0), ("val", 20.0)):
        for number in range(FRAMES):
            part = scene[:, number : number + WIDTH, None] + [shift, 0.0, -shift]
            path = folder / split / "moving" / "sharp" / f"{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_picture(path, np.clip(part, 0, 255).astype(np.uint8))
    return folder


def small_config(name: str, root: Path) -> ConfigDict:
    """The published configuration, for a run of seconds."""
    config = vrt.get_config(name)
    config.data.root = str(root)
    config.data.crop, config.data.batch_size, config.data.workers = 16, 2, 0
    if config.data.degradation != "interpolation":
        config.data.frames = config.validation.frames = 2
    config.optimizer.slow = ""
    config.optimizer.peak_learning_rate = 1e-2
    config.training.steps, config.training.log_every, config.training.checkpoint_every = 4, 2, 2
    config.validation.every, config.validation.pictures = 4, 1
    return config


@pytest.mark.parametrize(
    ("name", "restored", "least", "most"),
    [
        ("001", FRAMES, 20, 27),  # the grain cannot be seen in small pictures
        ("004", FRAMES, 20, 27),
        ("008", FRAMES, 17.5, 20),  # noise of 30 is 18.6 dB, a little is clipped
        ("009", 2, 18, 25),  # two frames about the one sought, each another grain
    ],
)
def test_a_run_and_its_evaluation(
    tmp_path: Path,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    restored: int,
    least: float,
    most: float,
) -> None:
    """Catches a task that does not train, validate, continue exactly, or be evaluated as it was validated."""
    config = small_config(name, root)
    outcome = train(config, tmp_path / "run", build=build)
    assert (outcome.step, outcome.stopped_by) == (4, None)
    assert outcome.scores is not None
    assert least < outcome.scores["psnr_blur"] < most
    (picture,) = (tmp_path / "run" / "pictures").iterdir()
    scale = config.model.vrt.upscale
    assert read_picture(picture).shape == (HEIGHT - HEIGHT % scale, 3 * WIDTH, 3)

    monkeypatch.setattr("spikejax.training.measure_split.build_restorer", build)
    evaluate.main(["--workdir", str(tmp_path / "run"), "--output", str(tmp_path / "out")])
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())
    validated = {name: scores["total"][name] for name in outcome.scores}
    assert validated == pytest.approx(outcome.scores, rel=1e-6)
    assert scores["clips"]["moving"]["frames"] == restored


def test_noise_continues_exactly(tmp_path: Path, root: Path) -> None:
    """Catches a continued run whose noise or noise levels are not those of the uninterrupted one."""
    config = small_config("008", root)

    def losses(workdir: Path, *stops: int) -> Outcome:
        for steps in stops:
            config.training.steps = steps
            outcome = train(config, workdir, build=build, allow_config_changes=True)
        return outcome

    config.optimizer.final_learning_rate = config.optimizer.peak_learning_rate  # the same, wherever the run ends
    assert losses(tmp_path / "cut", 3, 4).scores == losses(tmp_path / "whole", 4).scores


@pytest.mark.parametrize("name", ["001", "002", "003", "008", "009"])  # 004 is 003 with another degradation
def test_published_networks_fit_their_data(root: Path, name: str) -> None:
    """Catches a recipe whose batches its own network does not take, or that restores clips of another shape."""
    config = small_config(name, root)
    inputs = open_inputs(config, root, traits=traits_in(config.model))
    shapes = batch_shapes(config.data, traits_in(config.model))
    assert {key: array.shape for key, array in next(inputs.loader).items()} == {
        key: shape.shape for key, shape in shapes.items()
    }
    groups = len(config.model.vrt.depths)
    config.model.vrt.depths, config.model.vrt.dims = (1,) * groups, (24,) * groups
    config.model.vrt.heads, config.model.vrt.deformable_groups = (1,) * groups, 12
    loss, gradient = traced_step(config, shapes)
    assert (loss, gradient) == ((), ())


def traced_step(config: ConfigDict, batch: Mapping[str, jax.ShapeDtypeStruct]) -> tuple[tuple[int, ...], ...]:
    """The shapes of the metrics of a training step, which is not compiled."""
    network = describe_network(lambda: build_restorer(config.model.to_dict(), rngs=make_rngs(0)))
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1}, devices=jax.devices()[:1])
    abstract = abstract_state(network, optax.sgd(1.0), mesh)
    nothing = jax.tree.map(lambda _: False, network.shapes)
    step = make_train_step(Update(network, optax.sgd(1.0), mesh, nothing, seed=0), abstract)
    loss = as_loss({"charbonnier": charbonnier_term(config.loss)})
    _, metrics = jax.eval_shape(step, abstract, batch, loss)
    return metrics["loss"].shape, metrics["gradient_norm"].shape


def test_a_clip_of_another_shape_is_refused(root: Path) -> None:
    """Catches a loss that broadcasts: four sharp frames against the one that was made."""
    config = small_config("009", root)
    groups = len(config.model.vrt.depths)
    config.model.vrt.depths, config.model.vrt.dims = (1,) * groups, (8,) * groups
    config.model.vrt.heads = (1,) * groups
    batch = {key: jax.ShapeDtypeStruct((2, 4, 16, 16, 3), jnp.float32) for key in ("input", "sharp")}
    with pytest.raises(InputError, match=r"expected .* clips \(2, 4, 16, 16, 3\) .* found \(2, 1, 16, 16, 3\)"):
        traced_step(config, batch)


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        (
            "001",
            {"data.degradation": "noise"},
            "or none for a network that enlarges 4 times",
        ),
        ("006", {"data.degradation": "bicubic"}, "expected none for a network that neither enlarges nor"),
        ("008", {"data.degradation": "none"}, "expected noise for a network that takes a noise level"),
        ("009", {"data.degradation": "none"}, "expected interpolation for a network that interpolates"),
        ("009", {"data.frames": 6}, r"that of the network that interpolates \(4\), found 6 and 4"),
    ],
)
def test_configurations_that_contradict_themselves(name: str, changes: dict[str, Any], told: str) -> None:
    """Catches a mismatch of network and data that shows only when the step is compiled, or not at all."""
    config = vrt.get_config(name)
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=told):
        degradation_of(config, traits_in(config.model))
