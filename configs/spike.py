"""The spike design and what it is compared with, on GoPro with spikes: 5 frames of 256x256, mixed precision.

    python -m spikejax.train --config configs/spike.py:baseline --workdir DIR --config.data.root=ROOT

    baseline          cross-attention after stages 1-4, 96 channels, added to VRT's features
    normalized_query  the same, added to the normalised query: the design's first form
    stages_1_to_7     the same as baseline on the way back up as well: the first migration
    time              baseline whose attention over time knows how far frames lie apart
    concat            spike features joined to VRT's before the attention of stages 1-4 (Concat1x1PreTMSA)
    early_concat      counts of 4 time bins as channels of the picture, before its neighbours are warped: 7 channels
    backbone          VRT without spikes: the control of every experiment

Windows hold the 5 frames of a clip; `--config.model.vrt.window=6,8,8` gives the backbone of the published weights. The
design leaves the batch size and the number of updates open; they are the published VRT's (8 clips, 300k).
"""

from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.files import choose
from spikejax.config.networks import SPIKE_VARIANTS, spike_model


def get_config(name: str = "") -> ConfigDict:
    """Returns the locked configuration of a variant.

    Args:
        name: of the variant.

    Raises:
        InputError: there is none of that name.
    """
    choose(SPIKE_VARIANTS, name)
    config = defaults.get_config()
    config.model = spike_model(name)
    return config
