"""Choices by name, of the package's own tables and of the user's code.

A table (of fusions, losses, metrics, data sets, codecs, loggers, meshes) is a literal dict in the file that owns it.
Where a configuration or an argument takes the name of an entry, it takes `FILE.py:NAME` or `MODULE:NAME` as well: the
entry is then what that file or module calls NAME. Nothing is registered, so nothing is left behind.

Such a name is code. It is followed where the user wrote it (a configuration file, the command line), and never because
a workdir or a file of weights that somebody gave away contains it: what reads those asks `is_code` and refuses.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from spikejax.errors import InputError, did_you_mean, one_line
from spikejax.module_files import run_file, sought_neighbour

Entry = TypeVar("Entry")


def is_code(name: str) -> bool:
    """Whether a name stands for the user's code (`FILE.py:NAME` or `MODULE:NAME`) and not for an entry of a table."""
    source, colon, entry = name.rpartition(":")
    return bool(colon and source and entry.isidentifier())


def entry_name(name: str) -> str:
    """What an entry is called in files, curves and messages: NAME, of a `FILE.py:NAME`."""
    return name.rpartition(":")[2]


def find_entry(table: Mapping[str, Entry], name: str, *, key: str, kind: Any = object) -> Entry:
    """The entry called `name`, of the table or of the user's code.

    Args:
        table: the package's own entries.
        name: a key of `table`, or `FILE.py:NAME` or `MODULE:NAME`.
        key: what the name was given for, such as "model.spike.fusion", for messages.
        kind: the class that an entry of the user's must be an instance of (any that can be called, say: `Callable`).

    Raises:
        InputError: there is no such entry, file or module, it cannot be run, or it is of another kind.
    """
    if name in table:
        return table[name]
    if not is_code(name):
        expected = f"one of {', '.join(table)} or FILE.py:NAME"
        raise InputError(f"{key}: expected {expected}, found {name!r}{did_you_mean(name, table)}")
    source, _, entry_name = name.rpartition(":")
    module = _run_file(Path(source), key) if source.endswith(".py") else _import_module(source, key)
    if not hasattr(module, entry_name):
        raise InputError(f"{key}: expected {entry_name} to be defined, found no such name: {source}")
    entry = getattr(module, entry_name)
    if not isinstance(entry, kind):
        expected = "a function or class" if kind is Callable else getattr(kind, "__name__", str(kind))
        raise InputError(f"{key}: expected {expected}, found {type(entry).__name__}: {name}")
    return entry


def find_entries(table: Mapping[str, Entry], names: Iterable[str], *, key: str, kind: Any = object) -> dict[str, Entry]:
    """The entries called `names`, in their order, by what they are called elsewhere (`entry_name`).

    Args:
        table, key, kind: see `find_entry`.
        names: keys of `table`, or code.

    Raises:
        InputError: see `find_entry`; or two would be called the same, of which one may be an entry of the table.
    """
    entries: dict[str, Entry] = {}
    for name in names:
        called = entry_name(name)
        if called in entries or (is_code(name) and called in table):
            raise InputError(f"{key}: expected different names, found {called} twice: {name}")
        entries[called] = find_entry(table, name, key=key, kind=kind)
    return entries


def _run_file(path: Path, key: str) -> ModuleType:
    """The module of a file, run anew and not kept among the imported modules."""
    if not path.is_file():
        raise InputError(f"{key}: expected a Python file, found none: {path}")
    name = f"spikejax_extension_{path.stem}"
    try:
        return run_file(name, path)
    except (Exception, SystemExit) as error:  # whatever the user's file does wrong, it is the user's file
        hint = "; a folder of modules is found if PYTHONPATH names it" if sought_neighbour(error, path) else ""
        raise InputError(f"{key}: {type(error).__name__}: {one_line(error)}{hint}: {path}") from error
    finally:
        sys.modules.pop(name, None)


def _import_module(name: str, key: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(f"{key}: {type(error).__name__}: {one_line(error)}: {name}") from error
