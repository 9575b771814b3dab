"""Trying a run before it begins: what it needs, and whether it goes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikejax import train
from spikejax.errors import InputError
from spikejax.quality.losses import as_loss
from spikejax.training import dry_run
from spikejax.training.dry_run import FirstClip, compile_only, try_run
from tests.stand_ins import build_stand_in, tiny_config


def test_one_update_and_one_clip(tmp_path: Path) -> None:
    """Catches a check that trains the run, validates all of it, or leaves a checkpoint that the run continues from."""
    lines: list[str] = []
    try_run(tiny_config(), tmp_path / "run", build=build_stand_in, note=lines.append)
    assert [line.partition(":")[0] for line in lines[-5:]] == [
        "network",
        "data",
        "one update",
        "one clip validated",
        "the check is done; nothing of it is kept",
    ]
    assert re.search(r"one clip validated: PSNR \d+\.\d\d -> \d+\.\d\d dB", "\n".join(lines))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [
        "data"
    ]  # the embedded data set, which the run takes


def test_a_loss_that_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a run that is said to go, and stops at its first update."""
    broken = as_loss({"broken": lambda restored, batch: np.nan * restored.mean()}, abstract=False)
    monkeypatch.setattr(dry_run, "make_loss", lambda *arguments, **options: broken)
    with pytest.raises(FloatingPointError, match="expected a finite loss of the first update, found nan"):
        try_run(tiny_config(), tmp_path / "run", build=build_stand_in)


def test_memory_of_the_step_and_of_a_tile() -> None:
    """Catches memory of whole frames where validation is cut into tiles, and a check that needs the data."""
    config = tiny_config()
    config.restore.tile, config.restore.overlap = (5, 32, 48), (2, 8, 8)
    config.data.root = "/nowhere"
    lines: list[str] = []
    compile_only(config, build=build_stand_in, note=lines.append)
    step, tile = lines[-2:]
    assert step.startswith("training step, 2 clips of 2,16,16: ") and "a device" in step
    assert re.match(r"validation, a tile of 2,32,48 for each device: [\d.]+ [kM]B a device, ", tile)


def test_the_command_compiles_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a memory that can be asked for only where the data lies, and a run that begins without any."""
    asked: list[str] = []
    monkeypatch.setattr(dry_run, "compile_only", lambda config: asked.append(config.data.root))
    arguments = ["--config", "vrt:006", "--workdir", str(tmp_path / "run"), "--config.data.root=/nowhere"]
    train.main([*arguments, "--check=compile"])
    assert asked == ["/nowhere"]
    for check in ([], ["--check"]):
        with pytest.raises(InputError, match="data.root: expected a folder, found none: /nowhere"):
            train.main([*arguments, *check])


def test_a_configuration_that_does_not_fit(tmp_path: Path) -> None:
    """Catches minutes of compiling before a wrong key shows."""
    config = tiny_config()
    config.data.batch_size = 0
    for check in (lambda: compile_only(config), lambda: try_run(config, tmp_path)):
        with pytest.raises(InputError, match="data.batch_size"):
            check()


def test_the_first_clip_is_as_long_as_one() -> None:
    """Catches a check that validates a sequence of thousands of frames."""

    class Long:
        def sequences(self) -> list[tuple[str, int]]:
            return [("a", 9000), ("b", 3)]

        def read_stored_sequence(self, name: str, start: int = 0, stop: int | None = None) -> dict[str, Any]:
            return {"input": (name, start, stop)}

    clip = FirstClip(Long(), 6)
    assert clip.sequences() == [("a", 6)]
    assert clip.read_stored_sequence("a", 0, 6) == {"input": ("a", 0, 6)}
