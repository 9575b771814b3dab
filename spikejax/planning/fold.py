"""One walk over a compiled program for everything that is summed over what a device does in one run of it.

A loop counts as often as it runs, a branch if it is the costliest; what is called counts where it is called.
"""

import functools
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from spikejax.planning.hlo import Instruction, Module

FUSIONS = ("fusion", "fusion-start")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
Total = TypeVar("Total")


def fold(
    module: Module,
    own: Callable[[tuple[Instruction, ...]], Total],
    *,
    add: Callable[[Total, Total], Total],
    scale: Callable[[Total, int | None], Total],
    weight: Callable[[Total], float],
) -> Total:
    """The sum over one run of a program.

    Args:
        module: the program.
        own: of the instructions of a computation, fusions included, loops and calls left out.
        add: of two.
        scale: of a loop's body, by its rounds; None if nobody knows them.
        weight: by which the costlier of two branches is found.
    """

    @functools.cache
    def total_of(computation: str) -> Total:
        lines = module.computations[computation]
        return functools.reduce(add, _parts(lines), own(lines))

    def _parts(lines: tuple[Instruction, ...]) -> Iterator[Total]:
        for instruction in lines:
            called = instruction.called
            if instruction.opcode == "while":
                yield scale(total_of(called["body"][0]), _rounds(module, instruction))
            elif instruction.opcode == "conditional":
                branches = [total_of(name) for names in called.values() for name in names]
                yield max(branches, key=weight)
            elif instruction.opcode in ("call", "async-start"):
                yield from (total_of(name) for names in called.values() for name in names)

    return total_of(module.entry)


def with_fused(module: Module, lines: tuple[Instruction, ...]) -> Iterator[tuple[Instruction, str]]:
    """Every instruction and, below it, those of the fusions, with the name of the fused computation ("" outside)."""
    for line in lines:
        yield line, ""
        if line.opcode in (*FUSIONS, "custom-call"):
            for name in line.called.get("calls", ()):
                yield from ((inner, scope or name) for inner, scope in with_fused(module, module.computations[name]))


def _rounds(module: Module, loop: Instruction) -> int | None:
    """How often a loop runs: as the compiler notes it, else the bound that its condition compares with."""
    if noted := _TRIPS.search(loop.text):
        return int(noted[1])
    condition = module.computations[loop.called["condition"][0]]
    bounds = [
        int(line.arguments)
        for line, _ in with_fused(module, condition)
        if line.opcode == "constant"
        and line.shapes[0].dtype in ("s32", "u32")
        and line.arguments.lstrip("-").isdecimal()
    ]
    return max(bounds, default=0) or None
