"""Where `configs/` and `convert/` are, in a checkout and installed.

A checkout has both beside the package, and a wheel installs them within it, as `spikejax.configs` and
`spikejax.convert`, so that no module of so common a name comes into everybody's environment. Here they have those names
everywhere: from a wheel, from an editable install, and where only PYTHONPATH says where the package is.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from spikejax.module_files import run_file

_PACKAGE = Path(__file__).parent


def folder_of(name: str) -> Path:
    """The folder of "configs" or "convert": within the package if a wheel put it there, otherwise beside it."""
    inside = _PACKAGE / name
    return inside if (inside / "__init__.py").is_file() else _PACKAGE.parent / name


def names_in(name: str, room: str = "") -> list[str]:
    """The modules of "configs" or "convert", or of a folder within it, sorted."""
    return sorted(file.stem for file in (folder_of(name) / room).glob("*.py") if file.stem != "__init__")


def load_module(name: str) -> ModuleType:
    """The module `spikejax.NAME`, imported at the first call.

    Args:
        name: within the package, such as "convert.__main__" or "configs.quickstart".

    Raises:
        ModuleNotFoundError: there is none.
    """
    package = name.partition(".")[0]
    folder = folder_of(package)
    # Not left to Python's own search: an editable install of another checkout would answer for this one.
    if folder.parent != _PACKAGE and f"spikejax.{package}" not in sys.modules:
        _import_folder(f"spikejax.{package}", folder)
    return importlib.import_module(f"spikejax.{name}")


def _import_folder(name: str, folder: Path) -> None:
    """Imports the package in `folder` under a name that is not its path's."""
    file = folder / "__init__.py"
    if not file.is_file():
        raise ModuleNotFoundError(f"expected the package {name}, found no {file}", name=name)
    setattr(sys.modules[__package__], name.rpartition(".")[2], run_file(name, file, package=True))
