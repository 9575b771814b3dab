from pathlib import Path

import pytest

from spikejax.data.simulation.camera_settings import CameraSettings
from spikejax.data.simulation.moving_photographs import write_moving_photographs


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, not to be changed."""
    folder = tmp_path_factory.mktemp("view") / "data"
    camera = CameraSettings(steps_per_frame=24, spike_scale=2)
    sizes = dict(train_sequences=2, val_sequences=1, frames=3, height=64, width=80)
    write_moving_photographs(folder, camera=camera, bins=8, workers=1, progress=False, **sizes)
    return folder
