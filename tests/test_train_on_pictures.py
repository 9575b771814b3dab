"""Data sets of pictures without spikes, from what is published to a table of scores."""

import json
import re
from pathlib import Path

import pytest

from spikejax import evaluate, train
from tests.data.published_pictures import IMITATIONS, Imitation, prepare

pytestmark = pytest.mark.slow
# A network that is compiled in a second, for each kind of data set.
NETWORK = '''
import jax.numpy as jnp
from flax import nnx

from spikejax.models.layers import Linear
from spikejax.models.traits import NetworkTraits


class Enlarge(nnx.Module):
    """A linear function of every pixel's colours, and as many copies of it as the sharp pictures have pixels."""

    traits = NetworkTraits(upscale={scale}, interpolates={interpolates}, noise_level={noise}, window=2)

    def __init__(self, config, *, rngs):
        self.colours = Linear(self.traits.input_channels, 3, rngs=rngs)

    def __call__(self, clip, voxels=None, *, key=None):
        assert voxels is None
        clip = self.colours(clip)
        clip = jnp.repeat(jnp.repeat(clip, {scale}, axis=-3), {scale}, axis=-2)
        return clip[:, 1:] if {interpolates} else clip
'''


def run_options(imitation: Imitation, root: Path, network: Path, *, steps: int = 2) -> list[str]:
    """Options of a training that takes seconds."""
    network.write_text(
        NETWORK.format(
            scale=imitation.scale,
            interpolates=imitation.made == "interpolation",
            noise=imitation.made == "noise",
        )
    )
    values = {
        "model.backbone": f"{network}:Enlarge",
        "data.root": root,
        "data.degradation": imitation.made,
        "data.frames": 2,
        "data.crop": 16,
        "data.batch_size": 2,
        "loss.perceptual_weight": 0.0,
        "optimizer.warmup_steps": 0,
        "training.steps": steps,
        "training.log_every": 1,
        "training.loggers": "",
        "validation.frames": 2,
        "validation.every": steps,
        "validation.pictures": 0,
        "restore.tile": "2,0,0",
        "restore.overlap": "0,0,0",
    }
    return ["--config", "spike:backbone", *(f"--config.{key}={value}" for key, value in values.items())]


@pytest.mark.parametrize("name", [name for name, each in IMITATIONS.items() if "train" in each.splits])
def test_from_published_to_scores(name: str, tmp_path: Path) -> None:
    """Catches a layout that can be prepared and not trained on, or not evaluated on every split."""
    imitation, source, root = IMITATIONS[name], tmp_path / "source", tmp_path / "root"
    imitation.write(source)
    prepare(imitation, source, root)
    options = run_options(imitation, root, tmp_path / "network.py")
    train.main([*options, "--workdir", str(tmp_path / "run")])
    for split in imitation.splits:
        arguments = ["--network", str(tmp_path / "run"), "--output", str(tmp_path / split), "--metrics", "psnr"]
        evaluate.main([*arguments, "--split", split, "--trust-code"])
        scores = json.loads((tmp_path / split / "metrics.json").read_text())
        assert set(scores["clips"]) == set(imitation.splits[split])
        assert scores["data"] == str(root) and scores["unused"] == []


def test_septuplets_as_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches clips of 7 frames for a network of windows of 8, and scores of other frames than the middle one."""
    imitation, source, root = IMITATIONS["vimeo90k"], tmp_path / "source", tmp_path / "root"
    imitation.write(source)
    prepare(imitation, source, root)
    options = [
        option
        for option in run_options(imitation, root, tmp_path / "network.py")
        if not option.startswith(("--config.data.frames", "--config.validation.frames", "--config.restore"))
    ]
    options[options.index("spike:backbone")] = "vrt:003"
    options.append("--config.optimizer.slow=")
    options.append("--config.optimizer.slow_steps=0")
    network = tmp_path / "network.py"
    code = network.read_text().replace("assert voxels is None", "assert voxels is None and clip.shape[1] == 8")
    network.write_text(code.replace("window=2", "window=8"))
    train.main([*options, "--workdir", str(tmp_path / "run")])
    arguments = ["--network", str(tmp_path / "run"), "--output", str(tmp_path / "out"), "--metrics", "psnr"]
    evaluate.main([*arguments, "--trust-code"])
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {name: len(frames) for name, frames in scores["frames"].items()} == {"00001_0266": 1}
    psnr = scores["mean_over_frames"]["psnr_recon"]
    assert f"{psnr:.2f} dB" in re.findall(r"step 2: PSNR .*? -> (\S+ dB)", capsys.readouterr().out)
