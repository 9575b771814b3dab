"""Which network a state dict is of, inferred from its keys and shapes."""

import contextlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spikejax.config import defaults
from spikejax.config.files import read_saved_model
from spikejax.errors import InputError
from spikejax.io.weights import MismatchError, Problem
from spikejax.models.fusion import FUSIONS
from spikejax.models.vrt import U_STAGES

from .convertible_networks import ConvertibleNetwork, get_network, restorer_network, restorers
from .network_names import network_names
from .perceptual_keys import PERCEPTUAL
from .spike_keys import FUSE_BLOCKS, TIME_BIAS_KEYS
from .transfer import check_fit

Shapes = Mapping[str, tuple[int, ...]]


def recognize(arrays: Mapping[str, Any], *, file_name: str = "") -> tuple[ConvertibleNetwork, str]:
    """The network of a state dict, and a description of it for the user.

    A VRT that is none of the named ones is taken as what its shapes say.

    Args:
        arrays: state dict.
        file_name: of networks that have one architecture, the one that it begins with is meant.

    Raises:
        InputError: it is of no network that is known; as a MismatchError, with all that keeps it from being what its
            shapes say, or the nearest of the named ones.
    """
    shapes = {key: tuple(array.shape) for key, array in arrays.items()}
    kind = _kind(shapes)
    if kind is None:
        names, few = ", ".join(network_names()), ", ".join(list(shapes)[:3])
        raise InputError(f"expected the arrays of one of {names}, found {len(shapes)} of no known network ({few} ...)")
    if kind != "restorer":
        return get_network(kind), kind
    inferred = infer_model(shapes)
    fitting = [name for name, model in restorers() if _differences(inferred, model) == []]
    if fitting:
        by_name = [name for name in fitting if re.match(rf"{re.escape(name)}(?![0-9A-Za-z])", file_name)]
        chosen = (by_name or fitting)[0]
        says = ", as the file's name says" if by_name else ""
        alike = f", which have one architecture; taken as {chosen}{says}" if fitting[1:] else ""
        return get_network(chosen), " or ".join(fitting) + alike
    nearest, model = min(restorers(), key=lambda candidate: len(_differences(inferred, candidate[1])))
    differing = _differences(inferred, model)
    own = _own_architecture(inferred)
    problems = None if own is None else _problems(own, arrays)
    if own is not None and not problems:
        return own, f"a VRT of its own ({_described(inferred, differing)}); the nearest is {nearest}"
    named = get_network(nearest)
    against_named = _problems(named, arrays)
    if own is not None and problems and len(problems) < len(against_named):
        raise MismatchError(f"the VRT that its shapes tell ({_described(inferred, differing)})", problems)
    expected = f"a network that has a name (the nearest is {nearest}, from which differ: {', '.join(differing)})"
    if not against_named:
        raise InputError(f"expected {expected}, found another architecture with the same parameters")
    raise MismatchError(expected, against_named)


def _problems(network: ConvertibleNetwork, arrays: Mapping[str, Any]) -> tuple[Problem, ...]:
    try:
        check_fit(network.counterparts, network.published_keys(arrays), buffers=network.buffers, network=network.name)
    except MismatchError as error:
        return error.problems
    return ()


def _described(inferred: Mapping[str, Mapping[str, Any]], differing: Sequence[str]) -> str:
    """The fields of a network that a named one has otherwise, in short."""
    words = []
    for field in differing:
        part, name = field.split(".")
        value = inferred[part].get(name, "unknown")
        if isinstance(value, tuple) and len(value) > 3:
            value = "+".join(f"{len(list(same))}x{item}" for item, same in itertools.groupby(value))
        words.append(f"{name} {value}")
    return ", ".join(words)


def infer_model(shapes: Shapes) -> dict[str, dict[str, Any]]:
    """What keys and shapes tell of the `model` section of a configuration: fields of `vrt` and of `spike`.

    What cannot be inferred, since a key is missing or a number makes no sense, is left out. Windows are taken to be
    square.
    """
    has_spikes = any(key.startswith("spike_encoder.") for key in shapes)
    backbone = {key.removeprefix("vrt."): shape for key, shape in shapes.items()} if has_spikes else shapes
    spike: dict[str, Any] = _inferred_fields(_SPIKE_FIELDS, shapes) if has_spikes else _spikes_beside(backbone)
    return {"vrt": _inferred_fields(_VRT_FIELDS, backbone), "spike": spike}


