"""State dicts of small networks."""

import numpy as np
import pytest

from convert.convertible_networks import ConvertibleNetwork, get_network
from tests.models.conftest import golden_weights


@pytest.fixture(scope="session")
def spynet() -> ConvertibleNetwork:
    """The smallest network that has a PyTorch form of its own."""
    return get_network("spynet")


@pytest.fixture(scope="session")
def flow_weights(spynet: ConvertibleNetwork) -> dict[str, np.ndarray]:
    """A state dict of SpyNet, without its buffers."""
    return golden_weights().make_state_dict({key: own.shape for key, own in spynet.counterparts.items()})
