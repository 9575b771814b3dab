"""The quick start: a small network (2.3 million parameters) on the embedded data set, in minutes on two cores.

    python -m spikejax.train --config configs/quickstart.py --workdir DIR

Writes its data set to DIR/data, trains, validates and says what was gained.
"""

from ml_collections import ConfigDict

from spikejax.config import defaults


def get_config() -> ConfigDict:
    """Returns the locked configuration."""
    config = defaults.get_config()

    config.model.vrt.window = (2, 4, 4)
    config.model.vrt.depths = (1,) * 8
    config.model.vrt.dims = (24,) * 8
    config.model.vrt.heads = (3,) * 8
    config.model.vrt.independent = ()
    config.model.vrt.deformable_groups = 4
    config.model.vrt.mutual_ratio = 1.0  # a block per stage, so one that has both attentions
    config.model.vrt.drop_path = 0.0  # a short run does not overfit
    config.model.spike.bins = 8
    config.model.spike.channels = (24,) * 4
    config.model.spike.zero_init = False  # there is no trained VRT to begin as
    config.model.spike.time = "local"  # a frame tells its own spikes from its neighbours'
    config.model.spike.time_reach = 1

    config.data.source = "moving_photographs"
    config.data.frames = 2  # 250 updates with more frames are better, but take longer than six minutes
    config.data.crop = 32
    config.data.batch_size = 4
    config.data.scenes.train_sequences = 16
    config.data.scenes.val_sequences = 4
    config.data.scenes.frames = 8
    config.data.scenes.height = 128
    config.data.scenes.width = 128

    config.optimizer.peak_learning_rate = 2e-3  # small networks bear, and short runs need, larger steps
    config.optimizer.final_learning_rate = 1e-5
    config.optimizer.warmup_steps = 20
    config.optimizer.frozen = "spynet"  # minutes cannot teach flow; leaving it out halves the time to compile and train

    config.loss.perceptual_weight = 0.0  # its weights would have to be downloaded

    config.training.steps = 250
    config.training.log_every = 10
    config.training.checkpoint_every = 50
    # Begins as the blurry picture rather than as noise, and without flow rather than with a random one.
    config.training.start_at_zero = r"head\.conv_last|spynet"
    config.validation.every = 250
    config.validation.frames = 2
    config.validation.pictures = 4
    config.validation.pictures_every = 250

    # As many frames as in training, in which the time of neighbours was learned.
    config.restore.tile = (2, 128, 128)
    config.restore.overlap = (1, 20, 20)
    return config
