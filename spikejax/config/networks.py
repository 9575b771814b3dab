"""The networks that have names: published VRTs by the numbers of their weights, and variants of the spike design.

What a network is and how the published evaluation tiles it stand here; how it is trained is in configs/vrt.py and
configs/spike.py. To add one: a line of a table.
"""

from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from spikejax.config import defaults


@dataclass(frozen=True)
class Published:
    """What one published model is, beside what all of them share.

    Attributes:
        task: what it restores and the data it was trained on.
        vrt: the fields of the model that differ from the defaults.
        frames: of a training clip.
        crop: pixels, side of the training crops of the network's input.
        tile: frames, rows, columns of the evaluation's tiles, 0 for all.
        overlap: of the tiles.
        degradation: how the input is made, see `spikejax.config.defaults`.
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
_INTERPOLATION: dict[str, Any] = dict(window=(4, 8, 8), independent=(), warp_frames=0)

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

# By name, the fields of `model.spike` that differ from the defaults.
SPIKE_VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": dict(),
    "normalized_query": dict(residual="normalized_query"),
    "stages_1_to_7": dict(fused_stages=(1, 2, 3, 4, 5, 6, 7), channels=(96,) * 7),
    "concat": dict(fusion="concat"),
    "backbone": dict(fusion="none"),
}


def published_model(name: str) -> ConfigDict:
    """The locked `model` section of a published VRT.

    Args:
        name: its number, a key of `PUBLISHED`.
    """
    model = defaults.get_config().model
    model.spike.fusion = "none"
    model.vrt.update(PUBLISHED[name].vrt)
    model.remat = "blocks"
    return model


def spike_model(name: str) -> ConfigDict:
    """The locked `model` section of a variant of the spike design: 5 frames, mixed precision.

    Args:
        name: a key of `SPIKE_VARIANTS`.
    """
    model = defaults.get_config().model
    model.spike.update(SPIKE_VARIANTS[name])
    model.vrt.window = (5, 8, 8)
    model.compute_dtype = "bfloat16"
    model.remat = "blocks"  # 5x256x256 without it needs several times the memory of today's accelerators
    return model