def _kind(shapes: Shapes) -> str | None:
    """The kind of weights, by keys that only they have."""
    keys = set(shapes)
    if any(re.match(r"(vrt\.)?(stage[1-8]\.|conv_first\.)|spike_encoder\.|cross_attn_fuse\.", key) for key in keys):
        return "restorer"
    if any(key.startswith("basic_module.") for key in keys):
        return "spynet"
    for kind, network in PERCEPTUAL.items():
        if network.heads and any(key.startswith(f"{network.jax_name}.") for key in keys):
            return kind
    heads = [shapes[key] for key in ("lin1.model.1.weight", "lins.1.model.1.weight") if key in keys]
    if heads or any(key.startswith("net.slice") for key in keys):
        alex = heads[0][1:2] == (192,) if heads else "net.slice3.6.weight" in keys
        return "lpips_alex" if alex else "lpips_vgg"
    if any(key.startswith("features.") for key in keys):
        if shapes.get("features.0.weight", ())[2:] == (11, 11):
            raise InputError("AlexNet is used by LPIPS alone: give the file of its linear heads as well")
        return "vgg19" if "features.16.weight" in keys or "features.34.weight" in keys else "vgg16"
    return None


def _inferred_fields(fields: Mapping[str, Callable[[Shapes], Any]], shapes: Shapes) -> dict[str, Any]:
    inferred = {}
    for name, infer in fields.items():
        with contextlib.suppress(LookupError, ValueError, ZeroDivisionError, StopIteration):
            inferred[name] = infer(shapes)
    return inferred


def _differences(inferred: Mapping[str, Mapping[str, Any]], model: Mapping[str, Any]) -> list[str]:
    """The fields in which a model differs from the inferred one."""
    if inferred["spike"].get("fusion") != model["spike"]["fusion"]:
        return ["spike.fusion", *_VRT_FIELDS]  # as far away as can be
    differing = [
        f"spike.{name}" for name, value in inferred["spike"].items() if _hashable(model["spike"][name]) != value
    ]
    for name in _VRT_FIELDS:
        if name == "deformable_groups" and not model["vrt"]["warp_frames"]:
            continue
        if _hashable(model["vrt"][name]) != inferred["vrt"].get(name):
            differing.append(f"vrt.{name}")
    return differing


def _hashable(value: Any) -> Any:
    """A list as the tuple that is compared with."""
    return tuple(value) if isinstance(value, list) else value


def _own_architecture(inferred: Mapping[str, Mapping[str, Any]]) -> ConvertibleNetwork | None:
    """The network whose fields were inferred; None if that is not all of them, or they make none."""
    if _VRT_FIELDS.keys() - inferred["vrt"].keys() - {"deformable_groups"}:
        return None
    model = defaults.get_config().model.to_dict()
    model = model | {part: model[part] | inferred[part] for part in ("vrt", "spike")}
    try:
        return restorer_network(read_saved_model(model, source="the shapes"), "the network that its shapes tell")
    except InputError:  # a number that no network has
        return None


