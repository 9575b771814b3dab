"""The files of a workdir: what stands for one, whether it can be written, and which configurations go on with it."""

from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from spikejax.config.files import holds_checkpoint, save_config
from spikejax.errors import InputError
from spikejax.io.weights import Weights, write_weights
from spikejax.training.workdir import BEST, CHECKPOINTS, CONFIG_FILE, LAST, check_workdir, check_writable, is_workdir
from tests.fake_bucket import FakeBucket


def test_workdirs_and_weights(tmp_path: Path, config: ConfigDict) -> None:
    """Catches weights that are searched for a configuration, and a workdir that is read as weights."""
    weights = Weights("spynet", None, {"a": np.zeros(1, np.float32)})
    write_weights(tmp_path / "folder", weights)
    write_weights(tmp_path / "file.safetensors", weights)
    (tmp_path / "empty").mkdir()
    save_config(config, tmp_path / "run.safetensors" / CONFIG_FILE)
    (tmp_path / "checkpoint.pth").write_bytes(b"")
    names = ("folder", "file.safetensors", "nowhere.safetensors", "checkpoint.pth")
    assert not any(is_workdir(tmp_path / name) for name in names)
    assert all(is_workdir(tmp_path / name) for name in ("empty", "nowhere", "run.safetensors"))


def test_what_cannot_be_written_is_said_and_left_as_it_is(tmp_path: Path) -> None:
    """Catches a run that fails after minutes of compiling, and a probe that stays behind."""
    check_writable(tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a folder to write to, found .*: .*/file"):
        check_writable(tmp_path / "file")


def test_a_run_goes_on_with_its_own_configuration(tmp_path: Path, config: ConfigDict) -> None:
    """Catches other numbers under an old name, and a run that cannot go on because it is logged more often."""
    save_config(config, tmp_path / CONFIG_FILE)
    config.training.log_every, config.optimizer.clip_norm = 7, 0.5
    assert check_workdir(tmp_path, config) == []  # there is nothing to go on from
    (tmp_path / CHECKPOINTS / LAST / "4").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds a run of another configuration \(optimizer.clip_norm: 1.0 -> 0.5\)"):
        check_workdir(tmp_path, config)
    assert check_workdir(tmp_path, config, allow_changes=True) == ["optimizer.clip_norm: 1.0 -> 0.5"]
    config.optimizer.clip_norm = 1.0
    assert check_workdir(tmp_path, config) == []


@pytest.mark.parametrize("folder", [LAST, BEST])
@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_a_first_save_that_was_cut_off_is_no_run(
    tmp_path: Path, bucket: FakeBucket, config: ConfigDict, folder: str, where: str
) -> None:
    """Catches half a checkpoint that binds a run to its configuration, and a path that nobody needs any more."""
    local = bucket.folder / "run" if where == "bucket" else tmp_path / "run"
    workdir = "gs://bucket/run" if where == "bucket" else str(local)
    save_config(config, local / CONFIG_FILE)
    config.optimizer.clip_norm = 0.5
    saved = local / CHECKPOINTS / folder
    names = {"disk": ["4.orbax-checkpoint-tmp", "4.damaged"], "bucket": ["4"]}[where]
    for name in names:
        (saved / name).mkdir(parents=True)
        (saved / name / "_CHECKPOINT_METADATA").write_text("{}")
    assert check_workdir(workdir, config) == [] and not holds_checkpoint(workdir)
    (saved / "4").mkdir(exist_ok=True)
    if where == "bucket":
        (saved / "4" / "commit_success.txt").write_text("")
    assert holds_checkpoint(workdir) == (folder == LAST)
    with pytest.raises(InputError, match="holds a run of another configuration"):
        check_workdir(workdir, config)
