"""Low-rank adapters (LoRA), merged into the weights that they adapt: W + alpha / r B A.

A layer X that was adapted has X.base.weight (or X.base_layer.weight, or X.weight in a file of its own), X.lora_A.weight
of shape [r, inputs] and X.lora_B.weight of shape [outputs, r]; those of a convolution go on with [kh, kw] and [1, 1].
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spikejax.errors import InputError

from .state_dicts import Note
from .stored_arrays import StoredArray

_PART = re.compile(r"(?P<layer>.+)\.lora_(?P<part>[AB])(?:\.default)?\.weight")
_BASE = re.compile(r"(?P<layer>.+)\.(?:base|base_layer)\.(?P<name>weight|bias)")
_ALPHA = re.compile(r"(.*[._])?(lora_)?alpha")
_SHOWN = 3


@dataclass(frozen=True)
class _Adapter:
    """The two factors of a layer."""

    down: StoredArray
    up: StoredArray

    @property
    def rank(self) -> int:
        return self.down.shape[0]


def merge_adapters(
    arrays: Mapping[str, StoredArray], numbers: Mapping[str, float], *, alpha: float | None, note: Note
) -> dict[str, StoredArray]:
    """`arrays` with the adapters among them merged; what has no adapters comes back as it is.

    Args:
        arrays: {key: array} of the adapted network, its adapters among them.
        numbers: what lies beside them in their files, where alpha is looked for.
        alpha: times 1 / r the factor of B A; None = as the files say.
        note: is told what was merged, in a line.

    Raises:
        InputError: alpha is not known, or an adapter does not fit its layer.
    """
    adapters = _find_adapters(arrays)
    if not adapters:
        if alpha is not None:
            raise InputError("expected adapters (X.lora_A.weight, X.lora_B.weight) with --lora-alpha, found none")
        return dict(arrays)
    merged = {_base_key(key): array for key, array in arrays.items() if not _is_of_adapter(key, adapters)}
    known = _find_alpha(arrays, numbers) if alpha is None else alpha
    if known is None and any(np.any(np.asarray(adapter.up)) for adapter in adapters.values()):
        raise InputError(
            f"expected --lora-alpha or an alpha in the file, found {len(adapters)} adapters of rank "
            f"{next(iter(adapters.values())).rank} without one"
        )
    for layer, adapter in adapters.items():
        key = f"{layer}.weight"
        if key not in merged:
            raise InputError(f"expected the weight that an adapter changes, found none: {key}")
        merged[key] = _merged(key, merged[key], adapter, known or 0.0)
    layers = ", ".join(list(adapters)[:_SHOWN])
    layers += f" and {len(adapters) - _SHOWN} more" if len(adapters) > _SHOWN else ""
    ranks = sorted({adapter.rank for adapter in adapters.values()})
    said = "B is zero" if known is None else f"alpha {known:g}"
    note(f"merged: {len(adapters)} adapters of rank {', '.join(map(str, ranks))}, {said}: {layers}")
    return merged


def _find_adapters(arrays: Mapping[str, StoredArray]) -> dict[str, _Adapter]:
    parts: dict[str, dict[str, StoredArray]] = {}
    for key, array in arrays.items():
        if match := _PART.fullmatch(key):
            parts.setdefault(match["layer"], {})[match["part"]] = array
    for layer, factors in parts.items():
        if factors.keys() != {"A", "B"}:
            raise InputError(f"expected lora_A and lora_B of a layer, found lora_{next(iter(factors))} alone: {layer}")
    return {layer: _Adapter(factors["A"], factors["B"]) for layer, factors in parts.items()}


def _base_key(key: str) -> str:
    match = _BASE.fullmatch(key)
    return f"{match['layer']}.{match['name']}" if match else key


def _is_of_adapter(key: str, adapters: Mapping[str, _Adapter]) -> bool:
    """Whether an array is one of an adapter's, its alpha among them, and none of the network."""
    if _PART.fullmatch(key):
        return True
    layer, _, name = key.rpartition(".")
    return layer in adapters and name in ("alpha", "lora_alpha")


def _find_alpha(arrays: Mapping[str, StoredArray], numbers: Mapping[str, float]) -> float | None:
    """The alpha that the files say, None if they say none.

    Raises:
        InputError: they say several.
    """
    said = {number for key, number in numbers.items() if _ALPHA.fullmatch(key)}
    for key, array in arrays.items():
        if key.rpartition(".")[2] in ("alpha", "lora_alpha") and np.prod(array.shape) == 1:
            said.add(float(np.asarray(array).reshape(())))
    if len(said) > 1:
        raise InputError(f"expected one alpha of all adapters, found {', '.join(f'{one:g}' for one in sorted(said))}")
    return next(iter(said), None)


def _merged(key: str, base: StoredArray, adapter: _Adapter, alpha: float) -> StoredArray:
    rank = adapter.rank
    ones = (1,) * len(adapter.up.shape[2:])
    if (
        adapter.up.shape[1:] != (rank, *ones)
        or base.shape != (adapter.up.shape[0], *adapter.down.shape[1:])
        or not rank
    ):
        raise InputError(
            f"expected adapters of shape [r, inputs] and [outputs, r] for a weight {list(base.shape)}, found "
            f"{list(adapter.down.shape)} and {list(adapter.up.shape)}: {key}"
        )

    def read() -> np.ndarray:
        down, up = (np.asarray(factor).astype(np.float32) for factor in (adapter.down, adapter.up))
        product = np.tensordot(up.reshape(up.shape[:2]), down, axes=1)
        return np.asarray(base).astype(np.float32) + np.float32(alpha / rank) * product

    return StoredArray(base.shape, np.dtype(np.float32), read)
