"""Configurations: from a Python file and the command line, and to and from the JSON kept beside a run's checkpoints.

Configurations are locked and typed by their defaults, and each value keeps to its row of the table of keys. Whatever
does not fit ends in an `InputError` of one line, which names the key, or the nearest one that does exist.
"""

import argparse
import inspect
import logging
import re
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from ml_collections import ConfigDict

from spikejax.config import defaults
from spikejax.config.keys import KEYS, check_config, code_in, complain, key_errors, leaves, nearest_key, unexpected
from spikejax.config.value_rules import Flag
from spikejax.errors import InputError, one_line
from spikejax.installed import folder_of, names_in
from spikejax.io.json_files import read_json, write_json
from spikejax.io.paths import AnyPath, UserPath, user_path
from spikejax.module_files import run_in_its_folder, sought_neighbour

# Code that these name is run by training alone, on the configuration that the user gives, never on a saved one.
_FOR_TRAINING_ALONE = frozenset({"loss.terms"})
OVERRIDE_PREFIX = "--config."
_NEGATION_PREFIX = "--noconfig."
CONFIG_HELP = "configuration: quickstart, vrt:006, spike:baseline, or a Python file, mine.py or mine.py:NAME"
# The last object that is written of a checkpoint in a bucket.
COMMITTED = "commit_success.txt"
_LOGGER = logging.getLogger(__name__)

Choice = TypeVar("Choice")


# ---- Files and the command line ----


def parse_with_overrides(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, list[str]]:
    """What `parser` makes of the arguments, and the changes of the configuration that stand among them.

    A change is `--config.KEY=VALUE` or `--config.KEY VALUE`; of a key that is True or False, `--config.KEY` alone is
    True and `--noconfig.KEY` is False.

    Returns:
        What the parser makes of all others; and each change as one text, as `load_config` takes it.

    Raises:
        InputError: `--noconfig.KEY` of a key that is not True or False.
    """
    rest: list[str] = []
    overrides: list[str] = []
    waiting = iter([*arguments, None])
    argument = next(waiting)
    while argument is not None:
        following = next(waiting)
        if argument.startswith(_NEGATION_PREFIX):
            overrides.append(_negated(argument))
        elif not argument.startswith(OVERRIDE_PREFIX):
            rest.append(argument)
        elif "=" in argument or following is None or not _may_be_value(argument, following):
            overrides.append(argument)
        else:
            overrides.append(f"{argument}={following}")
            following = next(waiting)
        argument = following
    return parser.parse_args(rest), overrides


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> ConfigDict:
    """The locked configuration of a file, with the command line's changes applied and checked whole.

    What it names on this machine need not be there: it may be planned here and trained elsewhere.

    Args:
        path: Python file with a function `get_config()` that returns a ConfigDict, or the bare name of one that comes
            with the package, such as `quickstart`; with a colon and a name behind it, as in `vrt:006` or
            `path/to/vrt.py:006`, the name is passed to `get_config(name)`. The file is run as a member of the package
            that its folder is, so `from . import neighbour` works in it.
        overrides: `--config.KEY=VALUE` each, KEY dotted (`training.steps`). The key's row in the table of keys decides
            what VALUE says: numbers and tuples are written as in Python, texts without quotes, and None is none.

    Raises:
        InputError: no such file, function or name; a key that does not exist; a value that its key cannot have.
    """
    config = call_file(path)
    for override in overrides:
        apply_override(config, override)
    _normalise(config)
    check_config(config, paths=False)
    return config


