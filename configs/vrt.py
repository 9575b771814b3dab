"""The published VRTs by the numbers of their weights: architecture, training recipe and evaluation settings.

    python -m spikejax.train --config configs/vrt.py:006 --workdir DIR --config.data.root=ROOT

003 and 004 share an architecture, and so do 005, 006 and 007: they were trained on different data. For deblurring the
data set has blurry and sharp frames; the input of the others is made of the sharp ones (--config.data.degradation=none
reads it for super-resolution, from pictures in blur/ that are four times smaller). Clips are as large
as the published training's: for super-resolution, whose target is four times their size, 64 pixels (256 of the target),
else 192. Septuplets of Vimeo-90K are played backwards at random; for super-resolution they are lengthened to 8 frames,
and in validation the middle one counts. Tiles are those of the published evaluation. Parameters are float32, and so is
the computation.
"""

from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.files import choose
from spikejax.config.networks import PUBLISHED, published_model


def get_config(name: str = "") -> ConfigDict:
    """Returns the locked configuration of a published model.

    Args:
        name: its number, "001" to "009".

    Raises:
        InputError: there is none of that number.
    """
    published = choose(PUBLISHED, name)
    config = defaults.get_config()

    config.model = published_model(name)

    config.data.degradation = published.degradation
    config.data.frames = published.frames
    config.data.repeat_last = published.repeat_last
    config.data.reverse_time = published.reverse_time
    config.data.crop = published.crop
    config.data.batch_size = 8

    # Adam, half a cosine from the first update on, nothing clipped; Charbonnier with its constant added unsquared.
    config.optimizer.kind = "adam"
    config.optimizer.peak_learning_rate = 4e-4
    config.optimizer.final_learning_rate = 1e-7
    config.optimizer.warmup_steps = 0
    config.optimizer.weight_decay = 0.0
    config.optimizer.clip_norm = 0.0
    if published.vrt.get("warp_frames") != 0:
        # Optical flow and deformable offsets are trained later and slower.
        config.optimizer.slow = "spynet|offset_"
        config.optimizer.slow_steps = 20_000
        config.optimizer.slow_factor = 0.125
    config.loss.charbonnier_epsilon = 1e-9**0.5
    config.loss.perceptual_weight = 0.0
    config.training.steps = 300_000

    config.validation.frames = published.frames
    config.validation.middle_frame = published.repeat_last > 0  # the frame of a septuplet that published figures are of
    config.restore.tile = published.tiles.tile
    config.restore.overlap = published.tiles.overlap
    return config
