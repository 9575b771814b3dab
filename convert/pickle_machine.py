"""Pickles carried out by a machine of our own, which imports nothing and calls nothing that a file names.

A pickle is a program for a stack machine; Python's own looks up any name and calls it with any arguments. This one
knows the instructions that put plain values together, asks `find` for every name, and calls only what that returns.
A name that `find` does not know becomes an `Unknown`: a mark with a name, which stays one whatever the pickle does to
it. No instruction makes more than its own bytes in the file are worth, so that memory stays in proportion to the file.
"""

import io
import pickletools
import warnings
from collections.abc import Callable, Hashable, Iterator
from typing import IO, Any

_PUSHES_ITS_ARGUMENT = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
    "BINUNICODE8", "FLOAT", "BINFLOAT",
}  # fmt: skip
_PUSHES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict, "EMPTY_SET": set,
}  # fmt: skip
_PLAIN_KEY = (str, bytes, int, float, complex, type(None))
_LONGEST_NAME = 80
_PIECE = 2**20  # bytes
# What a zip archive opens is the latter, and annotated as the former.
BinaryFile = IO[bytes] | io.BufferedIOBase


class Unknown:
    """An object of a class, or the answer of a function, that the reader does not know: nothing but a name.

    Attributes:
        name: "module.name" of the class or function, printable and not long.
    """

    __slots__ = ("name",)

    def __init__(self, name: str):
        printable = "".join(letter if letter.isprintable() else "?" for letter in name[: _LONGEST_NAME + 1])
        self.name = printable if len(printable) <= _LONGEST_NAME else f"{printable[:_LONGEST_NAME]}..."


class Known:
    """What a name that is known leads to: a pickle may call it, or hand it on as an argument, and nothing else.

    Attributes:
        call: what REDUCE and its like do, given the arguments.
    """

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]):
        self.call = call


class Buildable:
    """A value that the instruction BUILD completes."""

    def build(self, state: Any) -> None:
        """Takes over the state that the pickle holds for it."""
        raise NotImplementedError


Find = Callable[[str, str], Known | None]