def call_file(path: str | Path, *, room: str = "") -> ConfigDict:
    """The locked ConfigDict that a file's `get_config` returns, not checked: of a run, or of what has other keys.

    Args:
        path: see `load_config`.
        room: the folder within `configs/` whose files bare names stand for; "" = `configs/` itself.

    Raises:
        InputError: no such file, function or name.
    """
    source, names = _split_name(str(path))
    file = _find_file(source, room)
    try:
        with run_in_its_folder(file) as module:
            config = _call_get_config(module, names)
    except (Exception, SystemExit) as error:  # whatever the user's file does wrong, it is the user's file
        raise InputError(f"{file}: {_explain(error, file)}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"{file}: expected get_config() to return a ConfigDict, found {type(config).__name__}")
    return config.lock()


def choose(choices: Mapping[str, Choice], name: str) -> Choice:
    """The choice called `name`, for files that hold several configurations.

    Args:
        choices: by name.
        name: what stands behind the colon in `--config FILE:NAME`; "" = nothing.

    Raises:
        InputError: there is no such choice; all of them are listed.
    """
    if name not in choices:
        wrong = f"found {name!r}" if name else "found none"
        raise InputError(f'expected ":NAME" behind the file, NAME one of {", ".join(choices)}; {wrong}')
    return choices[name]


# ---- The JSON beside checkpoints and weights ----


def whole_steps(folder: UserPath) -> list[int]:
    """The numbers of the checkpoints in a folder that were saved to the end, sorted; none if there is no folder.

    On a disk a checkpoint gets its name, a number, when it is whole. A folder in a bucket is there with the first
    object below it, so that a name says nothing.
    """
    if not folder.is_dir():
        return []
    numbered = [path for path in folder.iterdir() if path.name.isdecimal()]
    return sorted(int(path.name) for path in numbered if isinstance(path, Path) or (path / COMMITTED).exists())


def holds_checkpoint(workdir: AnyPath) -> bool:
    """Whether a run that is started in `workdir` continues one."""
    return bool(whole_steps(user_path(workdir) / "checkpoints" / "last"))


def save_config(config: ConfigDict, path: UserPath) -> None:
    """Writes `config` as JSON, whole or not at all."""
    write_json(path, config.to_dict())


def read_saved_config(path: UserPath, *, trust_code: bool = False) -> ConfigDict:
    """The locked configuration that `save_config` wrote, perhaps of an older run: it has every key of today.

    Keys that it lacks have their defaults; those that are not known any more are left out, with a warning.

    Args:
        path: the file.
        trust_code: whether values may name somebody's own code (`FILE.py:NAME`), which whoever takes the configuration
            up may run. A folder that somebody gave away should not decide what runs here.

    Raises:
        InputError: the file does not exist, is not such a file, or holds a value that its key cannot have.
    """
    fields = read_json(path)
    if fields is None:
        raise InputError(f"expected a run's configuration, found no file: {path}")
    default = defaults.get_config()
    if not fields.keys() & default.keys():
        raise InputError(f"expected a run's configuration ({', '.join(default)}), found no such section: {path}")
    return ConfigDict(_filled(default, fields, prefix="", source=path, trust_code=trust_code)).lock()


def read_saved_model(model: Any, *, source: AnyPath, trust_code: bool = False) -> dict[str, Any]:
    """The `model` section that describes somebody's weights, with every key of today; see `read_saved_config`.

    Args:
        model: as JSON has it.
        source: the file, for messages.
        trust_code: whether values may name somebody's own code.

    Raises:
        InputError: it is no such section, or holds a value that its key cannot have.
    """
    return _filled(defaults.get_config().model, model, prefix="model.", source=source, trust_code=trust_code)


def differences(saved: ConfigDict, wanted: ConfigDict) -> list[str]:
    """A line per value that differs, as "KEY: SAVED -> WANTED"; a key that only one of them has counts too."""
    before, after = dict(leaves(saved)), dict(leaves(wanted))
    keys = sorted(before.keys() | after.keys())
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in keys
        if before.get(key, absent) != after.get(key, absent)
    ]


def _filled(default: ConfigDict, fields: Any, *, prefix: str, source: AnyPath, trust_code: bool) -> dict[str, Any]:
    """The section `fields` with the defaults of what it lacks and without what is not known."""
    unknown: list[str] = []
    values: dict[str, Any] = {}
    section = _fill_section(default, fields, prefix, source, values, unknown)
    errors = list(key_errors(values))
    if not trust_code:
        expected = "an entry of the package (--trust-code allows code that comes with a network)"
        errors += [unexpected(key, expected, values[key]) for key in code_in(values) if key not in _FOR_TRAINING_ALONE]
    complain(f"{error}: {source}" for error in errors)
    if unknown:
        _LOGGER.warning("left out, not known to this version of spikejax: %s: %s", ", ".join(unknown), source)
    return section


def _fill_section(
    default: ConfigDict, fields: Any, prefix: str, source: AnyPath, values: dict[str, Any], unknown: list[str]
) -> dict[str, Any]:
    """The section; its values go to `values` by their dotted keys, and keys that are not known to `unknown`."""
    if not isinstance(fields, Mapping):
        raise InputError(f"{prefix.rstrip('.')}: expected a section, found {type(fields).__name__}: {source}")
    section: dict[str, Any] = {}
    for name, value in default.items():
        if isinstance(value, ConfigDict):
            section[name] = _fill_section(value, fields.get(name, {}), f"{prefix}{name}.", source, values, unknown)
        else:
            section[name] = KEYS[prefix + name].rule.normalised(_lists_to_tuples(fields.get(name, value)))
            values[prefix + name] = section[name]
    unknown += [prefix + name for name in fields if name not in default]
    return section


def _lists_to_tuples(value: Any) -> Any:
    return tuple(map(_lists_to_tuples, value)) if isinstance(value, list) else value


# ---- Running a file ----


def _split_name(path: str) -> tuple[str, tuple[str, ...]]:
    """The file or bare name that `path` begins with, and what stands behind its colon, if there is one."""
    source, colon, name = path.rpartition(":")
    if colon and (source.endswith(".py") or _is_bare(source) or not source):
        return source, (name,)
    return path, ()


def _is_bare(source: str) -> bool:
    return re.fullmatch(r"\w+", source) is not None


