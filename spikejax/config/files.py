"""Configurations: from a Python file and the command line, and to and from the JSON kept beside a run's checkpoints.

Configurations are locked and typed by their defaults. Whatever does not fit ends in an `InputError` of one line, which
names the nearest key that does exist.
"""

import argparse
import ast
import difflib
import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.io.json_files import read_json, write_json

OVERRIDE_PREFIX = "--config."

Choice = TypeVar("Choice")


def parse_with_overrides(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Returns what `parser` makes of the arguments, and those that change the configuration; it refuses all others."""
    options, rest = parser.parse_known_args(arguments)
    strangers = [argument for argument in rest if not argument.startswith(OVERRIDE_PREFIX)]
    if strangers:
        parser.error(f"unrecognized arguments: {' '.join(strangers)}")
    return options, rest


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """Returns the locked configuration of a file with the command line's changes applied.

    Args:
        path: Python file with a function `get_config()` that returns a ConfigDict; with a colon and a name behind it,
            as in `configs/vrt.py:006`, the name is passed to `get_config(name)`.
        overrides: `--config.KEY=VALUE` each, KEY dotted (`training.steps`), VALUE as in Python; strings need no quotes.

    Raises:
        InputError: no such file, function or name; a key that does not exist; a value of another type.
    """
    file, colon, name = str(path).rpartition(":")
    config = _run_config_file(Path(file), (name,)) if colon else _run_config_file(Path(path), ())
    config.lock()
    for override in overrides:
        _apply_override(config, override)
    return config


def choose(choices: Mapping[str, Choice], name: str) -> Choice:
    """Returns the choice called `name`, for files that hold several configurations.

    Args:
        choices: by name.
        name: what stands behind the colon in `--config FILE:NAME`; "" = nothing.

    Raises:
        InputError: there is no such choice; all of them are listed.
    """
    if name not in choices:
        wrong = f"got {name!r}" if name else "got none"
        raise InputError(f'expected ":NAME" behind the file, NAME one of {", ".join(choices)}; {wrong}')
    return choices[name]


def save_config(config: ConfigDict, path: Path) -> None:
    """Writes `config` as JSON, whole or not at all."""
    write_json(path, config.to_dict())


def read_saved_config(path: Path) -> ConfigDict:
    """Returns the locked configuration that `save_config` wrote; JSON's lists become the tuples they were.

    Raises:
        InputError: the file does not exist or is not such a file.
    """
    fields = read_json(path)
    if fields is None:
        raise InputError(f"expected a run's configuration, found no file {path}")
    return ConfigDict(_lists_to_tuples(fields)).lock()


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted key, value) of every value in `config`."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def differences(saved: ConfigDict, wanted: ConfigDict) -> list[str]:
    """Returns a line per value that differs, as "KEY: SAVED -> WANTED"; a key that only one of them has counts too."""
    before, after = dict(leaves(saved)), dict(leaves(wanted))
    keys = sorted(before.keys() | after.keys())
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in keys
        if before.get(key, absent) != after.get(key, absent)
    ]


def _run_config_file(path: Path, names: tuple[str, ...]) -> ConfigDict:
    """Returns what the file's `get_config` makes of `names`: none or one."""
    if not path.is_file():
        raise InputError(f"expected a configuration (a Python file), found no file {path}")
    spec = importlib.util.spec_from_file_location(f"spikejax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"expected a configuration (a file that ends in .py), got {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if names and not inspect.signature(module.get_config).parameters:
            raise InputError(f'holds one configuration, which has no name, got ":{names[0]}"')
        config = module.get_config(*names)
    except Exception as error:  # whatever the user's file does wrong, it is the user's file
        raise InputError(f"{path}: {_explain(error)}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"{path}: expected get_config() to return a ConfigDict, got {type(config).__name__}")
    return config


def _explain(error: Exception) -> str:
    """Returns one line; a locked ConfigDict's own message about an unknown key lists every field of the section."""
    text = str(error)
    if isinstance(error, InputError):
        return text
    missing = re.search(r'Key "(\w+)" does not exist', text)
    if isinstance(error, AttributeError) and missing:
        nearest = re.search(r'Did you mean "(\w+)"', text)
        hint = f'; did you mean "{nearest[1]}"?' if nearest else ""
        return f'there is no configuration key "{missing[1]}"{hint}'
    return f"{type(error).__name__}: {' '.join(text.split())}"


def _apply_override(config: ConfigDict, override: str) -> None:
    key, equals, text = override.removeprefix(OVERRIDE_PREFIX).partition("=")
    if not override.startswith(OVERRIDE_PREFIX) or not equals:
        raise InputError(f"expected {OVERRIDE_PREFIX}KEY=VALUE, got {override!r}")
    known = dict(leaves(config))
    if key not in known:
        nearest = _nearest(key, known)
        raise InputError(f'there is no configuration key "{key}"; did you mean "{nearest}"?')
    *sections, name = key.split(".")
    owner = config
    for section in sections:
        owner = owner[section]
    owner[name] = _parse(text, like=known[key], key=key)


def _nearest(key: str, known: dict[str, Any]) -> str:
    """Returns the known dotted key most like `key`; a right last name in a wrong section counts for much."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, key, candidate).ratio()
        last = difflib.SequenceMatcher(None, key.rpartition(".")[2], candidate.rpartition(".")[2]).ratio()
        return whole + last

    return max(known, key=likeness)


def _parse(text: str, *, like: Any, key: str) -> Any:
    """Returns the value that `text` says, of the type of `like`; whole numbers serve as floats."""
    if isinstance(like, str):
        return text
    wrong = InputError(f"{OVERRIDE_PREFIX}{key} expects {_kind(like)} such as {like}, got {text!r}")
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        raise wrong from None
    if isinstance(like, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(like):
        raise wrong
    if isinstance(like, tuple) and any(type(entry) is not int for entry in value):
        raise wrong
    return value


def _kind(value: Any) -> str:
    names = {bool: "True or False", int: "a whole number", float: "a number", tuple: "a tuple of whole numbers"}
    return names[type(value)]


def _lists_to_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_to_tuples(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(entry) for entry in value)
    return value
