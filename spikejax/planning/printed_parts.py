"""Plans of a network's parts, made one after the other: on the terminal and as JSON as they come."""

import dataclasses
import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from ml_collections import ConfigDict

from spikejax.errors import InputError
from spikejax.planning.parts import PartPlan, parts_of, plan_part
from spikejax.planning.topology import open_topology

HEADER = "part, with gradients  times     moved  TFLOP       ms  by        MFU compile"


def print_parts(
    config: ConfigDict, topology: str, names: Sequence[str] | None, *, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Prints a line for each part as it is compiled, and their sum; the same for JSON.

    Each is compiled in a process of its own, so that the memory of one does not count for the next.

    Args:
        config: the run; a clip of its `data` is what each part works on.
        topology: the device, as for `open_topology`.
        names: of the parts; None = all.
        keep: is given after each part what JSON has of the parts so far, as each may take minutes.

    Raises:
        InputError: no such part.
    """
    known = parts_of(config)
    chosen = list(names or known)
    for name in chosen:
        if name not in known:
            raise InputError(f"--parts: expected names of {', '.join(known)}, found {name!r}")
    data, model = config.data, config.model
    print(
        f"{topology}, one clip of {data.frames}x{data.crop}x{data.crop}, {model.compute_dtype}, remat {model.remat}, "
        f"kernels {model.kernels}"
    )
    print(HEADER, flush=True)
    plans = []
    for number, name in enumerate(chosen, 1):
        print(f"compiling {number}/{len(chosen)}: {name} ...", file=sys.stderr, flush=True)
        # A new process, not a fork: JAX has threads.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            plans.append(pool.submit(_plan_named, config, topology, name).result())
        print(part_line(plans[-1]), flush=True)
        planned = {"topology": topology, "parts": [dataclasses.asdict(plan) for plan in plans]}
        keep(planned)
    seconds = [plan.seconds for plan in plans]
    if all(second is not None for second in seconds):
        total = sum(plan.times * (plan.seconds or 0.0) for plan in plans)
        flops = sum(plan.times * plan.flops for plan in plans)
        print(f"{'all, times counted':<21}{'':>16}{flops / 1e12:>7.2f}{total * 1e3:>9.1f}")
    most = max(plan.host_bytes for plan in plans)
    print(f"compiling took {sum(plan.compile_seconds for plan in plans):.0f} s and at most {most / 1e9:.1f} GB")
    return planned


def part_line(plan: PartPlan) -> str:
    """The plan as a line under HEADER."""
    moved = "-" if plan.memory_bytes is None else f"{plan.memory_bytes / 1e9:.2f} GB"
    milliseconds = "-" if plan.seconds is None else f"{plan.seconds * 1e3:.1f}"
    used = "-" if plan.utilisation is None else f"{plan.utilisation:.0%}"
    return (
        f"{plan.name:<21}{plan.times:>6.2f}{moved:>10}{plan.flops / 1e12:>7.2f}{milliseconds:>9}  "
        f"{limit_of(plan):<8}{used:>5}{plan.compile_seconds:>6.0f} s"
    )


def limit_of(plan: PartPlan) -> str:
    """What takes most of the part's time."""
    if plan.schedule is None or plan.seconds is None:
        return "-"
    if plan.seconds > plan.schedule.seconds:
        return "products"
    return max(("memory", "units", "rows", "kernels"), key=lambda cause: getattr(plan.schedule, cause))


def _plan_named(config: ConfigDict, topology: str, name: str) -> PartPlan:
    return plan_part(parts_of(config)[name], config, open_topology(topology))
