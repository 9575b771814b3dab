"""One device and eight, tiles of their own and shared frames: the same answers. Runs in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.inference.compiled_network import use_devices
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.models.traits import NetworkTraits
from tests.stand_ins import Blur3D

DEVICES = 8


def compare_devices() -> None:
    """What the test's process does: raises unless the answers agree."""
    assert jax.device_count() == DEVICES
    restorer = VideoRestorer(Blur3D(), NetworkTraits(), tile=Extent(4, 24, 32), overlap=Extent(1, 8, 8))
    clip = np.random.default_rng(1).random((9, 50, 70, 3), np.float32)
    alone = restorer.restore(clip, devices=1)
    np.testing.assert_array_equal(restorer.restore(clip, devices=DEVICES), alone)
    np.testing.assert_array_equal(restorer.restore(clip, devices=3), alone)
    # 50 rows do not divide by 8.
    untiled = restorer.restore(clip, tile=(4, 0, 0), devices=1)
    shared = restorer.restore(clip, tile=(4, 0, 0), devices=DEVICES, space=True)
    np.testing.assert_allclose(shared, untiled, atol=1e-6)  # sums in another order
    assert np.abs(untiled - alone).max() > 1e-3  # tiles do matter to this network


@pytest.mark.slow
def test_one_device_and_eight_agree() -> None:
    """Catches tiles that are lost, doubled or put back elsewhere, and seams where devices share a frame."""
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"}
    program = "from tests.inference.test_devices import compare_devices; compare_devices()"
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


@pytest.mark.parametrize("count", [0, 1000])
def test_devices_that_are_not_there(count: int) -> None:
    """Catches a traceback for a number of devices that the machine has not."""
    with pytest.raises(InputError, match="expected 1 to"):
        use_devices(count)
