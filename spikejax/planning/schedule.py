"""How long a device takes for a compiled program, instruction by instruction, one after the other.

For each instruction the longest of what holds it up counts, free of stalls, so the sum is a lower bound as well, though
a much higher one than the roofline, which sets all bytes against all products. Of TPUs four things are known:

    memory: bytes of the main memory at its peak, as `spikejax.planning.traffic` counts them.
    units: XLA's own estimate of the cycles of a fusion (`"estimated_cycles"` in the text), of matrix and vector units.
    rows: gathers and scatters, of which XLA estimates nothing. Their cost is by row, not by byte.
    kernels: the cycles that a kernel's module states of its static schedule (`spikejax.kernels.cycles`).

Of GPUs the text says nothing but shapes, so memory alone is known, and products have to be set against it.
"""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from spikejax.hardware.chips import Chip
from spikejax.kernels.cycles import METADATA_NAME, MULTIPLICATIONS
from spikejax.planning.fold import FUSIONS, fold, with_fused
from spikejax.planning.hlo import Instruction, Module, Shape
from spikejax.planning.traffic import memory_bytes

# Of a row, in the machine code that libtpu 0.0.42 makes for v5e of rows of 6 channels: 579 bundles for 128 rows of a
# gather, 675 to 777 for 16 of a scatter that adds.
GATHER_CYCLES, SCATTER_CYCLES = 4.5, 45.0
_ESTIMATE = re.compile(r'"estimated_cycles":"(\d+)"')
_OF_KERNEL = re.compile(rf'{METADATA_NAME}"?[=:]"?(\d+)')


@dataclass(frozen=True)
class Schedule:
    """Seconds of a device, by what holds it up.

    Attributes:
        memory: moving arrays to and from the main memory.
        units: matrix and vector units.
        rows: gathers and scatters.
        kernels: the project's own kernels.
        gathered: rows that are gathered.
        scattered: rows that are added to by scatters.
    """

    memory: float = 0.0
    units: float = 0.0
    rows: float = 0.0
    kernels: float = 0.0
    gathered: float = 0.0
    scattered: float = 0.0

    @property
    def known(self) -> bool:
        """Whether more is known than bytes, as of a TPU with a clock."""
        return self.units > 0 or self.kernels > 0

    @property
    def seconds(self) -> float:
        """Of all instructions one after the other."""
        return self.memory + self.units + self.rows + self.kernels


def schedule_of(module: Module, chip: Chip) -> Schedule:
    """The seconds of one run of a program on a chip.

    Args:
        module: the compiled program.
        chip: its device. Of one without a clock (GPUs) only bytes count.
    """
    return fold(
        module,
        functools.partial(_own_schedule, module, chip),
        add=_add,
        scale=lambda body, rounds: _scaled(body, rounds or 1),
        weight=lambda schedule: schedule.seconds,
    )


def _own_schedule(module: Module, chip: Chip, lines: tuple[Instruction, ...]) -> Schedule:
    shapes = {line.name: line.shapes for line in lines}
    total = Schedule()
    for line in lines:
        gathered, scattered = _rows(module, line, shapes)
        causes = {"memory": memory_bytes(module, line, shapes) / chip.memory_bandwidth}
        if chip.clock:
            estimate = _ESTIMATE.search(line.text)
            # What unpacks a kernel's results carries its metadata, too.
            stated = _OF_KERNEL.search(line.text) if line.opcode == "custom-call" else None
            causes["units"] = float(estimate[1]) / chip.clock if estimate else 0.0
            causes["rows"] = (gathered * GATHER_CYCLES + scattered * SCATTER_CYCLES) / chip.clock
            # Stated for v5e; what a kernel does is mostly products.
            causes["kernels"] = float(stated[1]) * MULTIPLICATIONS * 2 / chip.bfloat16_flops if stated else 0.0
        cause = max(causes, key=lambda name: causes[name])
        total = _add(total, Schedule(**{cause: causes[cause]}, gathered=gathered, scattered=scattered))
    return total


def _rows(module: Module, line: Instruction, shapes: Mapping[str, tuple[Shape, ...]]) -> tuple[float, float]:
    """The rows that an instruction gathers and those that it scatters."""
    if line.opcode in FUSIONS:
        inner = [part for part, _ in with_fused(module, (line,))][1:]
        within = {part.name: part.shapes for part in inner}
        counts = [_rows(module, part, within) for part in inner if part.opcode in ("gather", "scatter")]
        return sum(count[0] for count in counts), sum(count[1] for count in counts)
    if line.opcode == "gather":
        row = math.prod(_numbers(line.text, "slice_sizes"))
        return math.prod(line.shapes[0].dims) / max(row, 1), 0.0
    if line.opcode == "scatter":
        # (arrays, indices, updates), as many updates as arrays.
        updates = shapes.get(line.operands[-1], ())
        if not updates:
            return 0.0, 0.0
        window = _numbers(line.text, "update_window_dims")
        return 0.0, float(math.prod(size for axis, size in enumerate(updates[0].dims) if axis not in window))
    return 0.0, 0.0


def _numbers(text: str, attribute: str) -> tuple[int, ...]:
    listed = re.search(rf"\b{attribute}={{([\d,]*)}}", text)
    return tuple(int(number) for number in listed[1].split(",") if number) if listed else ()


def _add(a: Schedule, b: Schedule) -> Schedule:
    return Schedule(*(getattr(a, field.name) + getattr(b, field.name) for field in fields(Schedule)))


def _scaled(schedule: Schedule, times: int) -> Schedule:
    return Schedule(*(times * getattr(schedule, field.name) for field in fields(Schedule)))
