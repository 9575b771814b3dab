"""The architecture in one test: imports point one way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("spikejax", "convert", "configs")
# A module may import what stands in its row, and everybody the roots. Entry points (spikejax/NAME.py that are not named
# here) may import everything but each other.
ROOTS = {
    "spikejax",
    "spikejax.errors",
    "spikejax.version",
    "spikejax.cli",
    "spikejax.progress",
    "spikejax.extensions",
    "spikejax.extras",
    "spikejax.installed",
    "spikejax.module_files",
    "spikejax.compile_cache",
    "spikejax.stopping",
}
ALLOWED = {
    "spikejax.errors": set(),
    "spikejax.version": set(),
    "spikejax.extensions": set(),
    "spikejax.extras": set(),
    # These two ask which paths are of this machine.
    "spikejax.cli": {"spikejax.io"},
    "spikejax.progress": set(),
    "spikejax.installed": set(),
    "spikejax.module_files": set(),
    "spikejax.compile_cache": {"spikejax.io"},
    "spikejax.stopping": set(),
    # The ground floor.
    "spikejax.io": set(),
    "spikejax.hardware": set(),
    "spikejax.kernels": set(),
    "spikejax.distributed": {"spikejax.io", "spikejax.kernels"},
    "spikejax.models": {"spikejax.kernels"},
    "spikejax.config": {"spikejax.io"},
    "spikejax.data": {"spikejax.hardware", "spikejax.io"},
    "spikejax.quality": {"spikejax.io", "spikejax.models"},
    "spikejax.reports": {"spikejax.data", "spikejax.io", "spikejax.quality"},
    "spikejax.training": {
        "spikejax.config",
        "spikejax.data",
        "spikejax.distributed",
        "spikejax.hardware",
        "spikejax.hub",  # a run may start from a named network
        "spikejax.inference",  # validation restores as restoring does
        "spikejax.io",
        "spikejax.kernels",
        "spikejax.models",
        "spikejax.quality",
    },
    "spikejax.inference": {
        "spikejax.data",
        "spikejax.distributed",
        "spikejax.hardware",
        "spikejax.io",
        "spikejax.kernels",
        "spikejax.models",
        "spikejax.quality",
    },
    # Networks measured on data: the room behind `evaluate` and `compare`.
    "spikejax.evaluation": {
        "spikejax.config",
        "spikejax.data",
        "spikejax.distributed",
        "spikejax.hub",
        "spikejax.inference",
        "spikejax.io",
        "spikejax.models",
        "spikejax.quality",
        "spikejax.training",
    },
    "spikejax.planning": {
        "spikejax.distributed",
        "spikejax.hardware",
        "spikejax.inference",
        "spikejax.kernels",  # what they say of their own schedules
        "spikejax.models",
        "spikejax.quality",
        "spikejax.training",
    },
    "spikejax.experiments": {
        "spikejax.config",
        "spikejax.data",
        "spikejax.io",
        "spikejax.quality",
        "spikejax.reports",
        "spikejax.training",
    },
    # `spikejax.load`: what training or converting left, as something that restores.
    "spikejax.loading": {
        "spikejax.config",
        "spikejax.data",
        "spikejax.hub",
        "spikejax.inference",
        "spikejax.io",
        "spikejax.models",
        "spikejax.training",
    },
    "spikejax.packaged": set(),
    # Networks by name, from elsewhere and to others; `convert` is run where published ones are taken over.
    # A model card says what metrics are called.
    "spikejax.hub": {"spikejax.config", "spikejax.io", "spikejax.models", "spikejax.packaged", "spikejax.quality"},
    # The reader of networks is training's, and statistics of spikes are the data's.
    "convert": {
        "spikejax.config",
        "spikejax.data",
        "spikejax.hub",
        "spikejax.io",
        "spikejax.models",
        "spikejax.training",
    },
    "configs": {"spikejax.config"},
}
# The same within spikejax.data.
ALLOWED_IN_DATA = {
    "compiled": set(),
    "light": set(),
    "spikes": {"compiled", "light"},
    "datasets": {"spikes"},
    "batches": {"datasets", "spikes"},
    "preparation": {"datasets", "spikes"},
    "simulation": {"compiled", "datasets", "light", "spikes"},
    "sources": {"datasets", "simulation"},
}
# TensorFlow takes seconds and a gigabyte to import; only what writes logs may.
HEAVY = {"tensorflow", "clu", "tensorboard", "tensorflow_datasets", "wandb", "mlflow"}
MAY_IMPORT_HEAVY = {
    "spikejax.training.monitoring.tensorboard": {"tensorflow", "clu", "tensorboard"},
    "spikejax.training.monitoring.run_writer": {"clu"},  # its table of parameters, which needs no TensorFlow
    "spikejax.training.monitoring.wandb_logger": {"wandb"},
    "spikejax.training.monitoring.mlflow_logger": {"mlflow"},
}
# TFDS is imported where a data set of it is asked for, and not before.
MAY_IMPORT_TFDS = {"spikejax.data.datasets.tfds_builder", "spikejax.data.datasets.tfds_dataset"}


def modules() -> Iterator[tuple[str, Path]]:
    """(dotted name, file) of every module of the packages."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path, name: str) -> Iterator[str]:
    """The full name of every module that a file imports, at any depth of its code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                # These two packages have another name where they are installed (spikejax.convert, spikejax.configs).
                assert name.split(".")[0] in ("convert", "configs") and node.level == 1, f"{name} imports relatively"
                base = ".".join(filter(None, (name.split(".")[0], base)))
            # `from spikejax.io import box` imports the module spikejax.io.box.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def area(module: str) -> str:
    """The row of ALLOWED that a module belongs to; an entry point is its own area."""
    return ".".join(module.split(".")[: 2 if module.startswith("spikejax") else 1])


MODULES = dict(modules())
RESOLVED = {name: sorted(set(imports(path, name))) for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    """Catches a model that reads files, data that knows the trainer, a library module that imports an entry point."""
    own = area(name)
    for imported in RESOLVED[name]:
        if imported.split(".")[0] not in PACKAGES:
            continue
        target = area(imported)
        if target == own or target in ROOTS:
            continue
        assert target in ALLOWED, f"{name} imports the entry point {target}"
        assert own not in ALLOWED or target in ALLOWED[own], f"{name} imports {imported}, against the one-way rule"


def room_in_data(module: str) -> str:
    """The row of ALLOWED_IN_DATA that a module belongs to; "" where it is not in there."""
    return module.split(".")[2] if module.startswith("spikejax.data.") else ""


@pytest.mark.parametrize("name", [name for name in MODULES if room_in_data(name)])
def test_rooms_of_data_import_one_way(name: str) -> None:
    """Catches spikes that know data sets, or data sets that know batches and the simulated camera."""
    own = room_in_data(name)
    targets = {room_in_data(imported) for imported in RESOLVED[name]} - {"", own}
    assert targets <= ALLOWED_IN_DATA[own], f"{name} imports {targets - ALLOWED_IN_DATA[own]}, against the one-way rule"


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Catches a cycle, within a package as well."""
    open_modules: list[str] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        if name in done:
            return
        assert name not in open_modules, " -> ".join([*open_modules, name])
        open_modules.append(name)
        for imported in RESOLVED[name]:
            # What is imported is a module, or a name of one; importing the package itself is no arrow.
            target = imported if imported in MODULES else imported.rpartition(".")[0]
            if target in MODULES and target not in ("spikejax", name):
                visit(target)
        done.add(open_modules.pop())

    for name in MODULES:
        if name != "spikejax":  # it imports when something is asked for, within functions
            visit(name)


@pytest.mark.parametrize("name", MODULES)
def test_heavy_and_foreign_imports(name: str) -> None:
    """Catches TensorFlow outside the log writers, and PyTorch anywhere."""
    roots = {imported.split(".")[0] for imported in RESOLVED[name]}
    assert not roots & {"torch", "torchvision"}
    if name in MAY_IMPORT_TFDS:
        roots -= {"tensorflow_datasets"}
    assert roots & HEAVY <= MAY_IMPORT_HEAVY.get(name, set())


def test_reading_data_imports_nothing_heavy() -> None:
    """Catches TFDS or TensorFlow imported by whatever only reads or prepares folders."""
    program = "import sys, spikejax.prepare, spikejax.data.batches.loader, spikejax.data.datasets.tfds_dataset; "
    program += f"print({HEAVY} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
