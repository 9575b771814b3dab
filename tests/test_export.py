"""`python -m spikejax.export`: what leaves a workdir restores as the workdir does."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import spikejax
from convert.array_files import read_arrays
from convert.convertible_networks import network_of
from spikejax.errors import InputError
from spikejax.export import main
from spikejax.io.weights import flatten_params, read_weights
from spikejax.training.trained_params import read_network
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


def test_outputs_and_files_that_are_none(tmp_path: Path) -> None:
    """Catches an unknown kind that is written all the same, an option without effect, and a traceback for damage."""
    with pytest.raises(InputError, match=r"expected an output of the kind .safetensors, .pth, .pt, .stablehlo, found"):
        main(["--workdir", str(tmp_path), "--output", str(tmp_path / "a.onnx")])
    with pytest.raises(InputError, match=r"expected an output .stablehlo with --tile"):
        main(["--workdir", str(tmp_path), "--output", str(tmp_path / "a.pth"), "--batch", "2"])
    (tmp_path / "a.stablehlo").write_bytes(b"no program")
    with pytest.raises(InputError, match=r"expected a file of jax.export, found damage .*a.stablehlo"):
        spikejax.load(tmp_path / "a.stablehlo")
