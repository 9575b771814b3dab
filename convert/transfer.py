"""The arrays of a PyTorch state dict to our parameters and back; all that does not fit is reported at once."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from spikejax.io.weights import MismatchError, compare_params

from .rules import Counterpart
from .stored_arrays import StoredArray


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


def from_torch(
    counterparts: Mapping[str, Counterpart], arrays: Mapping[str, Any], *, buffers: Mapping[str, Buffer], network: str
) -> dict[str, np.ndarray]:
    """Our parameters, {dotted name: float32 array}, with the values of a PyTorch state dict.

    Args:
        counterparts: of all parameters, by PyTorch key.
        arrays: state dict; each array is read once, after all of them have been compared.
        buffers: keys that may be there too; what they hold follows from the configuration, so it is not read.
        network: what `arrays` should be, for the message.

    Raises:
        MismatchError: parameters that no array fills, arrays of another shape, keys that the network has not.
    """
    check_fit(counterparts, arrays, buffers=buffers, network=network)
    filled: dict[str, np.ndarray] = {}
    for key, counterpart in counterparts.items():
        name, ours = counterpart.parameter, counterpart.to_ours(np.asarray(arrays[key]))
        if counterpart.layer is None:
            filled[name] = np.array(ours, np.float32, order="C")
        else:
            filled.setdefault(name, np.empty(counterpart.parameter_shape, np.float32))[counterpart.layer] = ours
    return filled


def to_torch(
    counterparts: Mapping[str, Counterpart],
    params: Mapping[str, np.ndarray],
    *,
    buffers: Mapping[str, Buffer],
    dtype: np.dtype,
) -> dict[str, StoredArray]:
    """The PyTorch state dict, parameters in `dtype` and buffers, of our parameters; made when they are read.

    Args:
        counterparts: of all parameters, by PyTorch key.
        params: {dotted name: array}, complete.
        buffers: of the network.
        dtype: of the parameters.
    """

    def stored_parameter(counterpart: Counterpart) -> StoredArray:
        def read() -> np.ndarray:
            return np.ascontiguousarray(counterpart.to_torch(params[counterpart.parameter]).astype(dtype))

        return StoredArray(counterpart.shape, dtype, read)

    state_dict = {key: stored_parameter(counterpart) for key, counterpart in counterparts.items()}
    state_dict |= {key: StoredArray(buffer.shape, buffer.dtype, buffer.make) for key, buffer in buffers.items()}
    return state_dict


def check_fit(
    counterparts: Mapping[str, Counterpart], arrays: Mapping[str, Any], *, buffers: Mapping[str, Buffer], network: str
) -> None:
    """Raises MismatchError unless `arrays` has the keys and shapes of `counterparts`; `buffers` may be there too."""
    wanted: dict[str, Any] = {
        key: jax.ShapeDtypeStruct(counterpart.shape, np.float32) for key, counterpart in counterparts.items()
    }
    # What buffers hold is not read, so any numbers will do.
    wanted |= {
        key: StoredArray(buffer.shape, arrays[key].dtype, buffer.make)
        for key, buffer in buffers.items()
        if key in arrays
    }
    if problems := compare_params(arrays, wanted):
        raise MismatchError(f"the weights of {network}", problems)


def count_numbers(arrays: Mapping[str, Any]) -> int:
    """How many numbers all arrays hold."""
    return sum(math.prod(array.shape) for array in arrays.values())
