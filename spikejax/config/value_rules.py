"""What a value of a configuration may be: kinds of values with their ranges, as the table of keys uses them.

A rule describes itself in the words of a message ("a whole number from 1"), says whether a value keeps to it, and reads
a value from the command line. A value read back from JSON, or given as a whole number where any number will do, is
brought to the one form that configurations hold (`normalised`): tuples for lists, floats for whole numbers, and what
the key has for none ("", "none" or an empty tuple) for None.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import Any

from spikejax.extensions import entry_name, is_code

# Counters of updates on the devices are of 32 bits.
LARGEST_WHOLE = 2**31 - 1
# Beyond these, numbers are infinite or zero in float32.
_LARGEST_NUMBER = 3.4e38
# As absl's flags read them, in capitals or not.
_FLAG_WORDS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class ValueRule:
    """A kind of value."""

    @property
    def expected(self) -> str:
        """The values that it allows, in words."""
        raise NotImplementedError

    def allows(self, value: Any) -> bool:
        """Whether `value`, as `normalised` gives it, is of the kind and within its range."""
        raise NotImplementedError

    def normalised(self, value: Any) -> Any:
        """`value` in the form that configurations hold, where it is another form of the same; else `value` itself."""
        return value

    def parse(self, text: str) -> Any:
        """The value that a text of the command line says; raises `ValueError` for one that says none."""
        return _literal(text)


@dataclass(frozen=True)
class Whole(ValueRule):
    """A whole number.

    Attributes:
        low: the smallest.
        high: the largest.
        also: further ones that are allowed, such as -1 for "all".
    """

    low: int = 0
    high: int = LARGEST_WHOLE
    also: tuple[int, ...] = ()

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        words = f"a whole number from {self.low}"
        if self.high != LARGEST_WHOLE:
            words += f" to {self.high}"
        return " or ".join([*map(str, self.also), words])

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        return type(value) is int and (self.low <= value <= self.high or value in self.also)


@dataclass(frozen=True)
class Number(ValueRule):
    """A finite number.

    Attributes:
        low: the smallest.
        high: the largest.
        above: whether it has to be larger than `low`.
        below: whether it has to be smaller than `high`.
    """

    low: float = 0.0
    high: float = _LARGEST_NUMBER
    above: bool = False
    below: bool = False

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        words = f"a number {'above' if self.above else 'from'} {self.low:g}"
        if self.high == _LARGEST_NUMBER:
            return words
        return f"{words} to {'below ' if self.below else ''}{self.high:g}"

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        # Compared first: whole numbers beyond it have no float, and nothing says so of NaN.
        if type(value) not in (int, float) or not abs(value) <= _LARGEST_NUMBER:
            return False
        enough = value > self.low if self.above else value >= self.low
        return enough and (value < self.high if self.below else value <= self.high)

    def normalised(self, value: Any) -> Any:
        """See `ValueRule`."""
        return float(value) if type(value) is int and abs(value) <= _LARGEST_NUMBER else value

    def parse(self, text: str) -> Any:
        """See `ValueRule`."""
        try:
            return float(text)
        except ValueError:
            return _literal(text)


@dataclass(frozen=True)
class Flag(ValueRule):
    """Yes or no."""

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        return "True or False"

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        return type(value) is bool

    def parse(self, text: str) -> Any:
        """See `ValueRule`."""
        return _FLAG_WORDS[text.lower()] if self.reads(text) else _literal(text)

    def reads(self, text: str) -> bool:
        """Whether a text says yes or no."""
        return text.lower() in _FLAG_WORDS


@dataclass(frozen=True)
class OneOf(ValueRule):
    """One of a few values.

    Attributes:
        values: all of them; texts, or whole numbers.
        code: whether an entry of the user's own code may stand in their place, see `spikejax.extensions`.
    """

    values: tuple[Any, ...]
    code: bool = False

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        names = [str(value) for value in self.values] + (["FILE.py:NAME"] if self.code else [])
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        if any(type(value) is type(known) and value == known for known in self.values):
            return True
        return self.code and isinstance(value, str) and is_code(value)

    def normalised(self, value: Any) -> Any:
        """See `ValueRule`."""
        return "none" if value is None and "none" in self.values else value

    def parse(self, text: str) -> Any:
        """See `ValueRule`."""
        if not isinstance(self.values[0], str):
            return _literal(text)
        return None if text == "None" else text


@dataclass(frozen=True)
class Text(ValueRule):
    """Any text."""

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        return "a text"

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        return isinstance(value, str)

    def normalised(self, value: Any) -> Any:
        """See `ValueRule`."""
        return "" if value is None else value

    def parse(self, text: str) -> Any:
        """See `ValueRule`; the text is taken as it is, spaces, commas and quotes with it, but None is none."""
        return None if text == "None" else text


@dataclass(frozen=True)
class Pattern(Text):
    """A regular expression that is searched for in names, or "" for none."""

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        return "a regular expression that needs a character to match, or nothing"

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        if not isinstance(value, str):
            return False
        try:
            # What is found in an empty text is found everywhere: `()`, `.*` or `spynet|`.
            return not value or re.search(value, "") is None
        except (re.error, RecursionError, OverflowError):
            return False


@dataclass(frozen=True)
class PathName(Text):
    """The name of a file or folder, or "" for none.

    Attributes:
        kind: what it is the name of, for messages.
        folder: whether only a folder will do.
    """

    kind: str = "file or folder"
    folder: bool = False

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        return f"a {self.kind} or nothing"

    def allows(self, value: Any) -> bool:
        """Whether it is a name; what lies there is another question, see `check_config`."""
        return isinstance(value, str) and "\0" not in value


@dataclass(frozen=True)
class AxisSize(Text):
    """The number of devices along an axis, which is -1 or from 1."""

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        return "AXIS=SIZE"

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        return isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*=(-1|[1-9][0-9]{0,8})", value) is not None


@dataclass(frozen=True)
class Several(ValueRule):
    """A tuple.

    Attributes:
        entry: what each of its values may be, or one rule for each of them.
        names: what the values are, one name for each, where their number is fixed.
        shortest: the least number of values, where it is not.
        distinct: whether none may come twice; of entries of code and of tables, none of one name.
    """

    entry: ValueRule | tuple[ValueRule, ...]
    names: tuple[str, ...] = ()
    shortest: int = 0
    distinct: bool = False

    @property
    def expected(self) -> str:
        """See `ValueRule`."""
        if isinstance(self.entry, tuple):
            parts = (f"{name} {entry.expected}" for name, entry in zip(self.names, self.entry, strict=True))
            return f"({', '.join(self.names)}): {', '.join(parts)}"
        if self.names:
            return f"({', '.join(self.names)}), each {self.entry.expected}"
        number = f" of at least {self.shortest}" if self.shortest else ""
        return f"a tuple{number}, each entry {self.entry.expected}{', none twice' if self.distinct else ''}"

    def allows(self, value: Any) -> bool:
        """See `ValueRule`."""
        if not isinstance(value, tuple) or len(value) < self.shortest:
            return False
        if self.names and len(value) != len(self.names):
            return False
        entries = self.entry if isinstance(self.entry, tuple) else (self.entry,) * len(value)
        if not all(entry.allows(one) for entry, one in zip(entries, value, strict=True)):
            return False
        return not self.distinct or not self._repeats(value)

    def _repeats(self, values: tuple[Any, ...]) -> bool:
        """Whether two of the values, which are allowed one by one, are the same or have one name in files."""
        names = [entry_name(value) if isinstance(value, str) else value for value in values]
        known = self.entry.values if isinstance(self.entry, OneOf) else ()
        hidden = any(isinstance(value, str) and is_code(value) and entry_name(value) in known for value in values)
        return hidden or len(set(names)) < len(names)

    def normalised(self, value: Any) -> Any:
        """See `ValueRule`."""
        if value is None and not self.names and not self.shortest:
            return ()
        return tuple(value) if isinstance(value, list) else value

    def parse(self, text: str) -> Any:
        """See `ValueRule`; parentheses may be left out, and the quotes of texts: a,b stands for ('a', 'b')."""
        text = text.strip()
        if not text:
            return ()
        if not isinstance(self.entry, Text | OneOf):
            return self._as_tuple(_literal(text))
        try:
            value = self._as_tuple(_literal(text))
        except ValueError:
            value = None
        if value is not None and all(isinstance(entry, str) for entry in value):
            return value
        if (text[0], text[-1]) in (("(", ")"), ("[", "]")):
            text = text[1:-1]
        return tuple(self.entry.parse(part.strip()) for part in text.split(",") if part.strip())

    def _as_tuple(self, value: Any) -> tuple[Any, ...]:
        value = self.normalised(value)
        return value if isinstance(value, tuple) else (value,)


def _literal(text: str) -> Any:
    """The Python value that a text says; true and false are written small as well."""
    try:
        with warnings.catch_warnings():
            # Of texts that look like Python nearly, such as 1if or '\\d'; what is wrong with them is said by the rule.
            warnings.simplefilter("ignore")
            return ast.literal_eval({"true": "True", "false": "False"}.get(text, text.strip()))
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from error
