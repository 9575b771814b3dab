"""What a compiled program sends between devices and moves through memory, loops counted in full.

XLA's `cost_analysis` counts the body of a loop once and says nothing of communication; the program's text has both.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Mapping

from spikejax.planning.fold import FUSIONS, fold, with_fused
from spikejax.planning.hlo import Instruction, Module, Shape

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """The collectives of a kind, on one device and step.

    Attributes:
        count: how often they run.
        bytes: of whole arrays: what is gathered, reduced or exchanged.
        sent: bytes that leave the device if the work goes round a ring.
    """

    count: float
    bytes: float
    sent: float


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What one device moves in a step.

    Attributes:
        collectives: by kind, such as "all-reduce".
        memory_bytes: read from and written to the main memory.
        unknown_loops: loops whose number of rounds is not in the text; they count as one round.
    """

    collectives: Mapping[str, Collective]
    memory_bytes: float
    unknown_loops: int

    @property
    def sent(self) -> float:
        """Bytes that leave the device."""
        return sum(kind.sent for kind in self.collectives.values())

    @property
    def weight(self) -> float:
        """By which the costlier of two branches is found."""
        return self.sent + self.memory_bytes


def measure_traffic(module: Module) -> Traffic:
    """What a device sends and moves in one run of the program.

    Of branches the costliest counts. The bytes of the main memory are an estimate: every instruction outside of
    fusions reads its operands and writes its result once; of what is only sliced the slice counts.
    """
    return fold(
        module,
        functools.partial(_own_traffic, module),
        add=_sum,
        scale=lambda body, rounds: _scaled(body, rounds or 1, unknown=rounds is None),
        weight=lambda traffic: traffic.weight,
    )


def _own_traffic(module: Module, lines: tuple[Instruction, ...]) -> Traffic:
    """What the instructions of a computation do, fusions included, loops and calls left out."""
    shapes = {line.name: line.shapes for line in lines}
    # An asynchronous collective is shown in its start, in what runs meanwhile and in its end, under one channel.
    collectives: dict[str, tuple[str, Collective]] = {}
    for line, scope in with_fused(module, lines):
        kind = _collective_kind(line, scope)
        if kind:
            channel = re.search(r"channel_id=(\d+)", line.text)
            collectives[channel[1] if channel else f"{scope} {line.name}"] = kind, _collective(kind, line)
    totals: dict[str, Collective] = {}
    for kind, one in collectives.values():
        totals[kind] = _add(totals[kind], one) if kind in totals else one
    return Traffic(totals, sum(memory_bytes(module, line, shapes) for line in lines), 0)


def _collective_kind(line: Instruction, scope: str) -> str | None:
    kind = line.opcode.removesuffix("-start")
    if kind not in COLLECTIVES:
        return None
    # TPUs fuse a reduction with the slice of it that a device keeps.
    return "reduce-scatter" if kind == "all-reduce" and scope.startswith("all-reduce-scatter") else kind


def _collective(kind: str, line: Instruction) -> Collective:
    size = float(sum(shape.size for shape in _results(line)))
    members = _group_size(line.text)
    if line.opcode.startswith("reduce-scatter"):
        size *= members  # its result is the part
    share = (members - 1) / members
    sent = {
        "all-reduce": 2 * share,
        "collective-permute": 1.0,
        "collective-broadcast": 1.0,
    }.get(kind, share)
    return Collective(1, size, sent * size)


def _results(line: Instruction) -> tuple[Shape, ...]:
    """What an instruction makes, without the operands and flags that the start of asynchronous work names as well.

    The start of an all-gather is `(operands, results, flags)`; that of an all-reduce is its results alone in the texts
    of JAX 0.10, and `((operands), results)`, like that of a reduce-scatter or a fusion, in those of later ones.
    """
    if not line.opcode.endswith("-start"):
        return line.shapes
    arrays = tuple(shape for shape in line.shapes if not (shape.dtype == "u32" and not shape.dims))
    count = len(line.operands)
    return arrays[count:] if len(arrays) > count else arrays


