"""Plans as text that fits 80 columns, and as JSON."""

import dataclasses
import importlib.metadata
from collections.abc import Sequence
from typing import Any

from spikejax.planning.schedule import Schedule
from spikejax.planning.step_plan import StepPlan
from spikejax.progress import duration, rate

WIDTH = 80
_GIB = 2**30
SWEEP_HEADER = f"{'mesh':<27} {'remat':<10} {'GiB':>7} {'compute':>8} {'memory':>8} {'network':>8} {'MFU':>5}"


def to_text(plan: StepPlan) -> str:
    """A plan in full."""
    frames, rows, columns = plan.clip
    lines = [
        f"{plan.topology}: {plan.devices} device(s) on {plan.hosts} host(s), mesh {mesh_text(plan)}",
        f"{plan.parameters:,} parameters; {plan.batch_size} clip(s) of {frames}x{rows}x{columns}, "
        f"{plan.compute_dtype}, remat {plan.remat}",
        "",
        *_memory_lines(plan),
        "",
        *_work_lines(plan),
    ]
    if plan.traffic is not None:
        lines += [*_collective_lines(plan), *_roofline_lines(plan)]
    elif plan.memory is not None:
        version = importlib.metadata.version("jax")
        lines += ["", f"collectives, memory traffic and roofline: not known for this JAX ({version})"]
    return "\n".join(lines)


def mesh_text(plan: StepPlan) -> str:
    """The mesh's sizes; axes of size 1 are left out."""
    return " ".join(f"{axis}={size}" for axis, size in plan.mesh.items() if size > 1) or "of one device"


def sweep_line(plan: StepPlan) -> str:
    """The plan as a line under SWEEP_HEADER; a `>` before the memory says that it does not fit."""
    needed = "?" if plan.needed is None else f"{plan.needed / _GIB:.1f}"
    seconds = ["-"] * 3
    if plan.roofline is not None:
        seconds = [_seconds(getattr(plan.roofline, name)) for name in ("compute", "memory", "network")]
    used = "-" if plan.model_flop_utilisation is None else f"{plan.model_flop_utilisation:.0%}"
    memory = f"{'' if plan.fits else '>'}{needed}"
    return (
        f"{mesh_text(plan):<27} {plan.remat:<10} {memory:>7} "
        + " ".join(f"{value:>8}" for value in seconds)
        + f" {used:>5}"
    )


def to_json(plan: StepPlan) -> dict[str, Any]:
    """All figures of a plan, with those that are computed from others."""
    fields = dataclasses.asdict(plan) | {"fits": plan.fits}
    if plan.memory is not None:
        fields["memory"]["total"] = plan.memory.total
    if plan.roofline is not None:
        fields["roofline"] |= {"step": plan.roofline.step, "limit": plan.roofline.limit}
        fields |= {"seconds": plan.seconds, "run_seconds": plan.steps * (plan.seconds or 0.0)}
    return fields


def _memory_lines(plan: StepPlan) -> list[str]:
    available = f"{plan.available / _GIB:.2f} GiB"
    if plan.memory is None:
        needed = "more" if plan.needed is None else f"{plan.needed / _GIB:.2f} GiB of temporaries"
        return [f"DOES NOT FIT: the compiler asks for {needed},", f"a device has {available}"]
    memory = plan.memory
    kinds = (
        ("arguments (state, batch)", memory.arguments),
        ("outputs (state)", memory.outputs),
        ("in place of arguments", -memory.aliased),
        ("temporaries", memory.temporaries),
        ("generated code", memory.code),
        ("in all", memory.total),
    )
    verdict = "fits" if plan.fits else "DOES NOT FIT"
    lines = _table("memory of a device", [(name, _scaled(size, 1024, "iB")) for name, size in kinds])
    return [*lines, f"  {verdict}: {memory.total / plan.available:.1%} of {available}"]


