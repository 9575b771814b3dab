"""The network that comes with the package: made of a training, named demo, and shown."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

import spikejax
from scripts.make_demo import make_demo
from spikejax import demo, packaged, report, restore
from spikejax.data.datasets.voxel_statistics import ensure_statistics
from spikejax.data.sources import find_dataset
from spikejax.errors import InputError
from spikejax.hub.resolving import resolve_network
from spikejax.io.json_files import read_json
from spikejax.quality.metrics import psnr
from tests.inference.small_input import BINS, save_random_network, tiny_config

SCENES = dict(train_sequences=1, val_sequences=1, frames=3, height=32, width=40, max_motion=8.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workdir of a small network on the embedded data set, with random parameters."""
    workdir = tmp_path_factory.mktemp("run")
    config = tiny_config()
    config.data.source = "moving_photographs"
    config.data.scenes.update(SCENES)
    config.restore.tile, config.restore.overlap = (2, 32, 40), (1, 4, 4)
    save_random_network(workdir, config)
    find_dataset(config.data.source).make(workdir / "data", bins=BINS, seed=0, settings=SCENES)
    ensure_statistics(workdir / "data", bins=BINS)
    return workdir


@pytest.fixture
def package(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of packaged files, with those of the small network; the working folder has no other "demo"."""
    folder = tmp_path / "packaged"
    folder.mkdir()
    make_demo(trained, folder, sequence=None, frames=8)
    monkeypatch.setattr(packaged, "FOLDER", folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


@pytest.mark.slow
def test_what_is_packaged(package: Path) -> None:
    """Catches weights of 4 bytes, a clip of other spikes than the network takes, and a card that says nothing."""
    assert {array.dtype for array in load_file(package / "demo.safetensors").values()} == {np.dtype(ml_dtypes.bfloat16)}
    with np.load(package / "demo_clip.npz") as clip:
        assert {name: clip[name].shape for name in clip} == {
            "blur": (3, 32, 40, 3), "sharp": (3, 32, 40, 3), "counts": (3, 32, 40, BINS)
        }  # fmt: skip
        assert (clip["blur"] != clip["sharp"]).any() and clip["counts"].any()
    card = (package / "demo.md").read_text()
    assert "moving_photographs" in card and "000_chelsea" in card and "PSNR" in card and "Apache-2.0" in card


@pytest.mark.slow
def test_it_is_called_demo(package: Path, trained: Path) -> None:
    """Catches a name that nobody finds, one that hides a folder of the user's, and parameters that stay bfloat16."""
    assert resolve_network("demo") == str(package / "demo.safetensors") and resolve_network("other") == "other"
    network, own = spikejax.load("demo"), spikejax.load(trained)
    assert (network.tile, network.overlap) == (own.tile, own.overlap)
    with np.load(package / "demo_clip.npz") as clip:
        blur, counts = clip["blur"], clip["counts"]
    restored, expected = (which.restore(blur / np.float32(255), counts=counts) for which in (network, own))
    np.testing.assert_allclose(restored, expected, atol=0.05)
    assert np.abs(restored - expected).max() > 0
    Path("demo").mkdir()
    assert resolve_network("demo") == "demo"


@pytest.mark.slow
def test_the_demo(package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a demo that restores something else, opens nothing, or destroys what lies in its folder."""
    opened: list[str] = []
    monkeypatch.setattr(demo.webbrowser, "open", opened.append)

    def run_here(command: list[str], cwd: Path, check: bool) -> SimpleNamespace:
        """The other commands in this process, which has another folder of packaged files."""
        assert command[:2] == [sys.executable, "-m"]
        {"spikejax.restore": restore, "spikejax.report": report}[command[2]].main(command[3:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run_here)
    demo.main(["--output", "out"])
    figures = read_json(Path("out/restored/metrics.json"))
    assert figures is not None and figures["frames"] == 3 and figures["psnr_recon"] > 0
    assert figures["network"] == str(package / "demo.safetensors")
    assert "What the spikes did" in Path("out/restored/report.html").read_text(encoding="utf-8")
    assert opened == [Path("out/restored/report.html").absolute().as_uri()]
    assert "$ spikejax restore --network demo --input" in capsys.readouterr().out
    with pytest.raises(InputError, match="expected a new or empty folder"):
        demo.main(["--output", "out"])
    demo.main(["--output", "out", "--overwrite", "--no-open"])
    assert len(opened) == 1


def test_without_a_packaged_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a traceback, or a folder that is left behind, where a version comes without a network."""
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    for use in (
        lambda: demo.main(["--output", "out"]),
        lambda: spikejax.load("demo"),
        lambda: restore.main(["--network", "demo", "--input", "a", "--output", "b"]),
    ):
        with pytest.raises(InputError, match="expected the network that comes with the package, found none in this"):
            use()
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_too_large(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a package that grows by whatever was trained last."""
    monkeypatch.setattr("scripts.make_demo.LARGEST_BYTES", 1000)
    with pytest.raises(InputError, match="expected a network of at most 1,000 bytes, found"):
        make_demo(trained, tmp_path, sequence=None, frames=2)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(InputError, match="--sequence: expected one of 000_chelsea, found 'x'"):
        make_demo(trained, tmp_path, sequence="x", frames=2)


@pytest.mark.slow
def test_the_packaged_network_restores_its_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches packaged files that do not fit together, or a network that today's code computes otherwise."""
    monkeypatch.chdir(tmp_path)
    with np.load(packaged.packaged_file("demo_clip.npz")) as clip:
        blur, sharp, counts = clip["blur"], clip["sharp"], clip["counts"]
    restored = spikejax.load("demo").restore(blur, counts=counts)
    figures = [np.mean([psnr(*pair) for pair in zip(shown, sharp, strict=True)]) for shown in (blur, restored)]
    card = packaged.packaged_file("demo.md").read_text(encoding="utf-8")
    stated = re.search(r"PSNR ([\d.]+) -> ([\d.]+),", card)
    assert stated is not None
    np.testing.assert_allclose(figures, [float(figure) for figure in stated.groups()], atol=0.02)
    assert figures[1] - figures[0] > 4.8
