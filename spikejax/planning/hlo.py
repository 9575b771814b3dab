"""The text of a compiled program (HLO), read: its computations, their instructions and the arrays these make.

The text is meant for people and changes with XLA. What is read here is that of the releases of JAX in `KNOWN_JAX`;
of each the tests keep texts for a TPU, a GPU and the CPU (tests/planning/compiled_texts.py makes them). Of

    ENTRY %main.9 (a: f32[8,16]) -> f32[8] {
      %a = f32[8,16]{1,0:T(8,128)} parameter(0)
      ROOT %sum = f32[8]{0:T(256)} reduce(%a, %zero), dimensions={1}, to_apply=%add
    }

the first line names a computation; every other one is NAME = SHAPE OPCODE(OPERANDS), ATTRIBUTES. A shape is one array
or a tuple of them, `{1,0:T(8,128)}` its layout: dimensions from the innermost on, then the tiles that TPUs fill up to.

A program for several devices is the same on each of them; the arrays are one device's.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

KNOWN_JAX = ("0.10", "0.11", "0.12")
_BITS = {"pred": 8, "s4": 4, "u4": 4, "c64": 64, "c128": 128}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\](?:\{([^{}]*)\})?")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition|true_computation|false_computation)=%([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
# What a kernel says of itself is the only thing that is written over several lines.
_KERNEL_METADATA = re.compile(r"(kernel_metadata=\{)\n([^{}]*)\n(?=\})")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Shape:
    """One array on one device.

    Attributes:
        dtype: as XLA names it.
        dims: lengths of its axes.
        layout: such as "1,0:T(8,128)(2,1)S(1)".
    """

    dtype: str
    dims: tuple[int, ...]
    layout: str

    @property
    def size(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.dims) * _bits(self.dtype) // 8

    @property
    def stored(self) -> int:
        """Bytes in the main memory, with the filling that its tiles need; 0 if it lies in another memory (VMEM)."""
        if re.search(r"S\([1-9]\d*\)", self.layout):
            return 0
        order, _, tiling = self.layout.partition(":")
        tile = re.match(r"T\(([\d,]+)\)", tiling)
        if not tile or not self.dims:
            return self.size
        dims = [self.dims[int(axis)] for axis in order.split(",")]  # minor first
        for axis, length in enumerate(reversed(tile[1].split(","))):
            if axis < len(dims):
                dims[axis] = math.ceil(dims[axis] / int(length)) * int(length)
        return math.prod(dims) * _bits(self.dtype) // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of a computation.

    Attributes:
        name: of its result.
        opcode: such as "fusion".
        shapes: of its result; several if it is a tuple.
        operands: names of other instructions.
        called: computations by the role they play.
        text: all that follows the operands.
        arguments: what stands between the parentheses.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    called: Mapping[str, tuple[str, ...]]
    text: str
    arguments: str


@dataclasses.dataclass(frozen=True)
class Module:
    """A program."""

    computations: Mapping[str, tuple[Instruction, ...]]
    entry: str


def parse(text: str) -> Module:
    """The program that `compiled.as_text()` describes."""
    computations: dict[str, tuple[Instruction, ...]] = {}
    entry, name, lines = "", "", list[Instruction]()
    for line in _KERNEL_METADATA.sub(r"\1\2", text).splitlines():
        if head := _COMPUTATION.match(line):
            name, lines = head[2], []
            entry = name if head[1] else entry
        elif line.startswith("}") and name:
            computations[name], name = tuple(lines), ""
        elif name and (parts := _INSTRUCTION.match(line)):
            lines.append(_instruction(parts[1], parts[2]))
    if not entry:
        raise ValueError("expected the text of a compiled program, found no entry computation")
    return Module(computations, entry)


def _instruction(name: str, rest: str) -> Instruction:
    # The shape may be a tuple with blanks in it, and the operands may hold parentheses: both end where theirs closes.
    end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ") - 1
    opcode, _, tail = rest[end + 2 :].partition("(")
    close = _closing("(" + tail, 0) - 1
    arguments, text = tail[:close], tail[close + 1 :]
    called: dict[str, tuple[str, ...]] = {role: (target,) for role, target in _CALLED.findall(text)}
    if branches := _BRANCHES.search(text):
        called["branches"] = tuple(_NAME.findall(branches[1]))
    return Instruction(
        name=name,
        opcode=opcode,
        shapes=tuple(_shapes(rest[: end + 1])),
        operands=tuple(_NAME.findall(arguments)),
        called=called,
        text=text,
        arguments=arguments,
    )


def _shapes(text: str) -> Iterator[Shape]:
    for dtype, dims, layout in _ARRAY.findall(text):
        yield Shape(dtype, tuple(int(size.lstrip("<=")) for size in dims.split(",") if size), layout or "")


def _closing(text: str, start: int) -> int:
    """The index of the parenthesis that closes the one at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if not depth:
            return index
    raise ValueError(f"expected a closing parenthesis in {text[:80]!r}")


def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) if digits else 0  # tokens hold nothing