def _group_size(text: str) -> int:
    """Devices that take part together, from any of the ways in which HLO writes groups; 2 for a permutation."""
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}", text):
        sizes = {axis: int(size) for axis, size in re.findall(r"('[^']*')=(\d+)", mesh[1])}
        return math.prod(sizes[axis.split(":")[0]] for axis in mesh[2].split(",") if axis)
    if iota := re.search(r"replica_groups=\[\d+,(\d+)\]<=", text):
        return int(iota[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return len(listed[1].split(","))
    return 2


# These name, or wait for, what others compute and move.
_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all"),
    *("partition-id", "replica-id", "async-start", "async-update", "optimization-barrier", "domain", "iota"),
}
_SLICES = {"dynamic-slice", "slice", "gather", "slice-start"}
# These change a part of their first operand where it lies: which operand is the part, and how often it passes the
# memory. A scatter adds to what is there, so it reads and writes.
_UPDATES = {"dynamic-update-slice": (1, 1), "scatter": (2, 2)}


def memory_bytes(module: Module, line: Instruction, shapes: Mapping[str, tuple[Shape, ...]]) -> float:
    """Bytes of the main memory that an instruction reads and writes."""
    if (
        line.opcode in _FREE
        or line.opcode.endswith("-done")
        or line.text.startswith(', custom_call_target="AllocateBuffer"')
    ):
        return 0
    written = sum(shape.stored for shape in _results(line))
    operands = [sum(shape.stored for shape in shapes.get(name, ())) for name in line.operands]
    if line.opcode == "copy-start":
        return sum(shape.stored for shape in line.shapes[:2])  # (to, from, flag)
    if line.opcode in _SLICES:
        result = line.shapes[-2] if line.opcode == "slice-start" else line.shapes[0]
        return result.size * bool(operands and operands[0]) + (0 if line.opcode == "slice-start" else written)
    if line.opcode in _UPDATES:
        return (sum(operands[1:]) + _update_bytes(line, shapes)) * bool(written)
    if line.opcode in FUSIONS and "calls" in line.called:
        return _fusion_bytes(module.computations[line.called["calls"][0]], operands, written)
    return sum(operands) + written


def _fusion_bytes(inner: tuple[Instruction, ...], operands: list[int], written: int) -> float:
    """The same of a fusion: of an operand it only slices the slices, of one it updates in place the update.

    A fusion is one kernel: what lies between its instructions stays in registers or a cache. So only its operands and
    its result count, and they need not be whole. The bodies of the network's loops are such fusions: they cut one
    layer's parameters out of those of all layers, and write one layer's activations into a buffer for all of them.
    Counted whole, a loop of n layers would move n times as much, so both cases are taken apart here:

        operand [n, ...] -> dynamic-slice [1, ...] -> ...     counts as the slice
        operand [n, ...], part [1, ...] -> dynamic-update-slice -> result [n, ...]
                                                              counts as the part; the result shares the operand's memory

    Args:
        inner: the instructions of the fused computation; its parameters say which operand they are.
        operands: bytes of each operand, 0 if it does not lie in the main memory.
        written: bytes of the result.
    """
    shapes = {line.name: line.shapes for line in inner}
    users: dict[str, list[Instruction]] = {}
    for line in inner:
        for name in line.operands:
            users.setdefault(name, []).append(line)
    total = 0.0
    # What is read: each operand by what uses it inside.
    for line in inner:
        if line.opcode != "parameter" or not operands[int(line.arguments)]:
            continue
        whole, using = operands[int(line.arguments)], users.get(line.name, [])
        if using and all(user.opcode in _SLICES and user.operands[0] == line.name for user in using):
            # A fusion may cut more slices than there are parts, but reads no element from memory twice.
            total += min(whole, sum(user.shapes[0].size for user in using))
        # Where all uses are updates in place the operand is not read: its bytes are the result's.
        elif not all(_updates(user, line.name) for user in using):
            total += whole
    # What is written: of a result that is an updated operand the update alone. A result of several arrays may hold
    # some that are written whole, so the saving is taken off and never more than there is.
    for line in inner:
        if line.opcode in _UPDATES:
            whole = line.shapes[0].stored
            written -= max(min(whole, written) - _update_bytes(line, shapes), 0)
    return total + written


def _updates(user: Instruction, name: str) -> bool:
    return user.opcode in _UPDATES and user.operands[0] == name


def _update_bytes(line: Instruction, shapes: Mapping[str, tuple[Shape, ...]]) -> int:
    """What is read and written of the whole array where a part of it is changed."""
    operand, passes = _UPDATES[line.opcode]
    return passes * shapes[line.operands[operand]][0].size


def _add(a: Collective, b: Collective) -> Collective:
    return Collective(a.count + b.count, a.bytes + b.bytes, a.sent + b.sent)


def _scaled(traffic: Traffic, times: int, *, unknown: bool) -> Traffic:
    collectives = {
        kind: Collective(one.count * times, one.bytes * times, one.sent * times)
        for kind, one in traffic.collectives.items()
    }
    return Traffic(collectives, traffic.memory_bytes * times, traffic.unknown_loops + unknown)


def _sum(*parts: Traffic) -> Traffic:
    collectives: dict[str, Collective] = {}
    for part in parts:
        for kind, one in part.collectives.items():
            collectives[kind] = _add(collectives[kind], one) if kind in collectives else one
    memory = sum(part.memory_bytes for part in parts)
    return Traffic(collectives, memory, sum(part.unknown_loops for part in parts))
