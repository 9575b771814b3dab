"""Conversion rules: which PyTorch key holds a parameter of ours, and in which layout.

A rule pairs a name of ours ("stages.{i}.reshape.norm.scale") with a PyTorch key ("stage{i+1}.reshape.1.weight").
`{i}` stands for a number; on the PyTorch side it may be multiplied and added to. `{layer}` stands for the blocks that
we hold stacked on the first axis.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from einops import rearrange

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
        ours: our parameter's dotted name.
        torch: key of the PyTorch state dict.
        layout: einops pattern from theirs to ours, None if they agree.
    """

    ours: str
    torch: str
    layout: str | None

    def pattern(self) -> re.Pattern[str]:
        """What our names of the family look like."""
        return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(self.ours)))

    def torch_key(self, name: re.Match[str]) -> str:
        """The PyTorch key of a name that `pattern` has matched, `{layer}` left open."""
        return _NUMBER.sub(lambda field: _number(field, int(name[field["name"]])), self.torch)


# What stands in a PyTorch key for a number of our name: {b}, {b*2}, {b*2+1}.
_NUMBER = re.compile(r"\{(?P<name>\w)(?:\*(?P<times>\d+))?(?:\+(?P<plus>\d+))?\}")


def _number(field: re.Match, value: int) -> str:
    return str(value * int(field["times"] or 1) + int(field["plus"] or 0))


def linear(ours: str, torch: str, layout: str = LINEAR) -> tuple[Rule, ...]:
    """The rules of a layer with a kernel and a bias."""
    return Rule(f"{ours}.kernel", f"{torch}.weight", layout), Rule(f"{ours}.bias", f"{torch}.bias", ARRAY)


def norm(ours: str, torch: str) -> tuple[Rule, ...]:
    """The rules of a layer norm."""
    return Rule(f"{ours}.scale", f"{torch}.weight", ARRAY), Rule(f"{ours}.bias", f"{torch}.bias", ARRAY)


def nest(ours: str, torch: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """`rules` of a part, for the network that it is a part of; the prefixes end with their separators."""
    return tuple(replace(rule, ours=ours + rule.ours, torch=torch + rule.torch) for rule in rules)


@dataclass(frozen=True)
class Counterpart:
    """The parameter of ours that holds the array of one PyTorch key.

    Attributes:
        parameter: its dotted name.
        parameter_shape: its shape.
        layer: the array's index on the first axis of a stacked parameter, None for another one.
        layout: see `Rule`.
        shape: the array's in PyTorch.
    """

    parameter: str
    parameter_shape: tuple[int, ...]
    layer: int | None
    layout: str | None
    shape: tuple[int, ...]

    def to_ours(self, array: np.ndarray) -> np.ndarray:
        """The array (`shape`) in our layout."""
        return array if self.layout is None else rearrange(array, self.layout)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """The whole parameter's part that belongs to the key, in PyTorch's layout."""
        part = array if self.layer is None else array[self.layer]
        return part if self.layout is None else rearrange(part, " -> ".join(reversed(self.layout.split(" -> "))))


def find_counterparts(shapes: Mapping[str, tuple[int, ...]], rules: tuple[Rule, ...]) -> dict[str, Counterpart]:
    """{PyTorch key: counterpart} of all parameters.

    Args:
        shapes: of our parameters, by dotted name.
        rules: of the network; every name has exactly one.
    """
    counterparts = {}
    patterns = [(rule.pattern(), rule) for rule in rules]
    for name, shape in shapes.items():
        matches = [(rule, match) for pattern, rule in patterns if (match := pattern.fullmatch(name))]
        assert len(matches) == 1, f"{name}: {len(matches)} rules"
        rule, match = matches[0]
        key, layout = rule.torch_key(match), rule.layout
        if _LAYER not in key:
            counterparts[key] = Counterpart(name, shape, None, layout, _torch_shape(shape, layout))
            continue
        for layer in range(shape[0]):
            counterparts[key.replace(_LAYER, str(layer))] = Counterpart(
                name, shape, layer, layout, _torch_shape(shape[1:], layout)
            )
    return counterparts


def _torch_shape(shape: tuple[int, ...], layout: str | None) -> tuple[int, ...]:
    if layout is None:
        return tuple(shape)
    theirs, ours = (side.split() for side in layout.split(" -> "))
    return tuple(1 if axis == "1" else shape[ours.index(axis)] for axis in theirs)
