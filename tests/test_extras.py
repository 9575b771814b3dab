"""Extras: what works without them, and the one line that names the one that is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from spikejax import extras
from spikejax.cli import run
from spikejax.errors import InputError
from spikejax.extras import EXTRAS, missing_module, require

ROOT = Path(__file__).parents[1]
# Makes modules as good as not installed, in a process of its own.
HIDE = "import sys; sys.modules.update(dict.fromkeys({hidden!r})); "
COMMAND = HIDE + "import runpy; sys.argv[1:] = {arguments!r}; runpy.run_module({module!r}, run_name='__main__')"
# All that may not be imported without an extra; the rest of the package must be.
NEEDS = {
    "spikejax.data.batches.loader": "train",
    "spikejax.data.datasets.tfds_builder": "tfds",
    "spikejax.data.simulation.moving_photographs": "data",
    "spikejax.data.simulation.photographs": "data",
    "spikejax.training.monitoring.tensorboard": "train",
    "spikejax.training.monitoring.mlflow_logger": "mlflow",
    "spikejax.training.monitoring.wandb_logger": "wandb",
}
# Those of NEEDS, or what imports them, are reached by these commands: (modules of the extra, command, arguments).
CALLS = {
    "train": ("train", ["--config", "vrt:006", "--config.data.root=.", "--workdir", "run"]),
    "data": ("train", ["--config", "quickstart", "--workdir", "run"]),
    "tfds": ("prepare", ["--output", "data", "--tfds", "shards"]),
    "gcs": ("train", ["--config", "quickstart", "--workdir", "gs://bucket/run"]),
    "s3": ("train", ["--config", "quickstart", "--workdir", "s3://bucket/run"]),
    "wandb": ("train", ["--config", "quickstart", "--workdir", "run", "--config.training.loggers=wandb"]),
    "mlflow": ("train", ["--config", "quickstart", "--workdir", "run", "--config.training.loggers=mlflow"]),
    "plan-tpu": ("plan", ["--config", "quickstart", "--topology", "v5e:1x1"]),
    "plan-gpu": ("plan", ["--config", "quickstart", "--topology", "h100:8"]),
}


def test_base_alone_imports_all_but_a_few_modules() -> None:
    """Catches what restores, converts, evaluates, plans or shows, and cannot be imported without an extra."""
    program = HIDE + (
        "import importlib, pkgutil\n"
        "for package in ('spikejax', 'convert', 'configs'):\n"
        "    path = importlib.import_module(package).__path__\n"
        "    for module in pkgutil.walk_packages(path, package + '.'):\n"
        "        if module.name.endswith('__main__'): continue\n"
        "        try: importlib.import_module(module.name)\n"
        "        except ModuleNotFoundError as error: print(module.name, error.name)\n"
    )
    said = python(program.format(hidden=sorted({name for names in EXTRAS.values() for name in names})))
    missing = dict(line.split() for line in said.stdout.splitlines())
    assert {name: extras._extra_of(module) for name, module in missing.items()} == NEEDS


@pytest.mark.slow
@pytest.mark.parametrize("extra", CALLS)
def test_a_command_names_the_extra_that_it_needs(extra: str, tmp_path: Path) -> None:
    """Catches a traceback, or an hour of work before it, where a line could say what to install."""
    command, arguments = CALLS[extra]
    hidden = [*EXTRAS[extra], *(EXTRAS["cuda13"] if extra == "plan-gpu" else ())]
    program = COMMAND.format(hidden=hidden, arguments=arguments, module=f"spikejax.{command}")
    said = python(program, cwd=tmp_path)
    assert said.returncode == 2, said.stderr
    *_, line = said.stderr.splitlines()
    assert "Traceback" not in said.stderr
    assert line.startswith("spikejax: error: ")
    assert f"expected the extra {extra} (pip install 'spikejax[{extra}]'), found no module " in line
    assert line.rpartition(" ")[2].startswith(EXTRAS[extra])
    if extra == "train":
        assert said.stdout == "", "said before: what the run is, or that it has no TensorBoard"


@pytest.mark.parametrize(("extra", "module"), [(extra, name) for extra, names in EXTRAS.items() for name in names])
def test_every_module_of_an_extra_is_named_with_it(
    extra: str, module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a module in one extra's row that the line gives to none, wherever in a command it is imported."""

    def main(_: object) -> None:
        raise ModuleNotFoundError(name=f"{module}.within")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == 2
    first = next(name for name, modules in EXTRAS.items() if module in modules)
    assert f"(pip install 'spikejax[{first}]'), found no module {module}" in capsys.readouterr().err
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == module else object())
    assert missing_module(extra) == module
    with pytest.raises(InputError, match=rf"^--option: expected the extra {extra} .* found no module {module}$"):
        require(extra, "--option")


def test_a_module_of_no_extra_keeps_its_traceback() -> None:
    """Catches a broken installation, or a typing error in an import, that a line gives to an extra."""

    def main(_: object) -> None:
        raise ModuleNotFoundError(name="grainy")

    with pytest.raises(ModuleNotFoundError):
        run(main)


def python(program: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What a program said."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