def _find_file(source: str, room: str) -> Path:
    """The file that `source` names, one that comes with the package, in a folder of `configs/`, for a bare name."""
    if _is_bare(source) or not source:
        names = names_in("configs", room)
        if source not in names:
            raise InputError(f"expected a configuration, one of {', '.join(names)} or a file FILE.py, found {source!r}")
        return folder_of("configs") / room / f"{source}.py"
    path = Path(source)
    if path.suffix == ".py" and path.is_file():
        return path
    kind = "a folder" if path.is_dir() else "another file" if path.is_file() else "no file"
    raise InputError(f"expected a configuration, a Python file, found {kind}: {path}")


def _call_get_config(module: ModuleType, names: tuple[str, ...]) -> Any:
    """What the file's `get_config` makes of `names`: none or one."""
    if not callable(getattr(module, "get_config", None)):
        raise InputError("expected a function get_config(), found none")
    if names and not inspect.signature(module.get_config).parameters:
        raise InputError(f'expected no name, since the file holds one configuration, found ":{names[0]}"')
    return module.get_config(*names)


def _explain(error: BaseException, file: Path) -> str:
    """One line; a locked ConfigDict's own messages list every field of a section, or name no key in full."""
    text = one_line(error)
    if isinstance(error, InputError):
        return text
    if isinstance(error, SystemExit):
        return f"expected a function get_config(), found sys.exit({error.code!r})"
    missing = re.search(r'Key "(\w+)" does not exist', text)
    if isinstance(error, AttributeError) and missing:
        nearest = re.search(r'Did you mean "(\w+)"', text)
        hint = f'; did you mean "{nearest[1]}"?' if nearest else ""
        return f'there is no configuration key "{missing[1]}"{hint}'
    mistyped = re.match(r"Could not override field '(\w+)' \(reference\)\. (.*) is of original type", text)
    keys = [key for key in KEYS if mistyped and key.rpartition(".")[2] == mistyped[1]]
    if isinstance(error, TypeError) and mistyped and keys:
        return f"{' or '.join(keys)}: expected {KEYS[keys[0]].rule.expected}, found {mistyped[2]}"
    neighbour = sought_neighbour(error, file)
    hint = f"; a file imports its neighbour as `from . import {neighbour}`" if neighbour else ""
    return f"{type(error).__name__}: {text}{hint}"


# ---- Changes of the command line ----


def _may_be_value(argument: str, following: str) -> bool:
    """Whether what follows `--config.KEY` is its value; a key that is True or False needs none."""
    row = KEYS.get(argument.removeprefix(OVERRIDE_PREFIX))
    if row is not None and isinstance(row.rule, Flag):
        return row.rule.reads(following)
    return not following.startswith("--")


def _negated(argument: str) -> str:
    """`--noconfig.KEY` as the change that it stands for."""
    key, equals, _ = argument.removeprefix(_NEGATION_PREFIX).partition("=")
    _check_key(key, KEYS)
    if equals or not isinstance(KEYS[key].rule, Flag):
        raise InputError(f"expected {OVERRIDE_PREFIX}{key}=VALUE, found {argument}")
    return f"{OVERRIDE_PREFIX}{key}=False"


def _check_key(key: str, known: Container[str]) -> None:
    if key not in KEYS or key not in known:
        raise InputError(f'there is no configuration key "{key}"; did you mean "{nearest_key(key)}"?')


def apply_override(config: ConfigDict, override: str) -> None:
    """Changes one value of `config`.

    Args:
        config: with every key.
        override: see `load_config`.

    Raises:
        InputError: a key that does not exist, or a value that it cannot have.
    """
    key, equals, text = override.removeprefix(OVERRIDE_PREFIX).partition("=")
    if not override.startswith(OVERRIDE_PREFIX):
        raise InputError(f"expected {OVERRIDE_PREFIX}KEY=VALUE, found {override!r}")
    _check_key(key, dict(leaves(config)))
    rule = KEYS[key].rule
    if not equals and not isinstance(rule, Flag):
        raise InputError(f"expected {OVERRIDE_PREFIX}{key}=VALUE, VALUE {rule.expected}, found no value")
    try:
        value = rule.normalised(rule.parse(text if equals else "True"))
    except ValueError:
        raise InputError(unexpected(key, rule.expected, text)) from None
    if not rule.allows(value):
        raise InputError(unexpected(key, rule.expected, value))
    _set(config, key, value)


def _normalise(config: ConfigDict) -> None:
    """Brings values that a file gave in another form, such as a list, to the one form that configurations hold."""
    for key, value in list(leaves(config)):
        if key in KEYS and (normal := KEYS[key].rule.normalised(value)) is not value:
            _set(config, key, normal)


def _set(config: ConfigDict, key: str, value: Any) -> None:
    *sections, name = key.split(".")
    owner = config
    for section in sections:
        owner = owner[section]
    with owner.unlocked():
        del owner[name]  # or the value would become of the old one's type, a list say
        owner[name] = value
