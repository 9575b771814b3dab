"""Finding configs/ and convert/, beside the package and within it."""

import subprocess
import sys
from pathlib import Path

import pytest

from spikejax import installed

ROOT = Path(__file__).parents[1]


def test_a_checkout_has_them_beside_the_package() -> None:
    """Catches a checkout that looks for its configurations where a wheel would have put them."""
    assert installed.folder_of("configs") == ROOT / "configs"
    assert installed.folder_of("convert") == ROOT / "convert"


def test_a_wheel_has_them_within_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches another project's `configs`, beside the package in site-packages, taken for ours."""
    package = tmp_path / "spikejax"
    for folder in (package / "configs", tmp_path / "configs"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    monkeypatch.setattr(installed, "_PACKAGE", package)
    assert installed.folder_of("configs") == package / "configs"


def test_modules_are_members_of_the_package() -> None:
    """Catches a configuration without its neighbours, and a second copy of a package that is loaded already.

    In a process of its own: no other test is to find these modules imported.
    """
    program = """
from spikejax import installed
quickstart = installed.load_module("configs.quickstart")
print(quickstart.__name__, quickstart.__package__, quickstart.__file__)
command = installed.load_module("convert.__main__")
print(command.main.__module__, command.network_names.__module__)
import spikejax.configs.vrt
print(installed.load_module("configs") is spikejax.configs)
print(installed.load_module("configs.vrt") is spikejax.configs.vrt)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"spikejax.configs.quickstart spikejax.configs {ROOT / 'configs' / 'quickstart.py'}",
        "spikejax.convert.__main__ spikejax.convert.network_names",
        "True",
        "True",
    ]


def test_a_missing_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a package copied out of its checkout without configs/ that fails without saying what is missing."""
    monkeypatch.setattr(installed, "_PACKAGE", tmp_path / "spikejax")
    monkeypatch.delitem(sys.modules, "spikejax.configs", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"expected the package spikejax\.configs, found no .*__init__\.py"):
        installed.load_module("configs.quickstart")
