"""Conversion rules: which PyTorch key holds a parameter of ours, and in which layout.

A rule pairs a path of ours ("stages/{i}/reshape/norm/scale") with a PyTorch key ("stage{i+1}.reshape.1.weight").
`{i}` stands for a number; on the PyTorch side it may be multiplied and added to. `{layer}` stands for the blocks that
we hold stacked on the first axis.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from einops import rearrange
from flax import nnx

from spikejax.errors import InputError

# einops patterns from the PyTorch layout to ours.
ARRAY = None
LINEAR = "o i -> i o"
CONV = "o i h w -> h w i o"
CONV_IN_SPACE = "o i 1 h w -> h w i o"
CONV_3D = "o i t h w -> t h w i o"
LINEAR_1X1 = "o i 1 1 -> i o"

_LAYER = "{layer}"


@dataclass(frozen=True)
class Rule:
    """One parameter, or one family of them.

    Attributes:
        ours: path in our parameters, joined by "/".
        torch: key of the PyTorch state dict.
        layout: einops pattern from theirs to ours, None if they agree.
    """

    ours: str
    torch: str
    layout: str | None

    def torch_key(self, path: str) -> str | None:
        """The PyTorch key of our `path`, `{layer}` left open; None if the rule is not about it."""
        pattern = re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(self.ours))
        match = re.fullmatch(pattern, path)
        if match is None:
            return None

        def number(field: re.Match) -> str:
            value = int(match[field["name"]])
            return str(value * int(field["times"] or 1) + int(field["plus"] or 0))

        return re.sub(r"\{(?P<name>\w)(?:\*(?P<times>\d+))?(?:\+(?P<plus>\d+))?\}", number, self.torch)


def linear(ours: str, torch: str, layout: str = LINEAR) -> tuple[Rule, ...]:
    """The rules of a layer with a kernel and a bias."""
    return Rule(f"{ours}/kernel", f"{torch}.weight", layout), Rule(f"{ours}/bias", f"{torch}.bias", ARRAY)


def norm(ours: str, torch: str) -> tuple[Rule, ...]:
    """The rules of a layer norm."""
    return Rule(f"{ours}/scale", f"{torch}.weight", ARRAY), Rule(f"{ours}/bias", f"{torch}.bias", ARRAY)


def nest(ours: str, torch: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """`rules` of a part, below the part's own place; the prefixes bring their separators."""
    return tuple(replace(rule, ours=ours + rule.ours, torch=torch + rule.torch) for rule in rules)


class ConversionError(InputError):
    """Weights that do not fit the network; the message lists all that is wrong."""


def parameters_from_torch(parameters: nnx.State, rules: tuple[Rule, ...], arrays: Mapping[str, Any]) -> nnx.State:
    """`parameters` with the values that `arrays` holds.

    Args:
        parameters: the network's, as arrays or as shapes alone.
        rules: of the network.
        arrays: PyTorch state dict, {key: array}; read once each.

    Returns: float32 NumPy arrays in the structure of `parameters`.

    Raises:
        ConversionError: parameters that no array fills, arrays of another shape, keys that nothing takes, all in one
            message.
    """
    unused, problems, filled = set(arrays), [], {}
    for path, key, layout, variable in _match(parameters, rules):
        stacked = _LAYER in key
        keys = [key.replace(_LAYER, str(layer)) for layer in range(variable.shape[0] if stacked else 1)]
        unused -= set(keys)
        missing = [key for key in keys if key not in arrays]
        if missing:
            problems += [f"no array {key} for {path}" for key in missing]
            continue
        expected = variable.shape[1:] if stacked else variable.shape
        try:
            layers = [_to_ours(arrays[key], layout, expected) for key in keys]
        except ValueError as error:
            problems.append(f"{keys[0]}: {error}")
            continue
        filled[path] = np.asarray(np.stack(layers) if stacked else layers[0], np.float32)
    problems += [f"nothing takes the array {key}" for key in sorted(unused)]
    if problems:
        raise ConversionError(f"the weights do not fit the network, {len(problems)} problems: " + "; ".join(problems))
    return nnx.from_flat_state(
        [(path, variable.replace(filled[_joined(path)])) for path, variable in nnx.to_flat_state(parameters)]
    )


def _match(parameters: nnx.State, rules: tuple[Rule, ...]) -> Iterator[tuple[str, str, str | None, nnx.Param]]:
    """For every parameter its path, PyTorch key (`{layer}` left open where it is stacked), layout and itself."""
    for path, variable in nnx.to_flat_state(parameters):
        joined = _joined(path)
        found = [(key, rule.layout) for rule in rules if (key := rule.torch_key(joined)) is not None]
        assert len(found) == 1, f"{joined}: {len(found)} rules"
        key, layout = found[0]
        yield joined, key, layout, variable


def _joined(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))


def _to_ours(array: Any, layout: str | None, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(array)
    rank = len(shape if layout is None else layout.split("->")[0].split())
    if array.ndim == rank:
        ours = array if layout is None else rearrange(array, layout)
        if ours.shape == tuple(shape):
            return ours
    raise ValueError(f"the array has the shape {array.shape}, which does not become {tuple(shape)}")
