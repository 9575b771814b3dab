"""`python -m spikejax.export`: what leaves a workdir restores as the workdir does."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import spikejax
from convert.__main__ import main as convert
from convert.array_files import read_arrays, write_arrays
from convert.convertible_networks import network_of
from spikejax.errors import InputError
from spikejax.export import main
from spikejax.io.weights import Weights, describe_weights, flatten_params, read_weights
from spikejax.training.initial_state import start_from
from spikejax.training.step import TrainState
from spikejax.training.trained_params import read_network
from tests.hub.conftest import hub as hub
from tests.hub.hub_server import FakeHub, commit_of
from tests.inference.small_input import BINS, save_random_network, tiny_config

TILE = (3, 16, 24)
# Nothing of ours is imported: JAX alone reads the file, and restores.
PLAIN = """
import sys
import numpy as np
from jax import export
program = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
arrays = np.load(sys.argv[2])
np.save(sys.argv[3], program.call(arrays["frames"], arrays["counts"]))
assert not [name for name in sys.modules if name.startswith(("spikejax", "convert", "flax"))]
print(*program.platforms)
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with spikes and random parameters."""
    folder = tmp_path_factory.mktemp("export") / "work"
    save_random_network(folder, tiny_config())
    return folder


def clip() -> tuple[np.ndarray, np.ndarray]:
    """Frames, and counts of spikes at half their size."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (*TILE, 3), np.uint8), rng.integers(0, 5, (3, 8, 12, BINS)).astype(np.uint16)


@pytest.mark.slow
def test_a_file_of_weights(workdir: Path, tmp_path: Path) -> None:
    """Catches parameters, statistics, tiles or the model that do not leave the workdir, or not bit for bit."""
    main(["--workdir", str(workdir), "--which", "best", "--output", str(tmp_path / "a.safetensors")])
    own, exported = read_network(workdir, which="best_psnr"), read_weights(tmp_path / "a.safetensors")
    assert jax.tree.all(jax.tree.map(np.array_equal, own.params, exported.params))
    assert exported.statistics == own.statistics
    assert exported.restore is not None
    assert exported.training is not None
    assert exported.training["checkpoint"].startswith("best_psnr/")
    frames, counts = clip()
    answers = [
        spikejax.load(path).restore(frames, counts=counts, tile=TILE, overlap=(0, 0, 0), devices=1)
        for path in (workdir, tmp_path / "a.safetensors")
    ]
    np.testing.assert_array_equal(*answers)
    with pytest.raises(InputError, match=r"expected a new file .*a.safetensors"):
        main(["--workdir", str(workdir), "--output", str(tmp_path / "a.safetensors")])


@pytest.mark.slow
def test_a_file_for_pytorch(workdir: Path, tmp_path: Path) -> None:
    """Catches a state dict that is not what the network's parameters are, bit for bit."""
    main(["--workdir", str(workdir), "--which", "best", "--output", str(tmp_path / "a.pth")])
    own = read_network(workdir, which="best_psnr")
    again = network_of(own).from_torch(read_arrays(tmp_path / "a.pth"))
    expected, found = flatten_params(own.params), flatten_params(again.params)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def state_of(weights: Weights) -> TrainState:
    """A fresh run of a network, all zeros."""
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), weights.params)
    return TrainState(jnp.zeros((), jnp.int32), zeros, (), None, jnp.zeros((), jnp.int32))


@pytest.mark.slow
def test_files_of_pytorch_are_networks_everywhere(workdir: Path, tmp_path: Path) -> None:
    """Catches a command that does not take what another one wrote, or takes something else out of it."""
    source = tmp_path / "a.pth"
    main(["--workdir", str(workdir), "--which", "best", "--output", str(source)])
    own = read_network(workdir, which="best_psnr")
    main(["--network", str(source), "--output", str(tmp_path / "b.safetensors")])
    convert(["to-torch", "--input", str(source), "--output", str(tmp_path / "c.pth")])
    exported, again = read_weights(tmp_path / "b.safetensors"), read_network(tmp_path / "c.pth")
    started, fresh = start_from(state_of(own), source)
    assert fresh == []
    for weights in (exported, again):
        assert json.dumps(describe_weights(weights)) == json.dumps(describe_weights(own))
    expected = flatten_params(own.params)
    for params in (exported.params, again.params, started.params):
        arrays = flatten_params(params)
        assert arrays.keys() == expected.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(array, expected[key], err_msg=key)


@pytest.mark.slow
def test_files_that_do_not_fit_anywhere(workdir: Path, tmp_path: Path) -> None:
    """Catches a command that takes what another refuses, says it otherwise, or lists a thousand differences."""
    own = read_network(workdir, which="best_psnr")
    on_host = dataclasses.replace(own, params=jax.tree.map(np.asarray, own.params))
    state_dict = network_of(own).to_torch(on_host, dtype=np.dtype(np.float32))
    misnamed = {key.replace("stage", "step"): array for key, array in state_dict.items()}
    path = tmp_path / "a.pth"
    write_arrays(path, misnamed, description=describe_weights(own))
    told = set()
    for command in (
        lambda: main(["--network", str(path), "--output", str(tmp_path / "b.safetensors")]),
        lambda: convert(["to-torch", "--input", str(path), "--output", str(tmp_path / "b.pth")]),
        lambda: convert(["to-jax", "--input", str(path), "--output", str(tmp_path / "b.safetensors")]),
        lambda: spikejax.load(path),
        lambda: start_from(state_of(own), path),
    ):
        with pytest.raises(InputError) as caught:
            command()
        error = caught.value
        assert str(error).endswith(str(path))
        assert len(error.details) == 18 < len(error.every_detail)
        told.add((str(error), error.details))
    assert len(told) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.slow
