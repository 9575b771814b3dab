"""The state dict within what a file of weights holds: found among other things, and named as its network names it.

Training programs keep a state dict under a key of their own, beside an optimizer and options, often twice (as it is,
and averaged), with prefixes before all keys. What is taken and what is left aside is said, a line each.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spikejax.errors import InputError

from .pickle_machine import Unknown
from .pickles import as_array
from .stored_arrays import StoredArray

Note = Callable[[str], None]
# Where programs put a state dict beside other things; of several, the first of these. The averages over training come
# first: they are what gets published.
WRAPPERS = (
    "params_ema", "state_dict_ema", "model_ema", "ema_model", "net_g_ema", "generator_ema",
    "params", "state_dict", "model_state_dict", "model", "net_g", "generator", "network", "weights",
)  # fmt: skip
# What wrappers of modules put before every key: DataParallel, torch.compile, Lightning.
_EVERY_KEY = ("module.", "_orig_mod.", "model.")
# What frameworks call the network that restores, beside other networks and numbers; averages first.
_ONE_OF_MANY = ("generator_ema.", "ema_model.", "net_g_ema.", "generator.", "net_g.")
_DEEPEST = 20  # dicts within dicts
_MOST_ENTRIES = 1_000_000
_SHOWN = 8


@dataclass(frozen=True)
class StateDict:
    """The arrays of a network as a file holds them.

    Attributes:
        arrays: {key: array}, without wrappers and prefixes.
        numbers: numbers that lie beside them, by their dotted keys.
        description: what `to-torch` wrote of the network, if it did.
    """

    arrays: dict[str, StoredArray]
    numbers: dict[str, float]
    description: str | None = None


def silent(line: str) -> None:
    """What takes notes that nobody reads."""


def find_state_dict(value: Any, path: Any, *, prefix: str | None = None, note: Note = silent) -> StateDict:
    """The state dict in what a file holds.

    Args:
        value: dicts of dicts, with `StoredArray` and `Unknown` among other things.
        path: of the file, for messages.
        prefix: what the keys that are taken begin with; None = as programs are known to do it.
        note: is told what was taken and what was left, a line each.

    Raises:
        InputError: there is none, or a part of it is unknown.
    """
    wrapped = _unwrap(value, path, note)
    entries = {key: entry for key, entry in _entries(wrapped, path) if isinstance(entry, StoredArray | Unknown)}
    if not any(isinstance(entry, StoredArray) for entry in entries.values()):
        held = f"a dict of {', '.join(map(_printable, list(wrapped)[:_SHOWN])) or 'nothing'}"
        for key, entry in entries.items():
            if isinstance(entry, Unknown):
                held = f"{key}, which needs {entry.name} (not run)"
                break
        raise InputError(f"expected a file of weights, found no arrays in it, but {held}: {path}")
    arrays = {}
    for key, entry in _strip(entries, prefix, path, note).items():
        if isinstance(entry, Unknown):
            raise InputError(
                f"expected arrays alone among the weights, found {key}, which needs {entry.name} (not run): {path}"
            )
        arrays[key] = entry
    return StateDict(arrays, _numbers(value))


def _numbers(value: Any) -> dict[str, float]:
    """The numbers in a dict and in the dicts that it holds; what lies deeper is none of an adapter's settings."""
    numbers: dict[str, float] = {}
    for key, entry in value.items():
        inner = entry.items() if isinstance(entry, Mapping) else [("", entry)]
        for below, number in inner:
            if isinstance(number, int | float):
                numbers[f"{_printable(key)}.{_printable(below)}".rstrip(".")] = float(number)
    return numbers


def _entries(value: Any, path: Any) -> Iterator[tuple[str, Any]]:
    """(dotted key, entry) of all that dicts within dicts hold.

    Raises:
        InputError: there is more than weights have, as when dicts contain each other.
    """
    visits = 0

    def walk(mapping: Mapping[Any, Any], before: str, depth: int) -> Iterator[tuple[str, Any]]:
        nonlocal visits
        for key, entry in mapping.items():
            visits += 1
            if visits > _MOST_ENTRIES:
                raise InputError(f"expected a dict of arrays, found more than {_MOST_ENTRIES:,} entries in it: {path}")
            name, entry = f"{before}{_printable(key)}", as_array(entry)
            if not isinstance(entry, Mapping):
                yield name, entry
            elif depth < _DEEPEST:
                yield from walk(entry, f"{name}.", depth + 1)
            elif entry:
                raise InputError(f"expected a dict of arrays, found dicts more than {_DEEPEST} deep: {path}")

    if isinstance(value, Mapping):
        yield from walk(value, "", 0)


def _printable(key: Any) -> str:
    """A key as a text that a terminal can show."""
    text = key if isinstance(key, str) else key.name if isinstance(key, Unknown) else str(key)
    return text if text.isprintable() else ascii(text)[1:-1]


def _unwrap(value: Any, path: Any, note: Note) -> Mapping[Any, Any]:
    """The state dict within `value`; what training keeps beside it is left aside."""
    for _ in range(_DEEPEST):
        if isinstance(value, Unknown):
            raise InputError(f"expected a dict of arrays, found an object of {value.name}, which was not run: {path}")
        if not isinstance(value, Mapping):
            raise InputError(f"expected a dict of arrays, found a {type(value).__name__}: {path}")
        entries = {key: as_array(entry) for key, entry in value.items()}
        if any(isinstance(entry, StoredArray) for entry in entries.values()):
            return value
        inner = [key for key in WRAPPERS if _has_arrays(entries.get(key), path)]
        if not inner:  # what lies beside dicts of arrays is none of the weights
            return {key: entry for key, entry in entries.items() if _has_arrays(entry, path)} or value
        if len(inner) > 1:
            note(f"taken: {inner[0]}; left aside: {', '.join(inner[1:])}: {path}")
        value = entries[inner[0]]
    raise InputError(f"expected a dict of arrays, found dicts within dicts: {path}")


def _has_arrays(value: Any, path: Any) -> bool:
    return any(isinstance(entry, StoredArray) for _, entry in _entries(value, path))


Entries = dict[str, StoredArray | Unknown]


def _strip(arrays: Entries, prefix: str | None, path: Any, note: Note) -> Entries:
    """The entries of the network, without what their keys begin with."""
    if prefix is not None:
        taken = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        if not taken:
            raise InputError(f"expected keys that begin with {prefix}, found {next(iter(arrays))} and others: {path}")
        return taken
    removed, left = "", 0
    while chosen := _prefix_of(arrays):
        taken = {key.removeprefix(chosen): array for key, array in arrays.items() if key.startswith(chosen)}
        removed, left, arrays = removed + chosen, left + len(arrays) - len(taken), taken
    if removed:
        rest = f"; left aside: {left} array{'s' * (left > 1)} without it" if left else ""
        note(f"taken: the keys that begin with {removed}{rest}: {path}")
    return arrays


def _prefix_of(keys: Entries) -> str | None:
    """The known prefix that is removed next, None if there is none."""
    for prefix in _EVERY_KEY:
        if all(key.startswith(prefix) for key in keys):
            return prefix
    return next((prefix for prefix in _ONE_OF_MANY if any(key.startswith(prefix) for key in keys)), None)
