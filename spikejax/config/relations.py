"""What the keys of a run have to do with each other: sizes that divide or equal others, choices that go together.

Each relation has its sentence for the page of all keys and a check, which is given a configuration whose values all
keep to their own rules and returns what was expected of the first of its keys, or None where all is well. Relations
that need the number of devices, the data set or the network itself are checked where those are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ml_collections import ConfigDict

EMBEDDED = ("moving_photographs", "moving_scenes")  # kinds of data set that training writes itself
_INTERPOLATES = "a network that interpolates (model.vrt.warp_frames 0)"
# Scale of the features of stages 1 to 7; those of one scale meet over the skip connections.
_MEETING_STAGES = ((5, 3), (6, 2), (7, 1))


@dataclass(frozen=True)
class Relation:
    """A relation between keys.

    Attributes:
        keys: the dotted names; the message is about the first.
        rule: what has to hold, a sentence for the page of all keys.
        check: what is expected of the first key where it does not hold, None where it does.
    """

    keys: tuple[str, ...]
    rule: str
    check: Callable[[ConfigDict], str | None]


def fitting_degradations(*, upscale: int, interpolates: bool, noise_level: bool) -> tuple[tuple[str, ...], str]:
    """The values of `data.degradation` that a network can be for, and what kind of network it is, in words.

    Args:
        upscale: output size over input size.
        interpolates: whether its answer is the frame in the middle of a clip.
        noise_level: whether it is given the noise's standard deviation.
    """
    if interpolates:
        return ("interpolation",), "a network that interpolates"
    if noise_level:
        return ("noise",), "a network that takes a noise level"
    if upscale > 1:
        return ("bicubic", "gaussian", "none"), f"a network that enlarges {upscale} times"
    return ("none",), "a network that neither enlarges nor interpolates nor takes a noise level"


# ---- The network ----


def _is_vrt(config: ConfigDict) -> bool:
    """Whether the backbone is VRT, whose sizes the relations of `model.vrt` are about."""
    return config.model.backbone == "vrt"


def _as_many_as_depths(name: str) -> Callable[[ConfigDict], str | None]:
    def check(config: ConfigDict) -> str | None:
        depths, entries = config.model.vrt.depths, config.model.vrt[name]
        return None if len(entries) == len(depths) else f"{len(depths)} entries, as many as model.vrt.depths"

    return check


def _dims(config: ConfigDict) -> str | None:
    dims = config.model.vrt.dims
    if not _is_vrt(config):
        return None
    if any(features % 4 for features in dims):
        return "multiples of 4"
    for up, down in _MEETING_STAGES:
        if dims[up - 1] != dims[down - 1]:
            return f"entry {up} to equal entry {down}, {dims[down - 1]}"
    return None if len(set(dims[7:])) == 1 else "all entries from the 8th on to be equal"


def _heads(config: ConfigDict) -> str | None:
    vrt = config.model.vrt
    for number, (features, heads) in enumerate(zip(vrt.dims, vrt.heads, strict=False), 1):
        if _is_vrt(config) and features % heads:
            return f"entry {number} to divide that of model.vrt.dims, {features}"
    return None


def _independent(config: ConfigDict) -> str | None:
    groups = len(config.model.vrt.depths)
    wrong = [index for index in config.model.vrt.independent if index >= groups]
    return f"indices from 7 to {groups - 1}, the last of model.vrt.depths" if wrong else None


def _deformable_groups(config: ConfigDict) -> str | None:
    vrt = config.model.vrt
    sources = vrt.warp_frames // 2
    if not sources or not _is_vrt(config):
        return None
    channels = [features * sources for features in vrt.dims[:7]]
    if vrt.deformable_groups % sources == 0 and not any(count % vrt.deformable_groups for count in channels):
        return None
    divided = math.gcd(*channels)
    fitting = ", ".join(str(groups) for groups in range(sources, divided + 1, sources) if divided % groups == 0)
    return f"one of {fitting} (model.vrt.warp_frames {vrt.warp_frames}, model.vrt.dims)"


def _alone(name: str, usual: object) -> Callable[[ConfigDict], str | None]:
    def check(config: ConfigDict) -> str | None:
        vrt = config.model.vrt
        if not _is_vrt(config):
            return None
        return f"{usual} for {_INTERPOLATES}" if vrt.warp_frames == 0 and vrt[name] != usual else None

    return check


def _noise_map(config: ConfigDict) -> str | None:
    vrt = config.model.vrt
    return f"False with model.vrt.upscale {vrt.upscale}" if vrt.noise_map and vrt.upscale > 1 else None


def _fusion(config: ConfigDict) -> str | None:
    model = config.model
    interpolates = model.vrt.warp_frames == 0 and _is_vrt(config)
    return f"none for {_INTERPOLATES}" if _takes_spikes(config) and interpolates else None


def _takes_spikes(config: ConfigDict) -> bool:
    return config.model.spike.fusion != "none"


def _has_branch(config: ConfigDict) -> bool:
    """Whether spikes have a branch of their own; of `early_concat` they are channels of the picture."""
    return config.model.spike.fusion not in ("none", "early_concat")


def _spike_steps(config: ConfigDict) -> str | None:
    spike = config.model.spike
    return f"{spike.bins} at least" if spike.fusion == "early_concat" and spike.steps < spike.bins else None


def _fused_stages(config: ConfigDict) -> str | None:
    stages = config.model.spike.fused_stages
    if not _has_branch(config) or (4 <= len(stages) <= 7 and stages == tuple(range(1, len(stages) + 1))):
        return None
    return "(1, 2, 3, 4), or on to 7 at most"


def _spike_channels(config: ConfigDict) -> str | None:
    spike, dims = config.model.spike, config.model.vrt.dims
    wanted = tuple(dims[stage - 1] for stage in spike.fused_stages)
    if not _has_branch(config) or not _is_vrt(config) or spike.channels == wanted:
        return None
    return f"{wanted}, model.vrt.dims of model.spike.fused_stages"


def _spike_heads(config: ConfigDict) -> str | None:
    spike = config.model.spike
    if spike.fusion in ("none", "concat", "early_concat") or not any(
        features % spike.heads for features in spike.channels
    ):
        return None
    return f"a number that divides model.spike.channels, {', '.join(map(str, sorted(set(spike.channels))))}"


# ---- The data ----


def _degradation(config: ConfigDict) -> str | None:
    if not _is_vrt(config):
        return None
    vrt = config.model.vrt
    fitting, network = fitting_degradations(
        upscale=vrt.upscale, interpolates=vrt.warp_frames == 0, noise_level=vrt.noise_map
    )
    if config.data.degradation in fitting:
        return None
    deciding = {"warp_frames": vrt.warp_frames == 0, "noise_map": vrt.noise_map, "upscale": vrt.upscale > 1}
    names = [name for name, decides in deciding.items() if decides] or list(deciding)
    return f"{' or '.join(fitting)} for {network} ({', '.join(f'model.vrt.{name} {vrt[name]}' for name in names)})"


def _noise_sigma(config: ConfigDict) -> str | None:
    least, largest = config.data.noise_sigma
    return None if least <= largest else "the least first, then the largest"


def _interpolated(section: str) -> Callable[[ConfigDict], str | None]:
    def check(config: ConfigDict) -> str | None:
        window, frames = config.model.vrt.window[0], config[section].frames
        if config.data.degradation != "interpolation" or not _is_vrt(config) or frames == window:
            return None
        return f"{window}, the frames of model.vrt.window, to interpolate"

    return check


def _repeat_last(config: ConfigDict) -> str | None:
    frames = config.data.frames
    if config.data.repeat_last and config.data.degradation == "interpolation":
        return "0 to interpolate"
    return None if config.data.repeat_last < frames else f"0 to {frames - 1}, below data.frames"


def _even_window(config: ConfigDict) -> str | None:
    frames = config.model.vrt.window[0]
    if config.model.vrt.warp_frames or not _is_vrt(config) or frames % 2 == 0:
        return None
    return f"an even number of frames for {_INTERPOLATES}"


def _batch_size(config: ConfigDict) -> str | None:
    size, parts = config.data.batch_size, config.training.accumulate
    return None if size % parts == 0 else f"a multiple of training.accumulate, {parts}"


def _is_embedded(config: ConfigDict) -> bool:
    return config.data.source in EMBEDDED


def _scene_frames(config: ConfigDict) -> str | None:
    frames = config.data.frames - config.data.repeat_last
    needed = 2 * frames - 1 if config.data.degradation == "interpolation" else frames
    if not _is_embedded(config) or config.data.scenes.frames >= needed:
        return None
    return f"at least {needed}, what a clip of data.frames {config.data.frames} is made of"


def _scene_area(config: ConfigDict) -> str | None:
    scenes = config.data.scenes
    if not _is_embedded(config) or scenes.height * scenes.width % 8 == 0:
        return None
    return f"a number that makes a multiple of 8 pixels with data.scenes.height {scenes.height}"


def _scene_crop(config: ConfigDict) -> str | None:
    scenes, upscale = config.data.scenes, config.model.vrt.upscale
    limit = min(scenes.height, scenes.width) // upscale
    if not _is_embedded(config) or config.data.crop <= limit:
        return None
    enlarged = f" / model.vrt.upscale {upscale}" if upscale > 1 else ""
    return f"at most {limit}, data.scenes {scenes.height}x{scenes.width}{enlarged}"


def _scene_upscale(config: ConfigDict) -> str | None:
    if not _is_embedded(config) or config.model.vrt.upscale == 1:
        return None
    if _takes_spikes(config):
        fusion = f"(data.source {config.data.source}, model.spike.fusion {config.model.spike.fusion})"
        return f"1 with spikes of the embedded data set, which are as large as the sharp pictures {fusion}"
    return (
        f"1, or another data.degradation, with data.source {config.data.source}"
        if config.data.degradation == "none"
        else None
    )


# ---- Training ----


def _deterministic(config: ConfigDict) -> str | None:
    differs = config.training.deterministic and config.model.kernels != "plain"
    return "plain with training.deterministic" if differs else None


def _warmup_steps(config: ConfigDict) -> str | None:
    steps = config.training.steps
    return None if config.optimizer.warmup_steps < steps else f"0 to {steps - 1}, below training.steps"


def _final_learning_rate(config: ConfigDict) -> str | None:
    peak = config.optimizer.peak_learning_rate
    return None if config.optimizer.final_learning_rate <= peak else f"at most optimizer.peak_learning_rate, {peak:g}"


def _weight_decay(config: ConfigDict) -> str | None:
    return '0 with optimizer.kind "adam"' if config.optimizer.kind == "adam" and config.optimizer.weight_decay else None


def _metrics(config: ConfigDict) -> str | None:
    return None if "psnr" in config.validation.metrics else "psnr among them, by which the best checkpoint is chosen"


def _one_open_axis(name: str, others: Sequence[str]) -> Callable[[ConfigDict], str | None]:
    def check(config: ConfigDict) -> str | None:
        for other in others:
            if config.mesh[name] == config.mesh[other] == -1:
                return f"a whole number from 1 beside mesh.{other} -1: one axis takes what the others leave"
        return None

    return check


def _extra_axes(config: ConfigDict) -> str | None:
    mesh = config.mesh
    if mesh.layout == "standard":
        return "none with mesh.layout standard, which has no further axes" if mesh.extra else None
    axes, sizes = zip(*(entry.split("=") for entry in mesh.extra), strict=True) if mesh.extra else ((), ())
    if len(set(axes)) < len(axes) or {"data", "fsdp", "space"} & set(axes):
        return "each axis once, and data, fsdp and space under their own keys (mesh.data, mesh.fsdp, mesh.space)"
    if (*sizes, *(str(mesh[axis]) for axis in ("data", "fsdp", "space"))).count("-1") > 1:
        return "one axis of all at most to be -1, of mesh.data, mesh.fsdp and mesh.space too"
    return None


def _overlap(config: ConfigDict) -> str | None:
    # Beyond half of a tile every pixel is restored in three tiles or more.
    tile, overlap = config.restore.tile, config.restore.overlap
    too_large = any(side and 2 * shared > side for side, shared in zip(tile, overlap, strict=True))
    return f"at most half of restore.tile, {tile}" if too_large else None


RELATIONS = (
    Relation(("model.vrt.dims", "model.vrt.depths"), "As many entries as depths.", _as_many_as_depths("dims")),
    Relation(("model.vrt.heads", "model.vrt.depths"), "As many entries as depths.", _as_many_as_depths("heads")),
    Relation(
        ("model.vrt.dims",),
        "Multiples of 4; of stages 1 to 7 those that skip connections join are equal (5 and 3, 6 and 2, 7 and 1), and "
        "those of stage 8 are all equal.",
        _dims,
    ),
    Relation(("model.vrt.heads", "model.vrt.dims"), "Each divides its entry of dims.", _heads),
    Relation(("model.vrt.independent", "model.vrt.depths"), "Indices into stage 8's part of depths.", _independent),
    Relation(
        ("model.vrt.deformable_groups", "model.vrt.warp_frames", "model.vrt.dims"),
        "A multiple of the sources of a direction, warp_frames / 2, that divides the channels of all of them, "
        "warp_frames / 2 times each of the first 7 dims.",
        _deformable_groups,
    ),
    Relation(("model.vrt.upscale", "model.vrt.warp_frames"), "1 where warp_frames is 0.", _alone("upscale", 1)),
    Relation(
        ("model.vrt.noise_map", "model.vrt.warp_frames"), "False where warp_frames is 0.", _alone("noise_map", False)
    ),
    Relation(("model.vrt.noise_map", "model.vrt.upscale"), "False where upscale is above 1.", _noise_map),
    Relation(
        ("model.vrt.window", "model.vrt.warp_frames"), "An even number of frames where warp_frames is 0.", _even_window
    ),
    Relation(("model.spike.fusion", "model.vrt.warp_frames"), "`none` where warp_frames is 0.", _fusion),
    Relation(("model.spike.fused_stages",), "Every stage from 1 to the last, which is 4 to 7.", _fused_stages),
    Relation(
        ("model.spike.steps", "model.spike.bins"), "At least bins, where the fusion is early_concat.", _spike_steps
    ),
    Relation(
        ("model.spike.channels", "model.spike.fused_stages", "model.vrt.dims"),
        "Equal to dims of the stages they meet.",
        _spike_channels,
    ),
    Relation(
        ("model.spike.heads", "model.spike.channels"),
        "Divides each of channels, where a fusion attends over time.",
        _spike_heads,
    ),
    Relation(
        ("data.degradation", "model.vrt.warp_frames", "model.vrt.noise_map", "model.vrt.upscale"),
        "`interpolation` where warp_frames is 0, `noise` with a noise map, `bicubic`, `gaussian` or `none` where "
        "upscale is above 1, else `none`.",
        _degradation,
    ),
    Relation(("data.noise_sigma",), "The least is not above the largest.", _noise_sigma),
    Relation(
        ("data.frames", "data.degradation", "model.vrt.window"),
        "The frames of the window, to interpolate.",
        _interpolated("data"),
    ),
    Relation(
        ("data.repeat_last", "data.frames", "data.degradation"), "Below frames, and 0 to interpolate.", _repeat_last
    ),
    Relation(
        ("validation.frames", "data.degradation", "model.vrt.window"),
        "The frames of the window, to interpolate.",
        _interpolated("validation"),
    ),
    Relation(
        ("data.batch_size", "training.accumulate"),
        "A multiple of accumulate, and of the devices that split it.",
        _batch_size,
    ),
    Relation(
        ("data.scenes.frames", "data.frames", "data.degradation"),
        "At least data.frames, and twice as many less one to interpolate (embedded data sets).",
        _scene_frames,
    ),
    Relation(
        ("data.scenes.width", "data.scenes.height"),
        "A multiple of 8 pixels altogether (embedded data sets).",
        _scene_area,
    ),
    Relation(
        ("data.crop", "data.scenes.height", "data.scenes.width", "model.vrt.upscale"),
        "Times upscale, at most the sides of the pictures (embedded data sets).",
        _scene_crop,
    ),
    Relation(
        ("model.vrt.upscale", "data.source", "data.degradation", "model.spike.fusion"),
        "1 for the embedded data sets, unless degradation makes smaller pictures and fusion is none.",
        _scene_upscale,
    ),
    Relation(
        ("model.kernels", "training.deterministic"),
        "`plain` with deterministic: the kernels for GPUs add up in any order.",
        _deterministic,
    ),
    Relation(("optimizer.warmup_steps", "training.steps"), "Below steps.", _warmup_steps),
    Relation(
        ("optimizer.final_learning_rate", "optimizer.peak_learning_rate"),
        "Not above peak_learning_rate.",
        _final_learning_rate,
    ),
    Relation(("optimizer.weight_decay", "optimizer.kind"), "0 with adam.", _weight_decay),
    Relation(("validation.metrics",), "`psnr` is among them.", _metrics),
    Relation(("mesh.fsdp", "mesh.data"), "One axis at most is -1.", _one_open_axis("fsdp", ("data",))),
    Relation(
        ("mesh.space", "mesh.data", "mesh.fsdp"), "One axis at most is -1.", _one_open_axis("space", ("data", "fsdp"))
    ),
    Relation(
        ("mesh.extra", "mesh.layout", "mesh.data", "mesh.fsdp", "mesh.space"),
        "Empty for the standard layout; each axis once; one axis of all at most is -1.",
        _extra_axes,
    ),
    Relation(("restore.overlap", "restore.tile"), "At most half of tile, where that is not 0.", _overlap),
)
