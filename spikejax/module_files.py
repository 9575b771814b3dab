"""Python files that are run as modules under a name that is not their path's.

A configuration file, the user's own entry of a table, and `configs/` and `convert/` of a checkout are all of this kind;
how such a module is made, and that Python finds it by its name while it runs, is decided here alone.
"""

import importlib.util
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


def run_file(name: str, file: Path, *, package: bool = False) -> ModuleType:
    """The module that a file makes, under `name` among the imported modules; not there if the file fails.

    Args:
        name: dotted; the packages that it names have to be imported.
        file: Python.
        package: whether its folder is the package `name`, whose other files are its modules.
    """
    folders = [str(file.parent)] if package else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    assert spec is not None, file
    return _run(spec)


@contextmanager
def run_in_its_folder(file: Path) -> Iterator[ModuleType]:
    """Runs a file as a member of the package that its folder is, whatever that is called; yields its module.

    So `from . import neighbour` works in it. All are run anew, and gone from the imported modules when the block ends.
    """
    folder = file.absolute().parent
    package = f"_spikejax_{secrets.token_hex(4)}"
    try:
        if (folder / "__init__.py").is_file():
            run_file(package, folder / "__init__.py", package=True)
        else:
            spec = ModuleSpec(package, None, is_package=True)
            spec.submodule_search_locations = [str(folder)]
            _run(spec)
        yield run_file(f"{package}.{file.stem}", folder / file.name)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]


def sought_neighbour(error: BaseException, file: Path) -> str | None:
    """The module beside `file` that it sought by an absolute import, which finds none of its folder; None if none."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    folder, name = file.absolute().parent, error.name.partition(".")[0]
    return name if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file() else None


def _run(spec: ModuleSpec) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    # Relative imports, dataclasses and pickles look it up by its name while it runs.
    sys.modules[spec.name] = module
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    return module
