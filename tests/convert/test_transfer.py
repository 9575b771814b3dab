"""Arrays from PyTorch and back, and the report of all that does not fit."""

import numpy as np
import pytest

from convert.convertible_networks import ConvertibleNetwork
from spikejax.io.weights import MismatchError, Weights, flatten_params, nest_params
from tests.convert.arrays import assert_same, split_buffers


def test_all_problems_are_reported_with_the_nearest_names(
    spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]
) -> None:
    """Catches a conversion that stops at the first problem, or a report that leaves one out."""
    arrays = dict(flow_weights)
    arrays["basic_modul.0.basic_module.0.bias"] = arrays.pop("basic_module.0.basic_module.0.bias")
    del arrays["basic_module.3.basic_module.4.weight"]
    arrays["basic_module.1.basic_module.2.weight"] = np.zeros((64, 32, 3, 3), np.float32)
    arrays["basic_module.2.basic_module.2.bias"] = np.zeros(64, np.int64)
    arrays["mean"] = np.zeros(3, np.float32)
    with pytest.raises(MismatchError) as caught:
        spynet.from_torch(arrays)
    assert str(caught.value) == (
        "expected the weights of spynet, found 1 unexpected, 2 missing, 2 of another shape, 1 of another dtype"
    )
    assert caught.value.details == (
        "basic_modul.0.basic_module.0.bias: expected none, found (32,) (nearest: basic_module.0.basic_module.0.bias)",
        "basic_module.0.basic_module.0.bias: expected (32,), found none (nearest: basic_modul.0.basic_module.0.bias)",
        "basic_module.3.basic_module.4.weight: expected (32, 64, 7, 7), found none",
        "basic_module.1.basic_module.2.weight: expected (64, 32, 7, 7), found (64, 32, 3, 3)",
        "mean: expected (1, 3, 1, 1), found (3,)",
        "basic_module.2.basic_module.2.bias: expected float32, found int64",
    )


def test_parameters_of_another_network_are_not_given_back(
    spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]
) -> None:
    """Catches a PyTorch file with arrays left out, or with those of another network."""
    weights = spynet.from_torch(flow_weights)
    params = flatten_params(weights.params)
    params["levels.0.convolutions.0.scale"] = params.pop("levels.0.convolutions.0.bias")
    with pytest.raises(
        MismatchError, match="expected the parameters of spynet, found 1 unexpected, 1 missing"
    ) as caught:
        spynet.to_torch(Weights("spynet", None, nest_params(params)), dtype=np.dtype(np.float32))
    assert caught.value.problems[1].nearest == "levels.0.convolutions.0.scale"


def test_short_floats_are_exact(spynet: ConvertibleNetwork, flow_weights: dict[str, np.ndarray]) -> None:
    """Catches a rounding between float16 files and float32 parameters."""
    half = {key: array.astype(np.float16) for key, array in flow_weights.items()}
    state_dict = spynet.to_torch(spynet.from_torch(half), dtype=np.dtype(np.float16))
    parameters, buffers = split_buffers(spynet, state_dict)
    assert_same(parameters, half)
    assert buffers["mean"].dtype == np.float32
