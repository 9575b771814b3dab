"""Speed of the data's way from a file to the training step; see benchmark.py --data.

Every figure is a median. Decoding and simulating take one core, and their time is what that core spent on them, so that
other work on the machine changes little; the others are by the clock:

decode_voxelise_ms                   a window of 88x360x640 in a `.dat` file, counted in 32 bins
simulator_*_mpixel_steps_per_second  the spike camera: ideal, with shot noise of 20 photons, and with all noise
loader_clips_per_second              clips of 5x256x256 with 32 bins, made by two workers; in batches of one
wait_share                           of the quick start's training: time its loop waits for batches / all of its time
"""

import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from configs import quickstart
from spikejax.data.batches.loader import SampleDraws, train_loader
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.voxel_statistics import ensure_statistics
from spikejax.data.simulation.camera_settings import SensorNoise
from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.data.simulation.spike_camera import SpikeCamera
from spikejax.data.spikes.stream_files import read_packed
from spikejax.data.spikes.voxels import voxelise_packed
from spikejax.training import loop
from spikejax.training.inputs import open_inputs

WINDOW = (88, 360, 640)
BINS = 32
CLIP_FRAMES, CROP, WORKERS = 5, 256, 2
TRAINING_STEPS = 30
_CLIPS_AT_ONCE = 10  # more than the loader makes ahead
SHOT = SensorNoise(shot_photons=20.0)
ALL_NOISE = SensorNoise(shot_photons=20.0, threshold_variation=0.05, dark_rate=0.001, dark_variation=0.5)


def measure_data(root: Path | None, *, training: bool) -> dict[str, float]:
    """All figures.

    Args:
        root: data set that the loader reads; None = the embedded one, made for the purpose and without a voxel cache.
        training: whether to train for the last figure, which takes minutes.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = {"decode_voxelise_ms": 1000 * decode_voxelise_seconds(folder / "window.dat")}
        for label, noise in (("ideal", SensorNoise()), ("shot", SHOT), ("all_noise", ALL_NOISE)):
            figures[f"simulator_{label}_mpixel_steps_per_second"] = simulator_speed(noise) / 1e6
        figures["loader_clips_per_second"] = clips_per_second(root or embedded(folder / "data"))
        if training:
            figures["wait_share"] = wait_share(folder / "run")
        return figures


def median_seconds(function: Callable[[], Any], *, repeats: int, clock: Callable[[], float]) -> float:
    """Median time of a call, after one to compile and to touch the memory."""
    function()
    seconds = []
    for _ in range(repeats):
        start = clock()
        function()
        seconds.append(clock() - start)
    return statistics.median(seconds)


def decode_voxelise_seconds(path: Path) -> float:
    """From the file, which the system has in memory, to counts."""
    steps, height, width = WINDOW
    np.random.default_rng(0).integers(0, 256, steps * height * width // 8).astype(np.uint8).tofile(path)

    def count() -> None:
        voxelise_packed(read_packed(path, height=height, width=width), BINS)

    return median_seconds(count, repeats=31, clock=time.thread_time)


def simulator_speed(noise: SensorNoise) -> float:
    """Pixel steps a second under smooth light, as photographs have it."""
    steps, height, width = WINDOW
    rows, columns = np.linspace(0, 9, height, dtype=np.float32), np.linspace(0, 16, width, dtype=np.float32)
    picture = np.float32(0.25) * (2 + np.sin(rows)[:, None] + np.sin(columns))
    light = np.stack([np.roll(picture, step, axis=1) for step in range(steps)])
    camera = SpikeCamera(height, width, theta=1.0, noise=noise, rng=np.random.default_rng(0))
    return light.size / median_seconds(lambda: camera.expose(light), repeats=7, clock=time.thread_time)


def embedded(root: Path) -> Path:
    """The embedded data set, just large enough for the crops."""
    write_moving_photographs(root, train_sequences=2, val_sequences=1, frames=8, height=288, width=320, bins=BINS)
    return root


def clips_per_second(root: Path) -> float:
    """Clips that the loader delivers in the steady state."""
    ensure_statistics(root, bins=BINS)
    dataset = FolderDataset(root, "train", ClipSpec(frames=CLIP_FRAMES, bins=BINS, crop=CROP))
    loader = train_loader(dataset, SampleDraws(CROP), batch_size=1, seed=0, workers=WORKERS)

    def read() -> None:
        for _ in range(_CLIPS_AT_ONCE):
            next(loader)

    # The first call takes what was made ahead, and decodes the pictures of a small data set.
    return _CLIPS_AT_ONCE / median_seconds(read, repeats=5, clock=time.perf_counter)


class TimedLoader:
    """A loader that notes when it was asked and when it answered."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.times: list[tuple[float, float]] = []

    def __next__(self) -> Any:
        asked = time.perf_counter()
        batch = next(self._loader)
        self.times.append((asked, time.perf_counter()))
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


@contextlib.contextmanager
def timed_inputs() -> Iterator[list[TimedLoader]]:
    """Yields the loaders, timed, of trainings that are begun within the block."""
    loaders: list[TimedLoader] = []

    def opened(*arguments: Any, **options: Any) -> Any:
        inputs = open_inputs(*arguments, **options)
        loaders.append(TimedLoader(inputs.loader))
        return dataclasses.replace(inputs, loader=loaders[-1])

    with mock.patch.object(loop, "open_inputs", opened):
        yield loaders


def wait_share(workdir: Path) -> float:
    """Trains for some steps; what comes before the third batch, compiling above all, does not count."""
    config = quickstart.get_config()
    config.training.steps = config.training.checkpoint_every = config.validation.every = TRAINING_STEPS
    with timed_inputs() as loaders:
        loop.train(config, workdir)
    times = loaders[0].times[2:]
    print(f"wait: {len(times)} steps of {(times[-1][1] - times[0][0]) / len(times):.3f} s", file=sys.stderr)
    return sum(answered - asked for asked, answered in times) / (times[-1][1] - times[0][0])
