"""Tests of TFDS shards: they are written, read by TFDS's own ways, and give the folders' batches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikejax.config import defaults
from spikejax.data.datasets.clip_dataset import ClipSpec
from spikejax.data.datasets.folder_dataset import FolderDataset
from spikejax.data.datasets.layout import write_dropped
from spikejax.data.datasets.tfds_builder import write_tfds
from spikejax.data.datasets.tfds_dataset import TfdsDataset
from spikejax.errors import InputError
from spikejax.models.traits import NetworkTraits
from spikejax.training.inputs import data_root, open_inputs
from tests.data.conftest import write_root

# Of TensorFlow's own, and of what comes with it.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set in folders, with a sequence too short and one with a gap, and its shards; not to be changed."""
    folder = tmp_path_factory.mktemp("tfds")
    root = write_root(folder / "root", lengths=(4, 1, 5), ratio=2)
    write_root(folder / "root", lengths=(2,), ratio=2, split="val")
    (root / "train" / "s02" / "sharp" / "000002.png").unlink()
    write_dropped(root / "train", [])
    assert write_tfds(root, folder / "shards", bins=3) == folder / "shards" / "spike_deblurring" / "1.0.0"
    return root, folder / "shards"


@pytest.mark.parametrize("bins", [3, None])
def test_clips_are_the_folders(roots: tuple[Path, Path], bins: int | None) -> None:
    """Catches frames out of order, windows across sequences or gaps, and pictures that were encoded with a loss."""
    for split in ("train", "val"):
        folders = FolderDataset(roots[0], split, ClipSpec(frames=2, bins=bins, crop=8))
        shards = TfdsDataset(roots[1], split, ClipSpec(frames=2, bins=bins, crop=8))
        assert shards.statistics == folders.statistics and shards.sequences() == folders.sequences()
        assert [shards.size(index) for index in range(len(shards))] == [
            folders.size(index) for index in range(len(folders))
        ]
        for index in range(len(folders)):
            one, other = shards[index], folders[index]
            assert one.keys() == other.keys() and one["name"] == other["name"]
            for key in one.keys() - {"name"}:
                np.testing.assert_array_equal(one[key], other[key])


def test_training_gets_the_same_batches(roots: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches a source that changes the order, the crops or the statistics of a run."""
    config = defaults.get_config()
    config.data.update(dict(frames=2, crop=8, batch_size=3, workers=1, threshold_factor=2.0))
    inputs = []
    for source, root in zip(("folder", "tfds"), roots, strict=True):
        config.data.source, config.data.root = source, str(root)
        inputs.append(open_inputs(config, data_root(config, tmp_path), traits=NetworkTraits(spike_bins=3)))
    assert inputs[0].statistics == inputs[1].statistics and inputs[0].statistics is not None
    for _ in range(4):
        one, other = (next(source.loader) for source in inputs)
        for key in ("input", "sharp", "voxels"):
            np.testing.assert_array_equal(one[key], other[key])
    whole = [source.val_set.read_sequence("s00") for source in inputs]
    np.testing.assert_array_equal(whole[0]["voxels"], whole[1]["voxels"])


@pytest.mark.slow
def test_tfds_reads_them(roots: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches shards that only this package understands: by `tfds.data_source`, and as tfrecord by `tfds.load`."""
    import tensorflow_datasets as tfds

    write_tfds(roots[0], tmp_path, bins=3, file_format="tfrecord")
    examples = list(tfds.as_numpy(tfds.load("spike_deblurring", data_dir=tmp_path, split="train")))
    records = tfds.data_source("spike_deblurring", data_dir=roots[1], split="train")
    dataset = FolderDataset(roots[0], "train", ClipSpec(frames=1, bins=3))
    frames = [(run, number) for run in dataset.runs for number in range(len(run.frames))]
    assert len(examples) == len(records) == len(frames) == 9
    for example, record, (run, number) in zip(examples, records, frames, strict=True):
        stored = dataset.read_run(run, number, number + 1)
        for found in (example, record):
            assert found["sequence"].decode() == run.name and found["frame"].decode() == run.stems[number]
            for feature, key in (("blur", "input"), ("sharp", "sharp"), ("voxels", "voxels")):
                np.testing.assert_array_equal(found[feature], stored[key][0])


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda root, shards: TfdsDataset(shards, "train", ClipSpec(frames=2, bins=4)), "for 4 bins, found them for 3"),
        (lambda root, shards: TfdsDataset(shards, "test", ClipSpec(frames=2, bins=3)), "split test, found train, val"),
        (lambda root, shards: TfdsDataset(shards, "train", ClipSpec(frames=9, bins=3)), "sequences of 9 frames"),
        (lambda root, shards: TfdsDataset(root, "train", ClipSpec(frames=2, bins=3)), "expected TFDS shards"),
    ],
)
def test_bad_input(roots: tuple[Path, Path], use: Callable[[Path, Path], object], message: str) -> None:
    """Catches shards of other bins, and folders taken for shards."""
    with pytest.raises(InputError, match=message):
        use(*roots)


def test_shards_of_another_data_set(roots: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches old shards taken for those of a data set that has changed."""
    assert write_tfds(roots[0], roots[1], bins=3).is_dir()  # the same again: nothing to do
    other = write_root(tmp_path / "other", lengths=(2, 2), ratio=2)
    with pytest.raises(InputError, match="those of another data set"):
        write_tfds(other, roots[1], bins=3)