class PickleMachine:
    """Carries out one pickle.

    Attributes:
        unknown: the names that were asked for and are not known, in their order.
    """

    def __init__(self, *, find: Find, persistent_load: Callable[[Any], Any]):
        """A machine for one pickle.

        Args:
            find: what a module and a name lead to, None if they are not known.
            persistent_load: the value of a persistent id.
        """
        self.unknown: dict[str, None] = {}
        self._find, self._persistent_load = find, persistent_load
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: BinaryFile) -> Any:
        """The value of the pickle at the position of `file`, which is read up to its end.

        Raises:
            ValueError, TypeError, IndexError, KeyError, OverflowError, EOFError: it is cut off, or no pickle.
        """
        for opcode, argument, _ in _instructions(file):
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _PUSHES_ITS_ARGUMENT:
                self._stack.append(argument)
            elif name in _PUSHES:
                self._stack.append(_PUSHES[name]())
            elif not (self._arrange(name, argument) or self._fill(name) or self._make(name, argument)):
                raise ValueError(f"it holds the instruction {name}")
        raise EOFError("it has no end")

    def _arrange(self, name: str, argument: Any) -> bool:
        """Does what moves values between the stack and the memo; whether it was that."""
        stack, memo = self._stack, self._memo
        if name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name == "POP_MARK":
            self._since_mark()
        elif name == "POP":
            stack.pop()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        else:
            return False
        return True

    def _fill(self, name: str) -> bool:
        """Does what puts values into a container; whether it was that."""
        stack = self._stack
        if name == "APPEND":
            _extend(stack[-2], [stack[-1]])
            stack.pop()
        elif name == "APPENDS":
            items = self._since_mark()
            _extend(stack[-1], items)
        elif name == "SETITEM":
            _update(stack[-3], stack[-2:])
            del stack[-2:]
        elif name == "SETITEMS":
            items = self._since_mark()
            _update(stack[-1], items)
        elif name == "ADDITEMS":
            items = self._since_mark()
            if not isinstance(stack[-1], Unknown):
                _expect(stack[-1], set).update(map(as_key, items))
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Buildable):
                stack[-1].build(state)
            elif not isinstance(stack[-1], Unknown | dict):  # a dict's state are attributes, of no interest
                raise ValueError(f"it changes a {type(stack[-1]).__name__}")
        else:
            return False
        return True

    def _make(self, name: str, argument: Any) -> bool:
        """Does what makes a value of others; whether it was that."""
        stack = self._stack
        if name == "LIST":
            stack.append(self._since_mark())
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name == "FROZENSET":
            stack.append(frozenset(map(as_key, self._since_mark())))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = [stack.pop() for _ in range(count)]
            stack.append(tuple(reversed(items)))
        elif name == "DICT":
            made: dict[Any, Any] = {}
            _update(made, self._since_mark())
            stack.append(made)
        elif name == "GLOBAL":
            module, _, attribute = argument.partition(" ")
            stack.append(self._look_up(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = _expect(stack.pop(), str), _expect(stack.pop(), str)
            stack.append(self._look_up(module, attribute))
        elif name in ("PERSID", "BINPERSID"):
            stack.append(self._persistent_load(argument if name == "PERSID" else stack.pop()))
        else:
            return self._call(name, argument)
        return True

    def _call(self, name: str, argument: Any) -> bool:
        """Does what calls what a name led to; whether it was that."""
        stack = self._stack
        if name in ("REDUCE", "NEWOBJ"):
            arguments, function = _expect(stack.pop(), tuple), stack.pop()
        elif name == "NEWOBJ_EX":
            keywords, arguments, function = stack.pop(), _expect(stack.pop(), tuple), stack.pop()
            if keywords and isinstance(function, Known):
                raise ValueError("it calls a name with keywords")
        elif name == "OBJ":
            function, *rest = self._since_mark()
            arguments = tuple(rest)
        elif name == "INST":
            arguments = tuple(self._since_mark())
            module, _, attribute = argument.partition(" ")
            function = self._look_up(module, attribute)
        else:
            return False
        if isinstance(function, Known):
            stack.append(function.call(*arguments))
        elif isinstance(function, Unknown):
            stack.append(Unknown(function.name))
        else:
            raise ValueError(f"it calls a {type(function).__name__}")
        return True

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _look_up(self, module: str, name: str) -> Known | Unknown:
        known = self._find(module, name)
        if known is not None:
            return known
        unknown = Unknown(f"{module}.{name}")
        self.unknown[unknown.name] = None
        return unknown


def _instructions(file: BinaryFile) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in texts, where the file is damaged
        yield from pickletools.genops(_InPieces(file))  # type: ignore[arg-type]


class _InPieces:
    """A file for `genops`: what claims to be long is read in pieces, and nobody asks for positions, which is slow."""

    def __init__(self, file: BinaryFile):
        self._read, self.readline = file.read, file.readline

    def read(self, size: int) -> bytes:
        if size <= _PIECE:
            return self._read(size)
        pieces = []
        while size > 0 and (piece := self._read(min(size, _PIECE))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def as_key(value: Any) -> Hashable:
    """`value` as the key of a dict; a container is only a name, since hashing a deep one would exhaust the stack."""
    if isinstance(value, (*_PLAIN_KEY, Unknown)):
        return value
    if isinstance(value, tuple) and all(isinstance(item, _PLAIN_KEY) for item in value):
        return value
    return Unknown(f"a key of the type {type(value).__name__}")


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(target, Unknown):
        _expect(target, list).extend(items)


def _update(target: Any, items: list[Any]) -> None:
    """Sets items, of which every second is a key."""
    if len(items) % 2:
        raise ValueError("it has a key without a value")
    if not isinstance(target, Unknown):
        entries = _expect(target, dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            entries[as_key(key)] = value


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it holds a {type(value).__name__} instead of a {kind.__name__}")
    return value