def _stage(number: int, rest: str) -> str:
    return f"stage{number}.{rest}"


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the highest number that keys have for `{}`, 0 if none matches."""
    expression = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d+)"))
    return max((int(match[1]) + 1 for key in shapes if (match := expression.match(key))), default=0)


def _reconstruction_groups(shapes: Shapes) -> range:
    # stage8.0 is what changes the number of features.
    return range(1, _count(shapes, "stage8.{}."))


def _group_prefixes(shapes: Shapes) -> list[tuple[str, ...]]:
    """Of each entry of `depths` the prefixes of its blocks."""
    stages = [
        tuple(_stage(number, f"residual_group{group}.blocks.") for group in (1, 2)) for number in range(1, U_STAGES + 1)
    ]
    return stages + [(f"stage8.{index}.residual_group.blocks.",) for index in _reconstruction_groups(shapes)]


def _depths(shapes: Shapes) -> tuple[int, ...]:
    return tuple(sum(_count(shapes, prefix + "{}.") for prefix in group) for group in _group_prefixes(shapes))


def _dims(shapes: Shapes) -> tuple[int, ...]:
    stages = [shapes[_stage(number, "linear1.weight")][0] for number in range(1, U_STAGES + 1)]
    return (*stages, *(shapes[f"stage8.{index}.linear.weight"][0] for index in _reconstruction_groups(shapes)))


def _tables(shapes: Shapes) -> list[tuple[int, int]]:
    """Of each entry of `depths` the shape of a table of relative positions with the whole window: (offsets, heads).

    A group whose blocks all have mutual attention tells the heads alone: its tables are of two frames.
    """
    tables = []
    for prefixes in _group_prefixes(shapes):
        keys = [f"{prefix}0.attn.relative_position_bias_table" for prefix in reversed(prefixes)]
        offsets, heads = next(shapes[key] for key in keys if key in shapes)
        tables.append((offsets, heads))
    return tables


def _window(shapes: Shapes) -> tuple[int, ...]:
    """From the tables of mutual attention (2 frames) and the largest one; without the former, of rows of 8 if any."""
    whole = max(offsets for offsets, _ in _tables(shapes))
    pairs = shapes.get(_stage(1, "residual_group1.blocks.0.attn.relative_position_bias_table"), (0,))[0]
    sides = [round((pairs / 3) ** 0.5)] if pairs else sorted(range(1, whole, 2), key=lambda side: abs(side - 15))
    for side in sides:
        if whole % side**2 == 0 and whole // side**2 % 2 and (not pairs or 3 * side**2 == pairs):
            return ((whole // side**2 + 1) // 2, (side + 1) // 2, (side + 1) // 2)
    raise ValueError("no square window")


def _independent(shapes: Shapes) -> tuple[int, ...]:
    _, height, width = _window(shapes)
    single = (2 * height - 1) * (2 * width - 1)
    return tuple(index for index, (offsets, _) in enumerate(_tables(shapes)) if offsets == single)


def _warp_frames(shapes: Shapes) -> int:
    key = _stage(1, "pa_deform.conv_offset.0.weight")
    if not any(".pa_deform." in name for name in shapes):
        return 0
    features, width = shapes[key][0], shapes[key][1]
    # Its input is the target, and of each source the features and a flow of two components.
    return 2 * ((width - features) // (features + 2))


def _upscale(shapes: Shapes) -> int:
    if not any(key.startswith("conv_before_upsample.") for key in shapes):
        return 1
    convolutions = sum(bool(re.fullmatch(r"upsample\.\d+\.weight", key)) for key in shapes)
    return 3 if shapes["upsample.0.weight"][0] == 9 * 64 else 2 ** (convolutions - 1)


def _noise_map(shapes: Shapes) -> bool:
    width = shapes["conv_first.weight"][1]
    return width % 9 == 1 if _warp_frames(shapes) else width == 4


def _spikes_beside(shapes: Shapes) -> dict[str, Any]:
    """The fields of `spike` of a network without a branch: its input tells whether it has more than the picture."""
    width = shapes.get("conv_first.weight", (0, 0))[1]
    bins = width // 9 - 3
    warps = any(".pa_deform." in key for key in shapes)
    return {"fusion": "early_concat", "bins": bins} if warps and bins > 0 else {"fusion": "none"}


def _mutual_ratio(shapes: Shapes) -> float:
    counts = [_count(shapes, _stage(1, f"residual_group{group}.blocks.{{}}.")) for group in (1, 2)]
    usual = defaults.get_config().model.vrt.mutual_ratio
    return usual if int(sum(counts) * usual) == counts[0] else counts[0] / sum(counts)


def _mlp_ratio(shapes: Shapes) -> float:
    keys = [_stage(1, f"residual_group{group}.blocks.0.mlp.fc11.weight") for group in (1, 2)]
    hidden, features = next(shapes[key] for key in keys if key in shapes)
    return hidden / features


_VRT_FIELDS: dict[str, Callable[[Shapes], Any]] = {
    "upscale": _upscale,
    "output_channels": lambda shapes: shapes["conv_last.weight"][0],
    "window": _window,
    "depths": _depths,
    "dims": _dims,
    "heads": lambda shapes: tuple(heads for _, heads in _tables(shapes)),
    "independent": _independent,
    "warp_frames": _warp_frames,
    "deformable_groups": lambda shapes: shapes[_stage(1, "pa_deform.conv_offset.6.weight")][0] // 27,
    "mutual_ratio": _mutual_ratio,
    "mlp_ratio": _mlp_ratio,
    "noise_map": _noise_map,
}


def _fusion(shapes: Shapes) -> str:
    """The fusion that has most keys, of those whose PyTorch form is known."""
    prefixes = {
        name: FUSE_BLOCKS[kind.torch_form].torch
        for name, kind in FUSIONS.items()
        if kind and kind.torch_form in FUSE_BLOCKS
    }
    return max(prefixes, key=lambda name: sum(key.startswith(prefixes[name]) for key in shapes))


def _fused_channels(shapes: Shapes) -> tuple[int, ...]:
    count = _count(shapes, "cross_attn_fuse.fuse_blocks.{}.")
    return tuple(shapes[f"cross_attn_fuse.fuse_blocks.{index}.ln_q.weight"][0] for index in range(count))


def _time_bias(shapes: Shapes) -> tuple[str, tuple[int, ...]]:
    """`model.spike.time` and the shape of a block's biases over time, [2 reach + 1, heads]."""
    for time, key in TIME_BIAS_KEYS.items():
        if key is not None and (shape := shapes.get(f"spike_temporal_sa.blocks.0.{key}")) is not None:
            return time, shape
    usual = defaults.get_config().model.spike
    return "none", (2 * usual.time_reach + 1, usual.heads)


_SPIKE_FIELDS: dict[str, Callable[[Shapes], Any]] = {
    "fusion": _fusion,
    "bins": lambda shapes: shapes["spike_encoder.in_proj.weight"][1],
    "channels": _fused_channels,
    "fused_stages": lambda shapes: tuple(range(1, len(_fused_channels(shapes)) + 1)),
    "heads": lambda shapes: _time_bias(shapes)[1][1],
    "time": lambda shapes: _time_bias(shapes)[0],
    "time_reach": lambda shapes: _time_bias(shapes)[1][0] // 2,
}
