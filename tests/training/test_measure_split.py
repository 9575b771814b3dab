"""Measuring a split: every frame, and every metric in its column; tests/test_evaluate.py has the whole command."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax.config.keys import check_config
from spikejax.config.networks import PUBLISHED, published_model
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.simulation.moving_photographs import write_moving_photographs
from spikejax.models.traits import NetworkTraits
from spikejax.quality import metrics
from spikejax.training.degradation_config import degradation_of
from spikejax.training.measure_split import fitting_config, open_split
from spikejax.training.validation import validate
from tests.stand_ins import KnownTiles, trained_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two validation sequences of three frames."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    sizes: dict[str, Any] = dict(train_sequences=1, val_sequences=2, frames=3, height=32, width=40, max_motion=10.0)
    write_moving_photographs(folder, seed=1, bins=4, progress=False, **sizes)
    return folder


def test_every_frame_has_scores(root: Path) -> None:
    """Catches frames that are left out or counted twice where clips overlap, and those of another sequence."""
    dataset = FolderDataset(root, "val", ClipSpec(2))
    validation = validate(KnownTiles(lambda frames, counts: frames).restorer(), dataset)
    assert validation is not None
    assert list(validation.frames) == [name for name, _ in dataset.sequences()]
    for name, frames in validation.frames.items():
        clip = dataset.read_sequence(name)
        pairs = zip(metrics.to_uint8(clip["input"]), metrics.to_uint8(clip["sharp"]), strict=True)
        assert [frame["psnr_recon"] for frame in frames] == pytest.approx([metrics.psnr(*pair) for pair in pairs])


def test_counts_are_normalised_as_the_network_wants(root: Path) -> None:
    """Catches a network that is measured on other voxels than it was trained with."""
    statistics = {"bins": 4, "mean": 0.4, "std": 0.5}
    for way in ("statistics", "clip"):
        traits = NetworkTraits(spike_bins=4, spike_normalise=way)
        trained = trained_of(traits, root, statistics)
        dataset = open_split(trained, root, "val", threshold_factor=2.0)
        (name, _), *_ = dataset.sequences()
        counts = np.expm1(dataset.read_sequence(name)["voxels"].astype(np.float64) * 0.5 + 0.4)
        assert (abs(counts.mean() - np.expm1(0.4)) < 1e-4) == (way == "clip")


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_the_input_that_weights_are_for(name: str) -> None:
    """Catches a published network that is measured on the input of another, or with clips that it cannot take."""
    model = published_model(name).to_dict()
    traits = NetworkTraits(
        upscale=model["vrt"]["upscale"],
        interpolates=model["vrt"]["warp_frames"] == 0,
        noise_level=model["vrt"]["noise_map"],
        window=model["vrt"]["window"][0],
    )
    config = fitting_config(model, traits)
    check_config(config, paths=False)
    degradation = degradation_of(config, traits, validation=True)
    made = PUBLISHED[name].degradation
    assert degradation.kind == ("none" if made in ("bicubic", "gaussian") else made)
    assert config.model.to_dict() == model
