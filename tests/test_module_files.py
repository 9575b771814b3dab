"""Files that are run as modules: by what name they are found while they run, and that nothing stays behind."""

import sys
from pathlib import Path

import pytest

from spikejax.module_files import run_file, run_in_its_folder, sought_neighbour


def test_a_file_finds_itself_by_its_name(tmp_path: Path) -> None:
    """Catches a module that dataclasses and pickles cannot look up, and one that is not among the imported ones."""
    (tmp_path / "mine.py").write_text("import sys\nOWN = sys.modules[__name__]\n")
    try:
        module = run_file("spikejax_test_own", tmp_path / "mine.py")
        assert module.OWN is module and sys.modules["spikejax_test_own"] is module
    finally:
        sys.modules.pop("spikejax_test_own", None)


def test_a_folder_is_a_package_under_any_name(tmp_path: Path) -> None:
    """Catches a package whose modules cannot be imported because its folder is called otherwise."""
    (tmp_path / "__init__.py").write_text("from .other import X\n")
    (tmp_path / "other.py").write_text("X = 3\n")
    try:
        assert run_file("spikejax_test_folder", tmp_path / "__init__.py", package=True).X == 3
        assert "spikejax_test_folder.other" in sys.modules
    finally:
        for name in ("spikejax_test_folder", "spikejax_test_folder.other"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize("in_folder", [False, True])
@pytest.mark.parametrize("failure", ["raise ValueError('no')", "raise SystemExit(3)", "def f(:"])
def test_a_file_that_fails_leaves_nothing_behind(tmp_path: Path, failure: str, in_folder: bool) -> None:
    """Catches half a module that the next import would take for the whole."""
    (tmp_path / "other.py").touch()
    (tmp_path / "mine.py").write_text("from . import other\n" * in_folder + failure + "\n")
    before = set(sys.modules)
    with pytest.raises((ValueError, SystemExit, SyntaxError)):
        if in_folder:
            with run_in_its_folder(tmp_path / "mine.py"):
                pass
        else:
            run_file("spikejax_test_failure", tmp_path / "mine.py")
    assert not {name for name in set(sys.modules) - before if "spikejax" in name}


def test_neighbours_that_were_sought(tmp_path: Path) -> None:
    """Catches a hint about a file that is not there, or about another mistake than an import."""
    (tmp_path / "other.py").touch()
    missing = ModuleNotFoundError("No module named 'other'", name="other")
    assert sought_neighbour(missing, tmp_path / "mine.py") == "other"
    assert sought_neighbour(missing, tmp_path / "elsewhere" / "mine.py") is None
    assert sought_neighbour(ValueError("other"), tmp_path / "mine.py") is None
