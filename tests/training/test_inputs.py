"""What a run trains on: what its seeds decide, and the embedded data set filmed by other cameras."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.data.batches import loader
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.simulation.camera_settings import SensorNoise
from spikejax.errors import InputError
from spikejax.models.traits import NetworkTraits
from spikejax.training import inputs
from spikejax.training.inputs import data_root, embedded_data, open_inputs
from tests.stand_ins import tiny_config

NOISE = SensorNoise(shot_photons=10, dark_rate=0.05)


def test_runs_of_one_data_seed_see_the_same_batches(tmp_path: Path) -> None:
    """Catches batches or scenes that follow the seed of the weights: variants would be compared on other data."""
    batches = []
    for seed, data_seed, folder in ((1, 7, "a"), (2, 7, "a"), (7, -1, "a"), (2, -1, "b")):
        config = tiny_config()
        config.seed, config.data.seed = seed, data_seed
        opened = open_inputs(config, tmp_path / folder, traits=NetworkTraits(spike_bins=4))
        batches.append((next(opened.loader), opened.names(0)))
    for name in ("input", "sharp", "voxels"):
        for other in (1, 2):
            np.testing.assert_array_equal(batches[0][0][name], batches[other][0][name])
        assert not np.array_equal(batches[0][0][name], batches[3][0][name])
    assert batches[0][1] == batches[1][1] == batches[2][1]


@pytest.mark.parametrize(("workers", "expected"), [(-1, 7), (0, 0), (3, 3)])
def test_workers(workers: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches two threads that are to feed an accelerator on a machine of many CPUs, and a choice that is not kept."""
    threads = []
    make = loader.train_loader

    def counting(*arguments: Any, workers: int, **options: Any) -> Any:
        threads.append(workers)
        return make(*arguments, workers=workers, **options)

    monkeypatch.setattr(loader, "train_loader", counting)
    monkeypatch.setattr(inputs, "cpu_count", lambda: 7)
    config = tiny_config()
    config.data.workers = workers
    batch = next(open_inputs(config, tmp_path, traits=NetworkTraits(spike_bins=4)).loader)
    assert threads == [expected] and batch["input"].shape == (2, 2, 16, 16, 3)


def test_a_data_set_is_known_by_its_clips(tmp_path: Path) -> None:
    """Catches a data set that lacks a picture and looks like the whole one, and one that looks other in another run."""
    config = tiny_config()

    def identity() -> dict[str, int]:
        return open_inputs(config, tmp_path, traits=NetworkTraits(spike_bins=4)).identity

    whole = identity()
    assert identity() == whole
    picture = next(tmp_path.glob("train/*/blur/000000.png"))
    picture.rename(tmp_path / "away.png")
    assert identity()["clips"] == whole["clips"] - 1
    (tmp_path / "away.png").rename(picture)
    assert identity() == whole


def test_counts_are_normalised_as_the_network_wants(tmp_path: Path) -> None:
    """Catches a training or a validation whose voxels are made in another way than when the network restores."""
    config = tiny_config()
    plain, own = (
        open_inputs(config, tmp_path, traits=NetworkTraits(spike_bins=4, spike_normalise=way))
        for way in ("statistics", "clip")
    )
    assert own.statistics is not None and own.statistics == plain.statistics
    for voxels in (next(own.loader)["voxels"], own.val_set[0]["voxels"][None]):
        counts = np.expm1(voxels.astype(np.float64) * own.statistics["std"] + own.statistics["mean"])
        np.testing.assert_allclose(counts.mean(axis=(1, 2, 3, 4)), np.expm1(own.statistics["mean"]), rtol=1e-4)
    assert abs(next(own.loader)["voxels"] - next(plain.loader)["voxels"]).max() > 0.1


def test_the_embedded_scenes_filmed_with_noise(tmp_path: Path) -> None:
    """Catches other scenes or pictures than the run's own, spikes without noise, and noises that share a folder."""
    config = tiny_config()
    own = embedded_data(config, tmp_path)
    noisy = embedded_data(config, tmp_path, NOISE)
    other = embedded_data(config, tmp_path, SensorNoise(shot_photons=11))
    assert len({own, noisy, other}) == 3 and embedded_data(config, tmp_path, NOISE) == noisy
    sets = [FolderDataset(root, "val", ClipSpec(3, 4)) for root in (own, noisy)]
    assert sets[0].sequences() == sets[1].sequences()
    clips = [dataset.read_run(dataset.runs[0], 0, 3) for dataset in sets]
    for name in ("input", "sharp"):
        np.testing.assert_array_equal(clips[0][name], clips[1][name])
    counts, noisy_counts = (clip["voxels"].astype(float) for clip in clips)
    assert abs(noisy_counts - counts).mean() > 0.5
    # 16 steps a bin, with 0.05 spikes a step more.
    assert 0.6 < (noisy_counts - counts).mean() < 1.0


def test_noise_for_other_data(tmp_path: Path) -> None:
    """Catches the embedded scenes written, and measured on, for a run of somebody's own data."""
    config = tiny_config()
    config.data.source, config.data.root = "folder", str(tmp_path)
    assert data_root(config, tmp_path / "run") == tmp_path
    with pytest.raises(InputError, match=r"^expected data.source moving_photographs.*found 'folder'.*simulate"):
        embedded_data(config, tmp_path / "noisy", NOISE)
    assert not (tmp_path / "noisy").exists()
