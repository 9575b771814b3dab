"""Names of networks, and paths that look like them."""

import os
from pathlib import Path

import pytest

from spikejax.config.named_networks import is_network_name, released_name
from spikejax.errors import InputError
from spikejax.hub import released
from spikejax.hub.resolving import resolve_network


def test_what_is_here_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a folder of the user's that a name hides, and a path that is taken for a name."""
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "vrt:006", "runs/mine", "gs://bucket/run", "006"):
        assert is_network_name(name) == (name in ("demo", "vrt:006"))
    for name in ("demo", "vrt:006"):
        os.mkdir(name)
        assert resolve_network(name) == name and not is_network_name(name)
    assert resolve_network(tmp_path / "nowhere") == str(tmp_path / "nowhere")
    assert is_network_name("hf://me/net")


def test_published_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a number that does not exist, and consent that does not arrive."""
    asked = []
    monkeypatch.setattr(
        released, "fetch_released", lambda name, accept_license: asked.append((name, accept_license)) or Path("there")
    )
    assert resolve_network("vrt:009", accept_license=True) == "there"
    resolve_network("vrt:001")
    assert asked == [("009", True), ("001", False)]
    with pytest.raises(InputError, match="expected vrt:NAME with one of 001, .*009, found vrt:010"):
        released_name("vrt:010")
