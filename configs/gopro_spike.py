"""The spike design's recipe on GoPro with spikes: the full-size network, 5 frames of 256x256, mixed precision.

    python -m spikejax.train --config configs/gopro_spike.py --workdir DIR --config.data.root=ROOT

The design leaves the batch size and the number of updates open; they are the published VRT's (8 clips, 300k). Its
perceptual term is left out until weights for it can be configured.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """Returns the locked configuration."""
    config = common.get_config()
    config.model.compute_dtype = "bfloat16"
    config.model.remat = "blocks"  # 5x256x256 without it needs several times the memory of today's accelerators
    return config
