"""The arrays of a PyTorch state dict to our parameters and back; everything that does not fit is reported at once."""

import difflib
import heapq
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from spikejax.errors import InputError

from .rules import Counterpart
from .stored_arrays import StoredArray

Shapes = Mapping[str, tuple[int, ...]]

_SHORTLIST = 10  # names that are compared letter by letter


@dataclass(frozen=True)
class Buffer:
    """What a PyTorch network keeps beside its parameters, and what follows from its configuration.

    Attributes:
        shape: of the array.
        dtype: of the array.
        make: computes it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    make: Callable[[], np.ndarray]


class ConversionError(InputError):
    """Weights that do not fit the network; `details` lists all that is wrong."""

    def __init__(self, message: str, details: Iterable[str]):
        super().__init__(message)
        self.details = tuple(details)


def from_torch(
    places: Mapping[str, Counterpart], arrays: Mapping[str, Any], *, buffers: Mapping[str, Buffer], network: str
) -> dict[str, np.ndarray]:
    """Our parameters, {path: float32 array}, with the values of a PyTorch state dict.

    Args:
        places: of all parameters, by PyTorch key.
        arrays: state dict; each array is read once, after all of them have been found to fit.
        buffers: keys that may be there too; what they hold follows from the configuration, so it is not read.
        network: what `arrays` should be, for the message.

    Raises:
        ConversionError: parameters that no array fills, arrays of another shape, keys that nothing takes.
    """
    check_fit(places, arrays, buffers=buffers, network=network)
    filled: dict[str, np.ndarray] = {}
    for key, place in places.items():
        ours = place.to_ours(np.asarray(arrays[key]))
        if place.layer is None:
            filled[place.path] = np.array(ours, np.float32, order="C")
        else:
            filled.setdefault(place.path, np.empty(place.ours, np.float32))[place.layer] = ours
    return filled


def to_torch(
    places: Mapping[str, Counterpart],
    params: Mapping[str, np.ndarray],
    *,
    buffers: Mapping[str, Buffer],
    dtype: np.dtype,
) -> dict[str, StoredArray]:
    """The PyTorch state dict, parameters in `dtype` and buffers, of our parameters; made when they are read.

    Args:
        places: of all parameters, by PyTorch key.
        params: {path: array}, complete.
        buffers: of the network.
        dtype: of the parameters.
    """

    def parameter(place: Counterpart) -> StoredArray:
        return StoredArray(
            place.shape, dtype, lambda: np.ascontiguousarray(place.to_torch(params[place.path]).astype(dtype))
        )

    state_dict = {key: parameter(place) for key, place in places.items()}
    state_dict |= {key: StoredArray(buffer.shape, buffer.dtype, buffer.make) for key, buffer in buffers.items()}
    return state_dict


def check_fit(
    places: Mapping[str, Counterpart], arrays: Mapping[str, Any], *, buffers: Mapping[str, Buffer], network: str
) -> None:
    """Raises ConversionError unless `arrays` has the keys and shapes of `places`; `buffers` may be there too."""
    expected = {key: place.shape for key, place in places.items()}
    optional = {key: buffer.shape for key, buffer in buffers.items()}
    strangers = {key: tuple(array.shape) for key, array in arrays.items() if key not in expected | optional}
    missing = {key: shape for key, shape in expected.items() if key not in arrays}
    near_stranger, near_missing = _nearest_names(strangers, missing), _nearest_names(missing, strangers)
    details = [f"unmapped: {key} {shape}{near_stranger[key]}" for key, shape in strangers.items()]
    details += [
        f"unfilled: {places[key].path.replace('/', '.')}: {key} {shape} is missing{near_missing[key]}"
        for key, shape in missing.items()
    ]
    misshaped = [
        f"misshaped: {key} is {tuple(arrays[key].shape)}, expected {tuple(shape)}"
        for key, shape in (expected | optional).items()
        if key in arrays and tuple(arrays[key].shape) != tuple(shape)
    ]
    no_numbers = [
        f"no weights: {key} is {arrays[key].dtype}" for key in expected if key in arrays and not _is_float(arrays[key])
    ]
    details += misshaped + no_numbers
    if details:
        raise ConversionError(
            f"the weights do not fit {network}, {len(details)} problems: {len(strangers)} arrays that nothing takes, "
            f"{len(missing)} parameters that nothing fills, {len(misshaped)} arrays of another shape, "
            f"{len(no_numbers)} of no floating-point numbers",
            details,
        )


def _is_float(array: Any) -> bool:
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def _nearest_names(names: Shapes, others: Shapes) -> dict[str, str]:
    """For each name what to say of the one among `others` of its shape that is most like it, "" if none is."""
    parts_by_shape: dict[tuple[int, ...], dict[str, set[str]]] = {}
    for other, shape in others.items():
        parts_by_shape.setdefault(shape, {})[other] = set(other.split("."))
    nearest = {}
    for name, shape in names.items():
        parts, candidates = set(name.split(".")), parts_by_shape.get(shape, {})
        # Comparing letters takes long; shared parts of the names leave a few.
        likely = heapq.nlargest(_SHORTLIST, candidates, key=lambda other: len(parts & candidates[other]))
        found = difflib.get_close_matches(name, likely, n=1)
        nearest[name] = f" (nearest: {found[0]})" if found else ""
    return nearest


def count_numbers(arrays: Mapping[str, Any]) -> int:
    """How many numbers all arrays hold."""
    return sum(math.prod(array.shape) for array in arrays.values())