def test_one_program(workdir: Path, tmp_path: Path) -> None:
    """Catches a program that only this package runs, for one platform, or that restores otherwise than the network."""
    path = tmp_path / "a.stablehlo"
    arguments = ["--tile", ",".join(map(str, TILE)), "--spike-ratio", "2", "--which", "best"]
    main(["--workdir", str(workdir), "--output", str(path), *arguments])
    frames, counts = clip()
    how = {"tile": TILE, "overlap": (0, 0, 0), "devices": 1}
    expected = spikejax.load(workdir).restore(frames, counts=counts, **how)
    loaded = spikejax.load(path)
    assert (loaded.tile.shape, loaded.traits.spike_bins) == (TILE, BINS)
    restored = loaded.restore(frames, counts=counts, **how)
    # The same arithmetic in one program more or less: a rounding to 8 bits may fall to the other side.
    assert np.abs(restored.astype(int) - expected).max() <= 1
    with pytest.raises(InputError, match=r"expected clips of 3,16,24 in uint8, .*found 3,16,16 in uint8: "):
        loaded.restore(frames[:, :, :16], counts=counts[:, :, :8], tile=(3, 16, 16), overlap=(0, 0, 0), devices=1)
    np.savez(tmp_path / "in.npz", frames=np.stack([frames, frames]), counts=np.stack([counts, counts]))
    files = [str(path), str(tmp_path / "in.npz"), str(tmp_path / "out.npy")]
    done = subprocess.run([sys.executable, "-c", PLAIN, *files], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == ["cpu", "cuda", "tpu"], done.stderr
    answers = np.load(tmp_path / "out.npy")
    assert answers.shape == (2, *TILE, 3)
    np.testing.assert_array_equal(answers[0], answers[1])
    rounded = np.round(np.clip(answers[0], 0, 1) * 255).astype(int)
    assert np.abs(rounded - expected).max() <= 1


@pytest.mark.slow
def test_a_folder_for_a_hub(workdir: Path, tmp_path: Path, hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a folder or a repository that restores otherwise than the workdir, and files that are not sent."""
    folder = tmp_path / "net"
    main(["--workdir", str(workdir), "--output", str(folder), "--push", "hf://me/net@v1", "--license", "mit"])
    main(["--workdir", str(workdir), "--push", "hf://me/alone"])
    shown = capsys.readouterr().out
    for name, branch in (("me/net", "v1"), ("me/alone", "main")):
        assert f"{hub.url}/{name}/commit/{commit_of(name, branch)}" in shown
    sent = hub.repositories["me/net"]["v1"]
    assert sent == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.repositories["me/net"]["main"] == {}
    card = sent["README.md"].decode()
    assert "license: mit" in card and "value: 1.0" in card  # what the fixture's validation measured
    frames, counts = clip()
    expected, *answers = [
        spikejax.load(path).restore(frames, counts=counts, tile=TILE, overlap=(0, 0, 0), devices=1)
        for path in (workdir, folder, "hf://me/net@v1", "hf://me/alone")
    ]
    for answer in answers:
        np.testing.assert_array_equal(answer, expected)


def test_outputs_and_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an unknown kind that is written all the same, an option without effect, and a traceback for damage."""
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").touch()
    for suffix in (".safetensors", ".pth", ".pt", ".stablehlo"):
        (tmp_path / f"folder{suffix}").mkdir()
        with pytest.raises(InputError, match=f"^expected a file to write to, found a folder: folder{suffix}$"):
            main(["--workdir", str(tmp_path), "-o", f"folder{suffix}", "--overwrite"])
        (tmp_path / f"folder{suffix}").rmdir()
    for arguments, told in (
        (["-o", "a.onnx"], r"expected an output of the kind .safetensors, .pth, .pt, .stablehlo, or a folder, found"),
        (["-o", "a.pth/"], r"expected an output of the kind .safetensors, .pth, .pt, .stablehlo, or a folder, found"),
        ([], "expected --output, or --push, found neither"),
        (["-o", "a.pth", "--batch", "2"], r"expected an output .stablehlo with --batch, found none"),
        (["-o", "net", "--tile", "3,8,8"], r"expected an output .stablehlo with --tile, found none"),
        (["-o", "a.pth", "--push", "hf://me/net"], "expected an output that is a folder with --push, found none"),
        (["-o", "a.pth", "--scores", "out"], "expected an output that is a folder with --scores, found none"),
        (["--push", "hf://me/net/file"], "--push: expected a repository, hf://USER/NAME or .*, found hf://me/net/file"),
        (["--push", "me/net"], "--push: expected a repository, hf://USER/NAME or .*, found me/net"),
        (["-o", "net", "--license", "No!"], "--license: expected a name as hubs have it"),
        (["-o", "a" * 300 + ".pth"], r"cannot write a+\.pth: File name too long"),
        (["-o", "a" * 300], "cannot write a+: File name too long"),
        (["-o", ".", "--overwrite"], "expected a folder with model.safetensors, .* to replace, found 'mine.txt'"),
    ):
        with pytest.raises(InputError, match=told):
            main(["--workdir", str(tmp_path), *arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "a.stablehlo").write_bytes(b"no program")
    with pytest.raises(InputError, match=r"expected a file of jax.export, found damage .*a.stablehlo"):
        spikejax.load(tmp_path / "a.stablehlo")
