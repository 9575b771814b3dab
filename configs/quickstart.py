"""The quick start: a small network on the embedded data set, in minutes on two cores.

    python -m spikejax.train --config configs/quickstart.py --workdir DIR

Writes its data set to DIR/data, trains, validates and says what was gained.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the locked configuration."""
    config = common.get_config()

    config.model.vrt.window = (2, 8, 8)
    config.model.vrt.depths = (2,) * 7 + (2, 2)
    config.model.vrt.dims = (24,) * 7 + (24, 24)
    config.model.vrt.heads = (3,) * 9
    config.model.vrt.independent = (8,)
    config.model.vrt.deformable_groups = 4
    config.model.vrt.mutual_ratio = 0.5
    config.model.vrt.drop_path = 0.0  # a short run does not overfit
    config.model.spike.bins = 8
    config.model.spike.channels = (24,) * 4

    config.data.source = "moving_photographs"
    config.data.frames = 3
    config.data.crop = 64
    config.data.batch_size = 2
    config.data.scenes.train_sequences = 24
    config.data.scenes.val_sequences = 4
    config.data.scenes.frames = 6
    config.data.scenes.height = 128
    config.data.scenes.width = 128

    config.optimizer.peak_learning_rate = 1e-3  # small networks bear, and short runs need, larger steps
    config.optimizer.final_learning_rate = 1e-5
    config.optimizer.warmup_steps = 20
    config.optimizer.frozen = "spynet"  # minutes cannot teach flow; leaving it out halves the time to compile and train

    config.training.steps = 600
    config.training.log_every = 20
    config.training.checkpoint_every = 200
    config.validation.every = 200
    config.validation.frames = 3
    config.validation.pictures_every = 200
    return config
