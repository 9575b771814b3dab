"""State dicts of small networks."""

from pathlib import Path

import numpy as np
import pytest

from convert.networks import ConvertibleNetwork, get_network
from tests.models.conftest import golden_weights

FILES = Path(__file__).parent / "files"


def seen_everywhere(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Arrays of these shapes that take no memory."""
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}


@pytest.fixture(scope="session")
def spynet() -> ConvertibleNetwork:
    """The smallest network that has a PyTorch form of its own."""
    return get_network("spynet")


@pytest.fixture(scope="session")
def flow_weights(spynet: ConvertibleNetwork) -> dict[str, np.ndarray]:
    """A state dict of SpyNet, without its buffers."""
    return golden_weights().make_state_dict({key: place.shape for key, place in spynet.places.items()})
