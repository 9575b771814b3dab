"""What a user's path leads to, wherever one is taken."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

import spikejax
from spikejax.config import defaults
from spikejax.config.keys import KEYS, check_config
from spikejax.config.value_rules import PathName
from spikejax.data.datasets.clip_dataset import ClipDataset, ClipSpec
from spikejax.data.sources import open_dataset
from spikejax.errors import InputError
from spikejax.inference.restore_options import RestoreOptions
from spikejax.io.box import Box
from spikejax.io.frame_source import open_frames
from spikejax.io.paths import local_only, scheme_of, walk_folders
from spikejax.io.weights import Weights, read_weights, write_weights
from spikejax.training.inputs import data_root
from spikejax.training.loop import train
from spikejax.training.trained_params import load_for_inference, read_params
from tests.fake_bucket import FakeBucket

BUCKET, OTHER_BUCKET = "gs://bucket/run", "abfs://bucket/run"


class OwnDataset(ClipDataset):
    """A kind of somebody's own, which says nothing of buckets."""

    def read_frames(self, run: Any, start: int, stop: int, box: Box) -> dict[str, np.ndarray]:
        """Not called."""
        raise AssertionError


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("gs://bucket/run", "gs"),
        ("S3://bucket/run", "s3"),
        ("https://example.com/a.png", "https"),
        ("file:///run", "file"),
        (Path("gs://bucket/run"), "gs"),  # of which `Path` has made gs:/bucket/run
        ("/run", None),
        ("C:/run", None),
        (r"C:\run", None),
        ("./gs:/run", None),
        ("runs/a:/b", None),
        ("mine.py:006", None),
        ("", None),
    ],
    ids=str,
)
def test_schemes(path: Any, scheme: str | None) -> None:
    """Catches a bucket taken for a folder of this machine, and a drive or a folder taken for a bucket."""
    assert scheme_of(path) == scheme
    if scheme is None:
        assert local_only(path) == Path(path)
    else:
        with pytest.raises(InputError, match=r"^--data: expected a path on this machine's disks \(.*\), found "):
            local_only(path, what="--data")


@pytest.mark.parametrize(
    "use",
    [
        spikejax.load,
        load_for_inference,
        read_params,
        read_weights,
        lambda path: train(defaults.get_config(), path),
        open_frames,
        lambda path: open_dataset("folder", path, "val", ClipSpec(2, None)),
        lambda path: RestoreOptions(network=path, input="in", output="out"),
    ],
)
def test_a_bucket_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[str], Any]
) -> None:
    """Catches a kind of bucket that is taken for one of ours, or for a folder s3: in the working directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"expected a path on .* disks, or gs://.* or s3://.*, found {OTHER_BUCKET}"):
        use(OTHER_BUCKET)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "use",
    [
        lambda path: write_weights(path, Weights("spynet", None, {})),
        lambda path: open_dataset("moving_photographs", path, "val", ClipSpec(2, None)),
        lambda path: open_dataset("tfds", path, "val", ClipSpec(2, None)),
        lambda path: open_dataset(OwnDataset, path, "val", ClipSpec(2, None)),
        lambda path: RestoreOptions(network="net", input="in", output=path),
        lambda path: RestoreOptions(network="net", input="in", output="out", spikes=path),
    ],
)
def test_a_bucket_is_refused_where_only_disks_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[str], Any]
) -> None:
    """Catches a folder named gs: in the working directory, and a message about a path that nobody gave."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"expected a path on this machine's disks .*, found {BUCKET}"):
        use(BUCKET)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("key", [key for key, row in KEYS.items() if isinstance(row.rule, PathName)])
def test_a_bucket_in_a_configuration_is_refused(tmp_path: Path, key: str) -> None:
    """Catches a key whose file or folder is looked for below the working directory."""
    config = defaults.get_config()
    config.data.root = str(tmp_path)
    section, name = key.rsplit(".", 1)
    part = config
    for level in section.split("."):
        part = part[level]
    part[name] = OTHER_BUCKET
    with pytest.raises(InputError, match=f"^{key}: expected a .* on this machine's disks.*, found {OTHER_BUCKET}$"):
        check_config(config)
    check_config(config, paths=False)  # planning reads nothing there


def test_which_data_sets_of_a_configuration_may_be_in_a_bucket(tmp_path: Path, bucket: FakeBucket) -> None:
    """Catches a folder in a bucket that is refused, or taken for one of a kind that cannot be read there."""
    config = defaults.get_config()
    config.data.source, config.data.root, config.data.crop = "folder", "gs://bucket/data", 64
    with pytest.raises(InputError, match="^data.root: expected a folder, found none: gs://bucket/data"):
        check_config(config)
    (bucket.folder / "data").mkdir()
    check_config(config)
    assert data_root(config, tmp_path) == epath.Path("gs://bucket/data")
    for source in ("tfds", "moving_photographs", "moving_scenes"):
        config.data.source = source
        with pytest.raises(InputError, match="^data.root: expected a folder on this machine's disks, found gs:"):
            check_config(config)
        with pytest.raises(InputError, match="^data.root: expected a path on this machine's disks"):
            data_root(config, tmp_path)


def test_a_tree_with_links(tmp_path: Path) -> None:
    """Catches a walk without an end along links that lead back, links elsewhere that are left out, and hidden files."""
    (tmp_path / "tree" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("tree/a/1.png", "tree/a/.hidden.png", "elsewhere/2.png"):
        (tmp_path / name).touch()
    (tmp_path / "tree" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree" / "a" / "up").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "x.lmdb").mkdir()
    walked = {
        folder.relative_to(tmp_path / "tree").as_posix(): names for folder, names in walk_folders(tmp_path / "tree")
    }
    assert walked == {".": [], "a": ["1.png"], "b": ["2.png"], "x.lmdb": []}
    left = [folder.name for folder, _ in walk_folders(tmp_path / "tree", left_out=".lmdb")]
    assert sorted(left) == ["a", "b", "tree"]
