"""What more training buys: the quick start's network, trained eight times as long on more varied scenes.

    python -m spikejax.train --config configs/long.py --workdir DIR

Validates on the quick start's scenes, so that results compare. The network that comes with the package (`--network
demo`) is of this configuration; docs/experiments.md has its curve.
"""

from ml_collections import ConfigDict

from configs import quickstart


def get_config() -> ConfigDict:
    """Returns the locked configuration."""
    config = quickstart.get_config()

    config.model.spike.time_reach = 2

    config.data.source = "moving_scenes"
    config.data.frames = 5
    config.data.scenes.train_sequences = 96
    config.data.threshold_factor = 4.0  # cameras differ, and so do their thresholds

    config.optimizer.peak_learning_rate = 1.5e-3
    config.optimizer.warmup_steps = 100

    config.training.steps = 2_000
    config.training.log_every = 25
    config.training.checkpoint_every = 250
    config.validation.every = 500
    config.validation.frames = 5
    config.validation.pictures_every = 2_000

    config.restore.tile = (5, 128, 128)
    config.restore.overlap = (2, 20, 20)
    return config
