"""The published VRTs by the numbers of their weights: architecture, training recipe and evaluation settings.

    python -m spikejax.train --config configs/vrt.py:006 --workdir DIR --config.data.root=ROOT

003 and 004 share an architecture, and so do 005, 006 and 007: they were trained on different data. For deblurring the
data set has blurry and sharp frames; the input of the others is made of the sharp ones (--config.data.degradation=none
reads it for super-resolution, from pictures in blur/ that are four times smaller). Clips are as large
as the published training's: for super-resolution, whose target is four times their size, 64 pixels (256 of the target),
else 192. Tiles are those of the published evaluation. Parameters are float32, and so is the computation.
"""

from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from configs import common


@dataclass(frozen=True)
class Published:
    """What one published model is, beside what all of them share.

    Attributes:
        task: what it restores and the data it was trained on.
        vrt: the fields of the model that differ from configs/common.py.
        frames: of a training clip.
        crop: pixels, side of the training crops of the network's input.
        tile: frames, rows, columns of the evaluation's tiles, 0 for all.
        overlap: of the tiles.
        degradation: how the input is made, see configs/common.py.
    """

    task: str
    vrt: dict[str, Any]
    frames: int
    crop: int
    tile: tuple[int, int, int]
    overlap: tuple[int, int, int] = (2, 20, 20)
    degradation: str = "none"


_SUPER_RESOLUTION = dict(
    upscale=4, depths=(8,) * 7 + (4,) * 6, dims=(120,) * 7 + (180,) * 6, heads=(6,) * 13, independent=(11, 12)
)
_REDS = _SUPER_RESOLUTION | dict(window=(6, 8, 8), warp_frames=2, deformable_groups=12)
_REDS_16 = _SUPER_RESOLUTION | dict(window=(8, 8, 8), warp_frames=6, deformable_groups=24)
_VIMEO = _SUPER_RESOLUTION | dict(window=(8, 8, 8), warp_frames=4, deformable_groups=16)
# Deblurring is what the defaults describe.
_DEBLURRING: dict[str, Any] = dict()
_DENOISING = dict(noise_map=True)
_INTERPOLATION = dict(window=(4, 8, 8), independent=(), warp_frames=0)

PUBLISHED = {
    "001": Published("super-resolution x4, REDS", _REDS, frames=6, crop=64, tile=(40, 128, 128), degradation="bicubic"),
    "002": Published(
        "super-resolution x4, REDS", _REDS_16, frames=16, crop=64, tile=(40, 128, 128), degradation="bicubic"
    ),
    # Sequences of Vimeo-90K have 7 frames; longer ones, as of Vid4, are tiled.
    "003": Published(
        "super-resolution x4, Vimeo-90K (BI)", _VIMEO, frames=7, crop=64, tile=(32, 128, 128), degradation="bicubic"
    ),
    "004": Published(
        "super-resolution x4, Vimeo-90K (BD)", _VIMEO, frames=7, crop=64, tile=(32, 128, 128), degradation="gaussian"
    ),
    "005": Published("deblurring, DVD", _DEBLURRING, frames=6, crop=192, tile=(12, 256, 256)),
    "006": Published("deblurring, GoPro", _DEBLURRING, frames=6, crop=192, tile=(12, 256, 256)),
    "007": Published("deblurring, REDS", _DEBLURRING, frames=6, crop=192, tile=(12, 256, 256)),
    "008": Published("denoising, DAVIS", _DENOISING, frames=6, crop=192, tile=(12, 256, 256), degradation="noise"),
    # Four frames, the first, third, fifth and seventh of a sequence, go in whole, and the fourth comes out.
    "009": Published(
        *("interpolation, Vimeo-90K", _INTERPOLATION),
        frames=4,
        crop=192,
        tile=(0,) * 3,
        overlap=(0,) * 3,
        degradation="interpolation",
    ),
}


def get_config(name: str = "") -> ConfigDict:
    """Returns the locked configuration of a published model.

    Args:
        name: its number, "001" to "009".

    Raises:
        InputError: there is none of that number.
    """
    published = common.choose(PUBLISHED, name)
    config = common.get_config()

    config.model.spike.fusion = "none"
    config.model.vrt.update(published.vrt)
    config.model.remat = "blocks"

    config.data.degradation = published.degradation
    config.data.frames = published.frames
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
    config.restore.tile = published.tile
    config.restore.overlap = published.overlap
    return config