def _work_lines(plan: StepPlan) -> list[str]:
    rows = [
        ("products, as compiled", _scaled(plan.flops, 1000, "FLOP")),
        ("products of the model (3 x forward)", _scaled(plan.model_flops, 1000, "FLOP")),
    ]
    if plan.traffic is not None:
        rows.append(("moved through memory (estimate)", _scaled(plan.traffic.memory_bytes, 1000, "B")))
    if "flops" in plan.cost_analysis:
        rows.append(("XLA's count, each loop once", _scaled(plan.cost_analysis["flops"], 1000, "FLOP")))
    if "bytes accessed" in plan.cost_analysis:
        rows.append(("", _scaled(plan.cost_analysis["bytes accessed"], 1000, "B")))
    lines = _table("work of a device, per step", rows)
    if plan.traffic is not None and plan.traffic.unknown_loops:
        lines.append(f"  {plan.traffic.unknown_loops} loop(s) of unknown length counted once")
    return lines


def _collective_lines(plan: StepPlan) -> list[str]:
    assert plan.traffic is not None
    lines = ["", f"{'collectives of a device, per step':<36} {'number':>8} {'arrays':>12} {'sent':>12}"]
    for kind, one in sorted(plan.traffic.collectives.items()):
        arrays, sent = _scaled(one.bytes, 1000, "B"), _scaled(one.sent, 1000, "B")
        lines.append(f"  {kind:<34} {one.count:>8.0f} {arrays:>12} {sent:>12}")
    total = sum(one.bytes for one in plan.traffic.collectives.values())
    arrays, sent = _scaled(total, 1000, "B"), _scaled(plan.traffic.sent, 1000, "B")
    lines.append(f"  {'in all':<34} {'':>8} {arrays:>12} {sent:>12}")
    return lines


def _roofline_lines(plan: StepPlan) -> list[str]:
    roofline = plan.roofline
    if roofline is None:
        return ["", "no roofline: the peaks of this device are not known"]
    rows = [(name, f"{_seconds(getattr(roofline, name)):>9}") for name in ("compute", "memory", "network")]
    lines = ["", *_table("roofline: a step takes at least, if only this counted", rows)]
    lines.append(f"  bound by {roofline.limit}: {_rates(plan, roofline.step)}")
    if plan.schedule is not None and plan.schedule.known:
        lines += ["", *_schedule_lines(plan, plan.schedule)]
    assert plan.seconds is not None
    lines += ["", f"  {plan.steps:,} steps: {duration(plan.steps * plan.seconds)}"]
    if plan.model_flop_utilisation is not None:
        lines.append(f"  model FLOP utilisation then: {plan.model_flop_utilisation:.1%}")
    return lines


def _schedule_lines(plan: StepPlan, schedule: Schedule) -> list[str]:
    rows = (
        ("memory", schedule.memory),
        ("matrix and vector units", schedule.units),
        (f"{schedule.gathered:,.0f} rows gathered, {schedule.scattered:,.0f} scattered", schedule.rows),
        ("own kernels", schedule.kernels),
    )
    title = "one instruction after the other, each held up by"
    lines = _table(title, [(name, f"{_seconds(seconds):>9}") for name, seconds in rows])
    return [*lines, f"  in all: {_rates(plan, schedule.seconds)}"]


def _rates(plan: StepPlan, seconds: float) -> str:
    return f"{rate(seconds, 'step')}, {plan.batch_size / seconds:.1f} clips/s"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    return [title, *(f"  {name:<38} {value}" for name, value in rows)]


def _scaled(value: float, step: int, unit: str) -> str:
    """A number in the largest prefix that leaves at least 1 before the point; 10 characters and the unit."""
    prefixes = ["", "K" if step == 1024 else "k", "M", "G", "T", "P"]
    while abs(value) >= step and len(prefixes) > 1:
        value /= step
        prefixes.pop(0)
    return f"{value:8.2f} {prefixes[0]}{unit}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"
