"""The quick start in seconds: narrower layers, smaller pictures, two updates; and a tiny network."""

from pathlib import Path

OVERRIDES = {
    "model.vrt.dims": (8,) * 8,
    "model.vrt.heads": (1,) * 8,
    "model.vrt.deformable_groups": 1,
    "model.spike.channels": (8,) * 4,
    "model.spike.heads": 1,
    "model.spike.bins": 4,
    "data.crop": 16,
    "data.batch_size": 2,
    "data.scenes.train_sequences": 2,
    "data.scenes.val_sequences": 1,
    "data.scenes.frames": 3,
    "data.scenes.height": 32,
    "data.scenes.width": 32,
    "data.scenes.max_motion": 8.0,
    "optimizer.warmup_steps": 1,
    "training.steps": 2,
    "training.log_every": 1,
    "training.checkpoint_every": 2,
    "validation.every": 2,
    "validation.pictures": 0,
    "validation.pictures_every": 2,
}


def overrides(**changed: object) -> list[str]:
    """The arguments that make a command's configuration small.

    Args:
        changed: further keys or other values, with `__` for the dots of a key.
    """
    values = OVERRIDES | {key.replace("__", "."): value for key, value in changed.items()}
    return [f"--config.{key}={value}" for key, value in values.items()]


_TINY = """
from flax import nnx

from spikejax.models.layers import Linear
from spikejax.models.traits import NetworkTraits


class Tiny(nnx.Module):
    traits = NetworkTraits()

    def __init__(self, config, *, rngs):
        self.colours = Linear(3, 3, rngs=rngs)

    def __call__(self, clip, voxels=None, *, key=None):
        return self.colours(clip)
"""


def write_tiny_network(folder: Path) -> dict[str, str]:
    """Writes a file with a network of twelve numbers into a folder; returns what `overrides` takes to train it."""
    (folder / "tiny.py").write_text(_TINY)
    changes = {"model__backbone": f"{folder}/tiny.py:Tiny", "model__spike__fusion": "none"}
    return changes | {"optimizer__frozen": "", "training__start_at_zero": ""}
