"""Folders for a hub: what they hold, what their card says, and what is not destroyed for one."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from spikejax.errors import InputError
from spikejax.hub.model_card import ModelCard, check_license, read_scores, scores_in_workdir, validation_scores
from spikejax.hub.model_folder import CARD, CONFIG, FILES, check_model_folder, write_model_folder
from spikejax.io.weights import MODEL_FILE, Weights, read_weights
from spikejax.models.traits import NetworkTraits

TRAINING = {
    "checkpoint": "best_psnr/7",
    "updates": 7,
    "validation": {"psnr_blur": 20.0, "psnr_recon": 30.5, "loss": 1.0, "ssim_recon": float("inf")},
    "data": {"source": "moving_scenes", "crop": 32},
}
WEIGHTS = Weights(
    "restorer",
    {"vrt": {"window": [6, 8, 8]}},
    {"a": np.arange(6, dtype=np.float32)},
    statistics={"bins": 8, "mean": 1.0, "std": 0.5},
    restore={"tile": [3, 32, 32], "overlap": [1, 4, 4]},
    training=TRAINING,
)
SPIKES = NetworkTraits(spike_bins=8)
HEADER: dict[str, Any] = {"checkpoint": "best_psnr/7", "threshold_factor": 1.0, "noise": None, "protocol": "tapered"}
TOTAL = {"psnr_blur": 20.0, "psnr_recon": 31.25, "tof_recon": 0.5, "ssim_recon": None}


def card(**changes: Any) -> ModelCard:
    """A card of `WEIGHTS`."""
    return ModelCard(**{"title": "net", "weights": WEIGHTS, "traits": SPIKES, "address": "hf://me/net"} | changes)


def front_matter(text: str) -> dict[str, Any]:
    """What stands between the first two lines of three dashes."""
    empty, matter, _ = text.split("---\n", 2)
    assert not empty
    return yaml.safe_load(matter)


def write_scores(folder: Path, **header: Any) -> Path:
    """The folder, with scores as `spikejax evaluate` writes them."""
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({**HEADER, **header, "total": TOTAL}))
    return folder


def test_what_a_folder_holds(tmp_path: Path) -> None:
    """Catches weights that do not come back, and a description that is not the weights' own."""
    write_model_folder(tmp_path / "net", WEIGHTS, card())
    assert {path.name for path in (tmp_path / "net").iterdir()} == set(FILES)
    again = read_weights(tmp_path / "net")
    np.testing.assert_array_equal(again.params["a"], WEIGHTS.params["a"])
    config = json.loads((tmp_path / "net" / CONFIG).read_text())
    for name in ("kind", "model", "statistics", "restore"):
        assert config[name] == getattr(again, name) == getattr(WEIGHTS, name), name
    assert config["version"] and config["library_name"] == "spikejax"
    assert (tmp_path / "net" / CARD).read_text() == card().text()


def test_what_a_card_says(tmp_path: Path) -> None:
    """Catches front matter that hubs cannot read, and figures, task, data or licence that are not the network's."""
    scores = read_scores(write_scores(tmp_path / "scores", data="/home/me/GoPro/", split="val"))
    text = card(scores=scores, license_name="cc-by-nc-4.0").text()
    matter = front_matter(text)
    assert matter["license"] == "cc-by-nc-4.0" and matter["library_name"] == "spikejax"
    assert {"video-deblurring", "spike-camera"} <= set(matter["tags"])
    (result,) = matter["model-index"][0]["results"]
    assert result["dataset"]["name"] == "GoPro, val" and result["task"]["name"] == "video deblurring"
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [("psnr", 31.25), ("tof", 0.5)]
    for part in ("| PSNR dB | 20.00 | 31.25 |", "hf://me/net", "--spikes", "moving_scenes", "updates: `7`"):
        assert part in text
    assert "/home/me" not in text


def test_cards_of_other_networks() -> None:
    """Catches a task that is not what the network does, and figures or a licence that nobody has said."""
    for traits, task in (
        (NetworkTraits(), "video-deblurring"),
        (NetworkTraits(noise_level=True), "video-denoising"),
        (NetworkTraits(upscale=4), "video-super-resolution-x4"),
        (NetworkTraits(interpolates=True), "video-frame-interpolation"),
    ):
        text = card(traits=traits, weights=Weights("restorer", {}, {})).text()
        matter = front_matter(text)
        assert task in matter["tags"] and "spike-camera" not in matter["tags"]
        assert ("--sigma" in text) == traits.noise_level and "--spikes" not in text
        assert not {"license", "metrics", "model-index"} & matter.keys()


