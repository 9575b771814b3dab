"""scripts/accelerator.py, as far as a CPU can tell: that every part says something, and that none ends the others."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import spikejax.kernels

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "accelerator.py"
# What the script may not need, of what the package or the tests use.
FOREIGN = ("safetensors", "orbax", "clu", "grain", "cv2", "av", "zarr", "pytest", "tensorflow", "psutil", "torch")


def load(name: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script; `sys.path` is left as it was."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "accelerator", None)
    return load("accelerator")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Its parts."""
    monkeypatch.setitem(sys.modules, "accelerator_parts", None)
    return load("accelerator_parts")


def test_every_kernel_is_measured(parts: ModuleType) -> None:
    """Catches a kernel that was added and that no chip is asked about."""
    folder = Path(spikejax.kernels.__file__).parent
    with_kernels = {
        path.stem
        for path in folder.glob("*.py")
        if re.search(r"\ndef fits\(\s*form: Form", path.read_text()) and not path.stem.endswith(("_tpu", "_gpu"))
    }
    assert with_kernels >= {"window_attention"}
    assert with_kernels <= {operation.kernel for operation in parts.operations().values()}


def test_both_files_name_the_same_parts(script: ModuleType, parts: ModuleType) -> None:
    """Catches a part that is never run, and one that does not exist."""
    assert list(script.PARTS) == list(parts.PARTS)


def test_a_part_that_takes_too_long_leaves_its_error(script: ModuleType, tmp_path: Path) -> None:
    """Catches a script that waits for a device that hangs, or that ends with the part."""
    result = script.measure("environment", quick=True, seconds=0.01, cache=tmp_path)
    assert (result["rows"], result["error"]) == ([], "ended after 0 s")


def test_a_part_that_fails_leaves_its_error_and_its_rows(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches rows that are lost with what fails after them, a row cut in the middle, and an error without words."""
    fake = tmp_path / "fake.py"
    fake.write_text(
        "import sys\n"
        "with open(sys.argv[sys.argv.index('--output') + 1], 'w') as file:\n"
        '    file.write(\'{"update": 1}\\n{"upd\')\n'
        "raise ValueError('no memory | left')\n"
    )
    monkeypatch.setattr(script, "__file__", str(fake))
    result = script.measure("updates", quick=True, seconds=60, cache=tmp_path)
    assert result["rows"] == [{"update": 1}]
    assert result["error"] == "ValueError: no memory | left"
    text = script.as_markdown({"date": "2026-01-02", "quick": True, "parts": {"updates": result}})
    assert "| update |\n| --- |\n| 1 |\n" in text and "Error: ValueError: no memory | left" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--output"),
        (("--output", "table.md"), "--output: expected a name that ends in .json, found: table.md"),
        (("--output", "a.json", "--minutes", "0"), "--minutes: expected more than 0, found: 0.0"),
    ],
)
def test_wrong_arguments_end_in_a_line(arguments: tuple[str, ...], message: str) -> None:
    """Catches minutes of measuring before a file cannot be named."""
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and message in done.stderr


def test_a_checkout_that_is_not_installed() -> None:
    """Catches an import of the package before the parts say where it is; the machines they are for have no other."""
    body = ast.parse((ROOT / "scripts" / "accelerator_parts.py").read_text()).body
    modules = [entry.module or "" for entry in body if isinstance(entry, ast.ImportFrom)]
    modules += [alias.name for entry in body if isinstance(entry, ast.Import) for alias in entry.names]
    assert "jax" in modules and not [module for module in modules if module.split(".")[0] == "spikejax"]


@pytest.mark.slow
def test_all_parts_answer_on_a_cpu(tmp_path: Path) -> None:
    """Catches a part that fails, one that needs more than the script says, and figures that are not there."""
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec\n"
        "def find_spec(name, path=None, target=None):\n"
        f"    return None if name.split('.')[0] in {FOREIGN!r} else found(name, path, target)\n"
        "PathFinder.find_spec = find_spec\n"
    )
    output = tmp_path / "measured.json"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, SCRIPT, "--quick", "--output", output, "--minutes", "60"]
    subprocess.run(command, check=True, env=environment, cwd=tmp_path)
    parts = json.loads(output.read_text())["parts"]
    assert {name: part.get("error") for name, part in parts.items()} == dict.fromkeys(parts)
    rows = {name: part["rows"] for name, part in parts.items()}
    assert not [row for of_part in rows.values() for row in of_part if row.get("error", "no kernel").count(":")]
    compared = [row for row in rows["kernels"] if "forward error of range" in row]
    assert {row["form"] for row in compared} == {"plain", "kernel"}
    assert all(0 < row["forward error of range"] < 2e-5 for row in compared)
    assert all(0 < row["gradients' error of range"] < 1e-3 for row in compared)
    (golden,) = rows["goldens"]
    # What the goldens ask of float32; one pixel may be further away, at an edge of what is rounded.
    assert golden["mean error of PyTorch's"] <= 2 and golden["largest error of range"] < 1e-3
    assert rows["repeatable"] == [
        {"kernels": "auto", "same bits": True, "arrays that differ": rows["repeatable"][0]["arrays that differ"],
         "largest difference": 0.0}
    ]  # fmt: skip
    assert [row["update"] for row in rows["updates"]] == [1, 2, 3]
    assert all(row["ms"] > 0 and row["planned GB"] > 0 for row in rows["spike network"] + rows["deblurring network"])
    assert "## Goldens" in output.with_suffix(".md").read_text()
