"""What a command imports to say what it can do: python -m tests.help_imports prints it for all of them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from spikejax.__main__ import COMMANDS

ROOT = Path(__file__).parents[1]
OWN = {"spikejax", "convert", "configs"}
# They take seconds to import, or hundreds of megabytes.
HEAVY = {"PIL", "av", "clu", "cv2", "flax", "jax", "jaxlib", "numba", "tensorflow", "tensorstore"}
_RUN = """
import contextlib, io, json, runpy, sys

sys.argv = ["command", "--help"]
with contextlib.redirect_stdout(io.StringIO()) as said:
    try:
        runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        assert not end.code, end.code
assert said.getvalue().startswith("usage:"), said.getvalue()
print(json.dumps(sorted(sys.modules)))
"""
_READ = """
import json, sys

from spikejax.config.files import load_config

load_config("spike:baseline", ["--config.training.steps=9000"])
print(json.dumps(sorted(sys.modules)))
"""
PROGRAMS = {
    "spikejax": _RUN.format(module="spikejax"),
    **{name: _RUN.format(module=name if name == "convert" else f"spikejax.{name}") for name in COMMANDS},
    "(a configuration)": _READ,
}


@dataclass(frozen=True)
class Imports:
    """What was imported.

    Attributes:
        own: modules of the project.
        total: how many modules there are in all, Python's own among them.
        heavy: packages that take long.
    """

    own: list[str]
    total: int
    heavy: list[str]


def count_imports(program: str) -> Imports:
    """What one of `PROGRAMS` imports, in a process of its own."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout)
    roots = {name.partition(".")[0] for name in modules}
    return Imports([name for name in modules if name.partition(".")[0] in OWN], len(modules), sorted(roots & HEAVY))


if __name__ == "__main__":
    print(f"{'--help of':<20} {'own modules':>11} {'all modules':>11}  heavy ones")
    for name, program in PROGRAMS.items():
        imports = count_imports(program)
        print(f"{name:<20} {len(imports.own):>11} {imports.total:>11}  {', '.join(imports.heavy) or 'none'}")
