"""A few frames with their spikes, and networks that restore them: what the tests of restoring share."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from skimage import data

from spikejax.config import defaults
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import write_picture
from spikejax.models.restorer import build_restorer
from spikejax.models.rngs import make_rngs
from spikejax.models.traits import NetworkTraits
from spikejax.training.checkpoint import Checkpoints
from spikejax.training.step import NetworkDescription, describe_network

FRAMES, HEIGHT, WIDTH, STEPS, BINS = 7, 36, 52, 8, 4
STATISTICS = {"bins": BINS, "mean": 0.5, "std": 0.25}
TILES = ["--tile", "4,24,32", "--overlap", "1,8,8"]


class Brighten(nnx.Module):
    """Stands in for a network: doubles the brightness, so that tiling must not show."""

    def __init__(self, spike_bins: int | None) -> None:
        self.spike_bins = spike_bins
        self.factor = nnx.Param(jnp.float32(2))

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, *, key: jax.Array | None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        assert key is None
        assert (voxels is None) == (self.spike_bins is None)
        return self.factor[...] * clip


def restorer_of(model: Brighten) -> VideoRestorer:
    """A stand-in with all it takes to restore, in small tiles."""
    return VideoRestorer(
        model,
        NetworkTraits(spike_bins=model.spike_bins),
        statistics=SpikeStatistics(BINS, STATISTICS["mean"], STATISTICS["std"], windows=1),
        tile=Extent(4, 24, 32),
        overlap=Extent(1, 8, 8),
        name="work",
    )


def write_inputs(folder: Path) -> Path:
    """Writes folders blur, sharp and spike, and returns where; the blurred frames have half the brightness."""
    for index in range(FRAMES):
        sharp = data.astronaut()[index : index + HEIGHT, :WIDTH] // 2 * 2
        for name, frame in (("sharp", sharp), ("blur", sharp // 2)):
            (folder / name).mkdir(exist_ok=True)
            write_picture(folder / name / f"{index:06d}.png", frame)
        write_dat(folder / "spike" / f"{index:06d}.dat", np.ones((STEPS, HEIGHT, WIDTH), np.uint8))
    write_config(folder, StreamConfig(HEIGHT, WIDTH))
    return folder


def read(path: Path) -> np.ndarray:
    """All frames of a folder or a video."""
    return np.stack(list(open_frames(path)))


def tiny_config(**spike: Any) -> ConfigDict:
    """The smallest real network; `spike` changes its branch."""
    config = defaults.get_config()
    config.model.vrt.update(
        dims=(4,) * 8,
        depths=(2,) * 7 + (1,),
        heads=(2,) * 8,
        independent=(),
        window=(2, 2, 2),
        deformable_groups=2,
        mutual_ratio=0.5,
    )
    config.model.spike.update({"bins": BINS, "channels": (4,) * 4, "heads": 2} | spike)
    return config


def save_random_network(workdir: Path, config: ConfigDict) -> tuple[NetworkDescription, Any]:
    """Writes a checkpoint of random parameters; making them by NumPy compiles nothing."""
    network = describe_network(lambda: build_restorer(config.model, rngs=make_rngs(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.standard_normal(leaf.shape), leaf.dtype), network.shapes)
    checkpoints = Checkpoints(workdir, config, statistics=STATISTICS)
    checkpoints.save_best(1, params, {"psnr_recon": 1.0})
    checkpoints.wait()
    checkpoints.close()
    return network, params
