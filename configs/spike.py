"""The spike design and what it is compared with, on GoPro with spikes: 5 frames of 256x256, mixed precision.

    python -m spikejax.train --config configs/spike.py:baseline --workdir DIR --config.data.root=ROOT

    baseline          cross-attention after stages 1-4, 96 channels, added to VRT's features
    normalized_query  the same, added to the normalised query: the design's first form
    stages_1_to_7     the same as baseline on the way back up as well: the first migration
    concat            spike features joined to VRT's before the attention of stages 1-4 (Concat1x1PreTMSA)
    backbone          VRT without spikes: the control of every experiment

Windows hold the 5 frames of a clip; `--config.model.vrt.window=6,8,8` gives the backbone of the published weights. The
design leaves the batch size and the number of updates open; they are the published VRT's (8 clips, 300k).
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

# By name, the fields of `model.spike` that differ from configs/common.py.
VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": dict(),
    "normalized_query": dict(residual="normalized_query"),
    "stages_1_to_7": dict(fused_stages=(1, 2, 3, 4, 5, 6, 7), channels=(96,) * 7),
    "concat": dict(fusion="concat"),
    "backbone": dict(fusion="none"),
}


def get_config(name: str = "") -> ConfigDict:
    """Returns the locked configuration of a variant.

    Args:
        name: of the variant.

    Raises:
        InputError: there is none of that name.
    """
    config = common.get_config()
    config.model.spike.update(common.choose(VARIANTS, name))
    config.model.vrt.window = (5, 8, 8)
    config.model.compute_dtype = "bfloat16"
    config.model.remat = "blocks"  # 5x256x256 without it needs several times the memory of today's accelerators
    return config
