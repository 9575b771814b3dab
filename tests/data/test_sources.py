"""Tests of choosing the kind of data set by a name."""

from pathlib import Path

import numpy as np
import pytest

from spikejax.config import defaults
from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.tfds_dataset import TfdsDataset
from spikejax.data.sources import DATASETS, find_dataset, open_dataset
from spikejax.errors import InputError
from spikejax.models.traits import NetworkTraits
from spikejax.training.inputs import data_root, open_inputs
from tests.data.conftest import write_root

TOY = '''
"""A few random frames of 16x16 with counts of 8x8, the same at every reading."""

from dataclasses import dataclass

import numpy as np

from spikejax.data.datasets.clip_dataset import ClipDataset


@dataclass(frozen=True)
class Noise:
    name: str = "noise"
    height: int = 16
    width: int = 16
    ratio: int = 2
    stems: tuple = ("a", "b", "c", "d")


class Toy(ClipDataset):
    needs_root = False

    def __init__(self, root, split, spec):
        super().__init__([Noise()], spec)

    def read_frames(self, run, start, stop, box):
        rng = np.random.default_rng(0)
        pictures = rng.integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)[(slice(start, stop), *box.slices)]
        clip = {"input": pictures, "sharp": pictures}
        if self.spec.bins is not None:
            counts = rng.integers(0, 5, (4, 8, 8, self.spec.bins)).astype(np.uint8)
            clip["voxels"] = counts[(slice(start, stop), *(box // run.ratio).slices)]
        return clip


def function(root, split, spec):
    """Not a class."""


class Other:
    """Another class."""
'''


@pytest.fixture
def toy(tmp_path: Path) -> str:
    """The name of a data set that a file outside of the package holds."""
    path = tmp_path / "toy.py"
    path.write_text(TOY)
    return f"{path}:Toy"


def test_a_data_set_of_the_users(toy: str, tmp_path: Path) -> None:
    """Catches a kind of data set that needs a change of the package, in training, standardising or cropping."""
    config = defaults.get_config()
    config.data.source, config.data.frames, config.data.batch_size, config.data.crop = toy, 2, 3, 8
    config.data.workers = 0
    root = data_root(config, tmp_path)
    inputs = open_inputs(config, root, traits=NetworkTraits(spike_bins=3))
    counts = np.stack([inputs.train_set.read_stored(index)["voxels"] for index in (0, 2)]).astype(np.float64)
    logarithms = np.log1p(counts)  # of all four frames
    assert inputs.statistics is not None and inputs.statistics["windows"] == 4
    found = inputs.statistics["mean"], inputs.statistics["std"]
    assert found == pytest.approx((logarithms.mean(), logarithms.std()), rel=1e-9)
    batch = next(inputs.loader)
    assert batch["input"].shape == batch["sharp"].shape == (3, 2, 8, 8, 3) and batch["voxels"].shape == (3, 2, 4, 4, 3)
    values = {round(float(value), 4) for value in np.unique(batch["voxels"])}
    expected = (np.log1p(np.arange(5)) - found[0]) / found[1]
    assert values == {round(float(value), 4) for value in expected}
    assert inputs.val_set.sequences() == [("noise", 4)] and inputs.val_set.dropped == ()


def test_names_of_the_table(tmp_path: Path) -> None:
    """Catches a name that opens another kind of data set, and one that is there under no name."""
    root = write_root(tmp_path / "root")
    dataset = open_dataset("folder", root, "train", ClipSpec(2, 3))
    assert type(dataset) is FolderDataset and len(dataset) == 5
    assert find_dataset("tfds") is TfdsDataset
    needing = {name for name, kind in DATASETS.items() if kind.needs_root}
    assert needing == {"folder", "tfds"} and all(issubclass(kind, ClipDataset) for kind in DATASETS.values())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "folders",
            "data.source: expected one of folder, tfds, .*NAME, found 'folders'; did you mean 'folder'",
        ),
        ("{toy}s", "data.source: expected Toys to be defined"),
        ("{file}:function", "data.source: expected type, found function"),
        ("{file}:Other", "data.source: expected a class derived from ClipDataset, found Other"),
    ],
)
def test_other_names_are_refused(toy: str, name: str, message: str) -> None:
    """Catches a misspelt source, and code that is no data set, which would fail in the middle of a training."""
    with pytest.raises(InputError, match=message):
        find_dataset(name.format(toy=toy, file=toy.rpartition(":")[0]))
