"""Compiled steps in files: the same numbers after reading, and nothing of a file is run that is not this run's own."""

import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from spikejax.errors import InputError
from spikejax.io.disk_space import is_full_disk
from spikejax.training.kept_step import check_step, kept_file, read_step, save_step, write_step
from tests.file_limit import files_up_to

IDENTITY = {"jax": "1", "source": "abc", "devices": "1 cpu", "model.dims": "(1, 2)"}


def arguments() -> tuple[Any, Any, Any]:
    """(State, batch, loss) of a step that a line computes, on a mesh."""
    everywhere = NamedSharding(jax.make_mesh((1,), ("data",)), PartitionSpec())
    state = {"kernel": jnp.linspace(0, 1, 12, dtype=jnp.float32).reshape(3, 4), "step": jnp.zeros((), jnp.int32)}
    return jax.device_put((state, {"input": jnp.linspace(-1, 1, 3)}, {}), everywhere)


@pytest.fixture
def compiled() -> Any:
    """The step, which no process has compiled before: what JAX reads from its cache cannot be kept."""
    unique = float(time.time_ns() % 2**20)

    def step(state: Any, batch: Any, loss: Any) -> Any:
        error = jnp.tanh(batch["input"] @ state["kernel"])
        changed = {"kernel": state["kernel"] - jnp.outer(batch["input"], error), "step": state["step"] + 1}
        return changed, {"loss": jnp.sum(error**2) + unique, "loss/a": error[0]}

    state, batch, loss = arguments()
    return jax.jit(step, donate_argnums=0).lower(state, batch, loss).compile()


@pytest.fixture
def file(compiled: Any, tmp_path: Path) -> Path:
    """The step in a file."""
    path = tmp_path / "step.bin"
    write_step(path, compiled, IDENTITY, arguments()[0], forward_flops=12.0)
    return path


def test_a_read_step_computes_the_same(file: Path, compiled: Any) -> None:
    """Catches outputs in another order, a state that is not donated, and counted operations that are lost."""
    check_step(file, IDENTITY)
    kept = read_step(file, IDENTITY, arguments())
    assert kept.forward_flops == 12.0
    state, batch, loss = arguments()
    wanted = compiled(*arguments())
    given = kept.call(state, batch, loss)
    jax.tree.map(np.testing.assert_array_equal, given, wanted)
    assert state["kernel"].is_deleted() and given[1].keys() == {"loss", "loss/a"}


def test_another_runs_is_refused_by_name(file: Path) -> None:
    """Catches a program of other versions or another network that is run, and a refusal that does not say why."""
    other = IDENTITY | {"source": "def", "model.dims": "(1, 3)"}
    expected = r"source def, found abc; model.dims \(1, 3\), found \(1, 2\): "
    for refuse in (lambda: check_step(file, other), lambda: read_step(file, other, arguments())):
        with pytest.raises(InputError, match=expected):
            refuse()
    with pytest.raises(InputError, match="loss.terms none, found 7"):
        write_identity(file, IDENTITY | {"loss.terms": "7"})
        check_step(file, IDENTITY)


def write_identity(file: Path, identity: dict[str, str]) -> None:
    """Puts another identity into a file."""
    magic, line, program = file.read_bytes().split(b"\n", 2)
    header = json.loads(line) | {"identity": identity}
    file.write_bytes(b"\n".join((magic, json.dumps(header).encode(), program)))


@pytest.mark.parametrize("at", [0, 30, 200, -1, -3000])
@pytest.mark.parametrize("kind", ["bit", "cut"])
def test_damage_is_seen_before_anything_is_loaded(
    at: int, kind: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches native code, or a pickle, of a damaged file that is loaded all the same."""
    content = bytearray(file.read_bytes())
    if kind == "bit":
        content[at] ^= 4
    else:
        del content[at:]
    file.write_bytes(content)
    monkeypatch.setattr("jax.experimental.serialize_executable.deserialize_and_load", pytest.fail)
    with pytest.raises(InputError, match=str(file)):
        read_step(file, IDENTITY, arguments())
    if kind == "cut":  # is seen before the data are opened
        with pytest.raises(InputError, match=str(file)):
            check_step(file, IDENTITY)


def test_a_file_that_others_may_write_to_is_not_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches code of other users that is run."""
    monkeypatch.setattr("jax.experimental.serialize_executable.deserialize_and_load", pytest.fail)
    file.chmod(0o666)
    with pytest.raises(InputError, match="expected a file that only its owner may write to, found mode 666"):
        read_step(file, IDENTITY, arguments())
    file.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InputError, match="expected a file of user"):
        check_step(file, IDENTITY)


def test_what_is_no_file_is_refused(tmp_path: Path, compiled: Any) -> None:
    """Catches a traceback, or reading without end, for a folder, a pipe, nothing, or a place that takes no file."""
    os.mkfifo(tmp_path / "pipe")
    for name, found in (("", "a folder"), ("none", "none"), ("pipe", "none")):
        with pytest.raises(InputError, match=f"found {found}"):
            check_step(tmp_path / name, IDENTITY)
    (tmp_path / "text").write_text("a text\n")
    with pytest.raises(InputError, match="found another"):
        check_step(tmp_path / "text", IDENTITY)
    with pytest.raises(InputError, match="expected a file to write to"):
        save_step(tmp_path / "text" / "step.bin", compiled, IDENTITY, arguments()[0], forward_flops=None)


def test_a_newer_installation_takes_the_place_of_the_older(tmp_path: Path) -> None:
    """Catches a cache that grows with every change of the source, and runs that take each other's places."""
    file = kept_file(tmp_path, IDENTITY)
    assert kept_file(tmp_path, IDENTITY | {"source": "def", "jax": "2"}) == file
    assert kept_file(tmp_path, IDENTITY | {"model.dims": "(1, 3)"}) != file


def test_a_step_of_another_kind_is_not_kept(compiled: Any, tmp_path: Path) -> None:
    """Catches a step whose outputs would come back under other names."""
    with pytest.raises(ValueError, match="something else than a state"):
        write_step(tmp_path / "x", compiled, IDENTITY, {"kernel": 0}, forward_flops=None)
    assert not any(tmp_path.iterdir())


def test_no_room_for_a_step(compiled: Any, tmp_path: Path) -> None:
    """Catches a full disk that a plan takes for a file that cannot be written, and half of a program in its place."""
    path = tmp_path / "step.bin"
    with files_up_to(1000), pytest.raises(OSError, match="step.bin") as caught:
        save_step(path, compiled, IDENTITY, arguments()[0], forward_flops=None)
    assert is_full_disk(caught.value) and caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []
