"""The networks that have names: published VRTs by the numbers of their weights, and variants of the spike design.

What a network is and how the published evaluation tiles it stand here; how it is trained is in configs/vrt.py and
configs/spike.py. To add one: a line of a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from spikejax.config import defaults


@dataclass(frozen=True)
class Tiles:
    """How clips are cut up when they are restored.

    Attributes:
        tile: frames, rows and columns that the network sees at once; 0 = all there are.
        overlap: of neighbouring tiles.
    """

    tile: tuple[int, int, int]
    overlap: tuple[int, int, int] = (2, 20, 20)


@dataclass(frozen=True)
class Published:
    """What one published model is, beside what all of them share.

    Attributes:
        task: what it restores and the data it was trained on.
        file: of its weights, as its authors have published them.
        vrt: the fields of the model that differ from the defaults.
        frames: of a training clip.
        repeat_last: how many of them repeat the last one that is read.
        reverse_time: whether training clips are played backwards at random.
        crop: pixels, side of the training crops of the network's input.
        test_sets: the tiles of the published evaluation, by the name of the test set. The first entry is also what
            restoring takes unless told otherwise.
        degradation: how the input is made, see `spikejax.config.defaults`.
    """

    task: str
    file: str
    vrt: dict[str, Any]
    frames: int
    crop: int
    test_sets: Mapping[str, Tiles]
    degradation: str = "none"
    repeat_last: int = 0
    reverse_time: bool = False

    @property
    def tiles(self) -> Tiles:
        """What restoring takes."""
        return next(iter(self.test_sets.values()))


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

# The tiles are --tile and --tile_overlap of the commands in the README of https://github.com/JingyunLiang/VRT, which
# evaluate these weights on these test sets. A septuplet of Vimeo-90K is one tile of 8 frames: the last is there twice.
_TILES_REDS = {"REDS4": Tiles((40, 128, 128))}
_TILES_VIMEO = Tiles((8, 0, 0), (0, 20, 20))
_TILES_256 = Tiles((12, 256, 256))

PUBLISHED = {
    "001": Published(
        *("super-resolution x4, REDS", "001_VRT_videosr_bi_REDS_6frames.pth", _REDS),
        frames=6,
        crop=64,
        test_sets=_TILES_REDS,
        degradation="bicubic",
    ),
    "002": Published(
        *("super-resolution x4, REDS", "002_VRT_videosr_bi_REDS_16frames.pth", _REDS_16),
        frames=16,
        crop=64,
        test_sets=_TILES_REDS,
        degradation="bicubic",
    ),
    "003": Published(
        *("super-resolution x4, Vimeo-90K (BI)", "003_VRT_videosr_bi_Vimeo_7frames.pth", _VIMEO),
        frames=8,
        repeat_last=1,
        reverse_time=True,
        crop=64,
        test_sets={"Vid4": Tiles((32, 128, 128)), "Vimeo-90K-T": _TILES_VIMEO},
        degradation="bicubic",
    ),
    "004": Published(
        *("super-resolution x4, Vimeo-90K (BD)", "004_VRT_videosr_bd_Vimeo_7frames.pth", _VIMEO),
        frames=8,
        repeat_last=1,
        reverse_time=True,
        crop=64,
        test_sets={"Vid4": Tiles((32, 128, 128)), "UDM10": Tiles((32, 128, 128)), "Vimeo-90K-T": _TILES_VIMEO},
        degradation="gaussian",
    ),
    "005": Published(
        "deblurring, DVD",
        "005_VRT_videodeblurring_DVD.pth",
        _DEBLURRING,
        frames=6,
        crop=192,
        test_sets={"DVD10": _TILES_256},
    ),
    "006": Published(
        "deblurring, GoPro",
        "006_VRT_videodeblurring_GoPro.pth",
        _DEBLURRING,
        frames=6,
        crop=192,
        test_sets={"GoPro11": Tiles((18, 192, 192))},
    ),
    "007": Published(
        "deblurring, REDS",
        "007_VRT_videodeblurring_REDS.pth",
        _DEBLURRING,
        frames=6,
        crop=192,
        test_sets={"REDS4": _TILES_256},
    ),
    "008": Published(
        *("denoising, DAVIS", "008_VRT_videodenoising_DAVIS.pth", _DENOISING),
        frames=6,
        crop=192,
        test_sets={"Set8": _TILES_256, "DAVIS-test": _TILES_256},
        degradation="noise",
    ),
    # Four frames, the first, third, fifth and seventh of a sequence, go in, and the fourth comes out. The pictures of
    # DAVIS alone are cut into tiles; whole frames, as of the others, fit into no memory where they are larger.
    "009": Published(
        *("interpolation, Vimeo-90K", "009_VRT_videofi_Vimeo_4frames.pth", _INTERPOLATION),
        frames=4,
        reverse_time=True,
        crop=192,
        test_sets={
            "DAVIS-train": Tiles((0, 256, 256), (0, 20, 20)),
            "Vimeo-90K-T": Tiles((0, 0, 0), (0, 0, 0)),
            "UCF101": Tiles((0, 0, 0), (0, 0, 0)),
        },
        degradation="interpolation",
    ),
}

# By name, the fields of `model.spike` that differ from the defaults.
SPIKE_VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": dict(),
    "normalized_query": dict(residual="normalized_query"),
    "stages_1_to_7": dict(fused_stages=(1, 2, 3, 4, 5, 6, 7), channels=(96,) * 7),
    "time": dict(time="relative"),
    "concat": dict(fusion="concat"),
    "early_concat": dict(fusion="early_concat", bins=4),
    "backbone": dict(fusion="none"),
}


def published_alike(*, upscale: int, interpolates: bool, noise_level: bool) -> dict[str, Published]:
    """The published models that do to a clip what a network with these traits does."""
    return {
        name: published
        for name, published in PUBLISHED.items()
        if published.vrt.get("upscale", 1) == upscale
        and (published.vrt.get("warp_frames") == 0) == interpolates
        and published.vrt.get("noise_map", False) == noise_level
    }


def tiles_of_unpublished(*, upscale: int, interpolates: bool, noise_level: bool, window: int, spikes: bool) -> Tiles:
    """The tiles of a network that comes without any: those of a published one that does the same.

    With spikes as many frames as a window's, which are those of training: among more, attention over time would not
    find a frame's own spikes.

    Args:
        upscale: size of what comes out over what goes in.
        interpolates: whether it makes frames between frames.
        noise_level: whether it is told the standard deviation of the noise.
        window: frames that it compares at once.
        spikes: whether it takes them.
    """
    if spikes:
        frames = max(window, 2)
        return Tiles((frames, 256, 256), (min(2, frames - 1), 20, 20))
    factor = 4 if upscale > 1 else 1  # the published ones enlarge by 4
    alike = published_alike(upscale=factor, interpolates=interpolates, noise_level=noise_level).values()
    same_window = (entry for entry in alike if entry.vrt.get("window", (6, 8, 8))[0] == window)
    return next(same_window, next(iter(alike))).tiles


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
