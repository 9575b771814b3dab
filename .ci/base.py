"""Restores, converts, evaluates and shows a few frames in an environment without extras: python .ci/base.py FOLDER.

What fails here is what somebody meets who installed spikejax and nothing else. FOLDER must not be there.
"""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

import spikejax
from spikejax.config import defaults
from spikejax.extras import EXTRAS, missing_module
from spikejax.io.pictures import write_picture
from spikejax.io.weights import Weights, write_weights
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.training.step import describe_network

FRAMES, HEIGHT, WIDTH, BINS = 12, 32, 48, 4


def main(folder: Path) -> None:
    """Does it all, and stops at what fails."""
    there = [extra for extra in EXTRAS if missing_module(extra) is None]
    assert not there, f"expected no extra to be installed, found {there}"
    weights = write_network(folder / "network.safetensors")
    pictures = np.random.default_rng(0).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3)).astype(np.uint8)
    (folder / "film").mkdir()
    for index, picture in enumerate(pictures):
        write_picture(folder / "film" / f"{index:06d}.png", picture)

    data = folder / "data"
    call("simulate", "--input", folder / "film", "--output", data, "--split", "val", "--sequence", "a",
         "--exposure-frames", 4, "--steps", 16, "--bins", BINS)  # fmt: skip
    sequence = data / "val" / "a"
    restored = folder / "restored"
    call("restore", "--network", weights, "--input", sequence / "blur", "--spikes", sequence / "spike",
         "--sharp", sequence / "sharp", "--output", restored)  # fmt: skip
    call("report", restored)
    call("evaluate", "--workdir", weights, "--data", data, "--output", folder / "scores")
    call("view", "--input", data, "--sequence", "a", "--output", folder / "sheet.png")
    call("convert", "info", weights)
    call("convert", "to-torch", "--input", weights, "--output", folder / "network.pth")
    call("prepare", "--output", data, "--check-only")

    clip = pictures[:3].astype(np.float32) / 255
    spikes = np.ones((3, 16, HEIGHT, WIDTH), np.uint8)
    assert spikejax.load(weights).restore(clip, spikes).shape == clip.shape
    call("train", "--config", "quickstart", "--workdir", folder / "run", refused="pip install 'spikejax[train]'")


def write_network(path: Path) -> Path:
    """Writes the smallest network with a spike branch, its parameters drawn at random, and returns where."""
    model = defaults.get_config().model
    model.vrt.update(dims=(4,) * 8, depths=(2,) * 7 + (1,), heads=(2,) * 8, independent=(), window=(2, 2, 2))
    model.vrt.update(deformable_groups=2, mutual_ratio=0.5)
    model.spike.update(bins=BINS, channels=(4,) * 4, heads=2)
    shapes = describe_network(lambda: build_restorer(model, rngs=make_rngs(0))).shapes
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: (0.1 * rng.standard_normal(leaf.shape)).astype(leaf.dtype), shapes)
    path.parent.mkdir(parents=True)
    write_weights(path, Weights("restorer", model.to_dict(), params, {"bins": BINS, "mean": 0.5, "std": 0.25}))
    return path


def call(command: str, *arguments: object, refused: str = "") -> None:
    """Calls a command as it was installed; it must succeed, or be refused with a line that has `refused` in it."""
    line = [str(Path(sys.executable).parent / "spikejax"), command, *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    print(f"{command}: {done.returncode}", flush=True)
    assert (done.returncode, refused in done.stderr) == (2 if refused else 0, True), done.stderr


if __name__ == "__main__":
    main(Path(sys.argv[1]))
