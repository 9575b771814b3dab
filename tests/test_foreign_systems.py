"""What Windows and macOS lack is not needed there."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Python's own modules that Windows does not have.
POSIX_MODULES = {
    "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty",
}  # fmt: skip
# Of os: what Windows does not have, and at the end what macOS does not have either.
POSIX_ATTRIBUTES = {
    "O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "WEXITSTATUS", "chown",
    "chroot", "ctermid", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups",
    "getloadavg", "getpgid", "getpgrp", "getpriority", "getsid", "getuid", "initgroups", "killpg", "lchown", "lockf",
    "major", "minor", "mkfifo", "mknod", "nice", "openpty", "pathconf", "pread", "preadv", "pwrite", "pwritev",
    "readv", "sendfile", "setegid", "seteuid", "setgid", "setgroups", "setpgid", "setpriority", "setsid", "setuid",
    "statvfs", "sync", "sysconf", "tcgetpgrp", "tcsetpgrp", "uname", "wait", "wait3", "wait4", "writev",
    "copy_file_range", "fdatasync", "memfd_create", "posix_fadvise", "posix_fallocate", "sched_getaffinity",
    "sched_setaffinity", "splice",
}  # fmt: skip
POSIX_SIGNALS = {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGTSTP", "SIGUSR1", "SIGUSR2", "setitimer"}
# What asks for the system first, or whether it has the name.
MAY_USE = {
    "spikejax/compile_cache.py": {"os.geteuid"},
    "spikejax/hardware/host.py": {"import resource"},
    "spikejax/io/disk_space.py": {"os.getuid", "os.getgid", "os.major", "os.minor"},  # quotas, on Linux alone
}
FILES = sorted(path for folder in ("spikejax", "convert", "configs") for path in (ROOT / folder).rglob("*.py"))
# Run in a process of its own. Other packages may import what they like: on Windows they are other packages.
IMPORT_ALL = """
import builtins, contextlib, io, os, pkgutil, sys
from importlib import import_module

blocked = {blocked!r}
real_import = builtins.__import__

def import_as_on_windows(name, globals=None, *rest, **more):
    importer = (globals or {{}}).get("__name__") or ""
    if name.partition(".")[0] in blocked and importer.partition(".")[0] in ("spikejax", "convert", "configs"):
        raise ModuleNotFoundError(f"No module named {{name!r}}, which {{importer}} imports", name=name)
    return real_import(name, globals, *rest, **more)

builtins.__import__ = import_as_on_windows
count = 0
for package in ("spikejax", "convert", "configs"):
    for module in pkgutil.walk_packages(import_module(package).__path__, package + "."):
        if not module.name.endswith("__main__"):
            try:
                import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name not in ("mlflow", "wandb"):  # extras
                    raise
            count += 1
from spikejax.__main__ import COMMANDS
from spikejax.installed import load_module
for command in COMMANDS:
    module = load_module("convert.__main__" if command == "convert" else command)
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        module.main(["--help"])
    assert said.getvalue().startswith("usage:"), command
print(count)
"""


def uses(path: Path) -> Iterator[str]:
    """What a file uses that other systems lack."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (f"import {alias.name}" for alias in node.names if alias.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom):
            if node.module in POSIX_MODULES:
                yield f"import {node.module}"
            lacking = {"os": POSIX_ATTRIBUTES, "signal": POSIX_SIGNALS}.get(node.module or "", set())
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name in lacking)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            lacking = {"os": POSIX_ATTRIBUTES, "signal": POSIX_SIGNALS}.get(node.value.id, set())
            if node.attr in lacking:
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Constant) and node.value in ("fork", "forkserver"):
            yield "multiprocessing by fork"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_that_other_systems_lack(path: Path) -> None:
    """Catches a function of os, a signal or a module of Linux alone, used within a function as well."""
    assert set(uses(path)) <= MAY_USE.get(path.relative_to(ROOT).as_posix(), set())


def test_cpus_and_memory_are_asked_for_in_one_place() -> None:
    """Catches a second opinion on how many CPUs there are, or how much memory: one that knows no limits."""
    asking = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in {"cpu_count", "process_cpu_count", "virtual_memory"})
        or (isinstance(node, ast.Constant) and isinstance(node.value, str) and "/proc/" in node.value[:7])
        and not node.value.startswith(("/proc/self/mountinfo", "/proc/driver/nvidia"))  # disks, and GPUs
        or (isinstance(node, ast.Import) and any(alias.name == "psutil" for alias in node.names))
    }
    assert asking == {"spikejax/hardware/host.py"}


@pytest.mark.slow
def test_every_module_and_command_without_posix_modules() -> None:
    """Catches an import at the top of a module, or on the way to a command's arguments, that ends it on Windows."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORT_ALL.format(blocked=POSIX_MODULES)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= len([path for path in FILES if path.name not in ("__init__.py", "__main__.py")])