def test_names_that_look_like_markup() -> None:
    """Catches a name that ends the front matter or makes it another mapping."""
    scores = validation_scores(WEIGHTS)
    for name in ("a: b", "---", "{x}", "#", "'", "true", "1.0", "\u00e9\u4e2d"):
        matter = front_matter(card(title=name, scores=scores).text())
        assert matter["model-index"][0]["name"] == name
    assert "--network 'my net' --input" in card(address="my net").text()


def test_figures_of_the_validation() -> None:
    """Catches figures of training that are not said, and an infinite one, which is no JSON."""
    scores = validation_scores(WEIGHTS)
    assert scores is not None
    assert (scores.before, scores.after) == ({"psnr": 20.0}, {"psnr": 30.5})
    assert scores.data.startswith("moving_scenes")
    assert validation_scores(Weights("restorer", {}, {})) is None


def test_figures_in_the_workdir(tmp_path: Path) -> None:
    """Catches figures of another checkpoint or other spikes, the older one of two, and damage that stops an export."""
    assert scores_in_workdir(tmp_path, "best_psnr/7") is None
    for age, (name, header) in enumerate(
        [
            ("evaluation", {}),
            ("again", {}),
            ("other", {"checkpoint": "last/9"}),
            ("theta", {"threshold_factor": 4.0}),
            ("noisy", {"noise": {"dark_rate": 0.1}}),
        ]
    ):
        os.utime(write_scores(tmp_path / name, **header) / "metrics.json", (1000 + age, 1000 + age))
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored" / "metrics.json").write_text('{"psnr_recon": 1}')
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "metrics.json").write_text("{")
    assert scores_in_workdir(tmp_path, "best_psnr/7") == tmp_path / "again"
    for folder in ("restored", "nowhere"):
        with pytest.raises(InputError, match="expected the scores of spikejax evaluate, found none: .*"):
            read_scores(tmp_path / folder)


def test_what_is_not_destroyed(tmp_path: Path) -> None:
    """Catches a folder of something else, or a clone of a repository, that gives way to a network."""
    target = tmp_path / "net"
    write_model_folder(target, WEIGHTS, card())
    with pytest.raises(InputError, match="expected a new or empty folder"):
        write_model_folder(target, WEIGHTS, card())
    write_model_folder(target, WEIGHTS, card(license_name="mit"), replace=True)
    assert "license: mit" in (target / CARD).read_text()
    (target / ".model.1234.partial.safetensors").touch()  # of a run that was killed
    check_model_folder(target, replace=True)
    for name in (".git", "notes.txt"):
        (target / name).touch()
        with pytest.raises(InputError, match=f"expected a folder with {MODEL_FILE}, .* to replace, found '{name}': "):
            write_model_folder(target, WEIGHTS, card(), replace=True)
        (target / name).unlink()
    (target / MODEL_FILE).unlink()
    with pytest.raises(InputError, match=f"found no {MODEL_FILE}: "):
        write_model_folder(target, WEIGHTS, card(), replace=True)


def test_folders_that_are_filled(tmp_path: Path) -> None:
    """Catches an empty folder that is refused for what is hidden in it, or a clone that loses its .git."""
    clone = tmp_path / "clone"
    (clone / ".git").mkdir(parents=True)
    (clone / ".new.1234.partial").mkdir()  # of a run that was killed
    write_model_folder(clone, WEIGHTS, card())
    assert {path.name for path in clone.iterdir()} == {*FILES, ".git", ".new.1234.partial"}


def test_licences() -> None:
    """Catches a name that no hub knows, in the front matter."""
    assert [check_license(name) for name in ("mit", "cc-by-nc-4.0")] == ["mit", "cc-by-nc-4.0"]
    for name in ("", "Apache 2.0", "MIT", "a:b", "mit\n"):
        with pytest.raises(InputError, match="^--license: expected a name as hubs have it, such as apache-2.0, found"):
            check_license(name)
