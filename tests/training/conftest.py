"""The stand-in and its tiny runs, as fixtures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict

from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.models.rngs import make_rngs
from spikejax.training.step import Build, NetworkDescription, describe_network
from tests.stand_ins import build_stand_in, tiny_batch, tiny_config


@pytest.fixture
def config() -> ConfigDict:
    """See `tiny_config`."""
    return tiny_config()


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small data set for all runs."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    sizes: dict[str, Any] = dict(train_sequences=2, val_sequences=2, frames=3, height=32, width=40, max_motion=10.0)
    write_moving_photographs(folder, seed=123, bins=4, progress=False, **sizes)
    return folder


@pytest.fixture
def run_config(config: ConfigDict, root: Path) -> ConfigDict:
    """The tiny run on that data set."""
    config.data.source, config.data.root = "folder", str(root)
    return config


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    """See `tiny_batch`."""
    return tiny_batch()


@pytest.fixture
def network(config: ConfigDict) -> NetworkDescription:
    """The stand-in, described."""
    return describe_network(lambda: build_stand_in(config.model.to_dict(), rngs=make_rngs(config.seed)))


@pytest.fixture
def build() -> Build:
    """What makes the stand-in, for functions that are told how."""
    return build_stand_in
