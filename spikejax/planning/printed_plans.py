"""Plans made one after the other, on the terminal as they come and as JSON at the end: of a batch, or of a sweep."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ml_collections import ConfigDict

from spikejax.distributed import sharding
from spikejax.errors import InputError
from spikejax.models.blocks import Remat
from spikejax.planning.plan_text import SWEEP_HEADER, sweep_line, to_json, to_text
from spikejax.planning.search import largest_batch, meshes, with_changes
from spikejax.planning.step_plan import StepPlan, plan_step
from spikejax.planning.topology import Topology


def print_plan(
    config: ConfigDict, topology: Topology, *, batch_size: int | None, save_to: Path | None = None
) -> dict[str, Any]:
    """Prints the plan of a batch, or of the configuration's and then the largest that fits; the same for JSON.

    Args:
        config: the run, its mesh and rematerialisation as they shall be.
        topology: the devices.
        batch_size: clips over all devices; None = the configuration's, and the largest is searched for.
        save_to: a file for the compiled step, of this batch or the configuration's, and then no other is planned;
            None = it is not kept.

    Raises:
        InputError: no batch is asked for, and none fits; or the step to keep does not fit.
    """
    if batch_size is not None or save_to is not None:
        plan = _announced_plan(with_changes(config, batch_size=batch_size), topology, save_to=save_to)
        print(to_text(plan))
        if save_to is not None and not plan.fits:
            # Compilers for CPUs and GPUs make a program for more memory than there is.
            save_to.unlink(missing_ok=True)
            raise InputError(f"expected a step that fits {topology.name}, found one that does not: {save_to}")
        if save_to is not None:
            print(f"\ncompiled step: {save_to}, for train --compiled")
        return to_json(plan)
    parts = sharding.batch_parts(sharding.make_mesh(config.mesh.to_dict(), devices=topology.devices))
    parts *= config.training.accumulate
    known = {}
    own = config.data.batch_size
    if own % parts:
        print(
            f"the configuration's batch of {own} is not a multiple of the mesh's {parts} parts; the largest instead:\n"
        )
    else:
        known[own // parts] = _announced_plan(config, topology)
        print(to_text(known[own // parts]), end="\n\n")
    largest = largest_batch(
        lambda clips: _announced_plan(with_changes(config, batch_size=clips * parts), topology), known=known
    )
    if largest is None:
        raise InputError(
            f"expected a batch that fits {topology.name}, found that not even {parts} clip(s) do, one for each part of "
            "the batch; remat everything, a larger `space` or `fsdp` of the mesh, smaller crops or larger devices may"
        )
    if not known:
        print(to_text(largest), end="\n\n")
    clips_a_part = largest.batch_size // parts
    print(f"largest batch that fits: {largest.batch_size} clip(s), {clips_a_part} for each of {parts} part(s)")
    plan = next(iter(known.values()), largest)
    return to_json(plan) | {"largest_batch": largest.batch_size}


def print_sweep(
    config: ConfigDict,
    topology: Topology,
    *,
    batch_size: int,
    mesh_sizes: Sequence[Mapping[str, int]] | None,
    policies: Sequence[str] | None,
) -> dict[str, Any]:
    """Prints a table with a line for each mesh and policy, as they come; the same for JSON.

    Args:
        config: the run.
        topology: the devices.
        batch_size: clips over all devices.
        mesh_sizes: the meshes to try; None = those worth trying.
        policies: of rematerialisation; None = all.

    Raises:
        InputError: there is no mesh to try, or nothing fits.
    """
    count = len(topology.devices)
    mesh_sizes = mesh_sizes or meshes(config, devices=count, batch_size=batch_size)
    if not mesh_sizes:
        raise InputError(
            f"--sweep: expected a batch that some mesh of {count} devices divides, such as {count}, found {batch_size}"
        )
    # All of them first: a mistake in the last one should not cost the hours before it.
    configs = [
        with_changes(config, mesh=mesh, batch_size=batch_size, remat=policy)
        for policy in policies or get_args(Remat)
        for mesh in mesh_sizes
    ]
    print(f"{topology.name}, {batch_size} clips; `>`: does not fit {topology.memory_bytes / 2**30:.2f} GiB")
    print(SWEEP_HEADER, flush=True)
    plans = []
    for number, changed in enumerate(configs, 1):
        plans.append(_announced_plan(changed, topology, number=number, total=len(configs)))
        print(sweep_line(plans[-1]), flush=True)
    if not any(plan.fits for plan in plans):
        raise InputError(f"expected a plan that fits {topology.name} with a batch of {batch_size}, found none")
    return {"sweep": [to_json(plan) for plan in plans]}


def _announced_plan(
    config: ConfigDict, topology: Topology, *, number: int = 1, total: int = 1, save_to: Path | None = None
) -> StepPlan:
    """The plan of `config`, with a line about it before and after on stderr; it is number `number` of `total`."""
    settings = config.mesh.to_dict()
    sizes = sharding.mesh_sizes(settings, sharding.mesh_layout(settings))
    mesh = " ".join(f"{axis}={size}" for axis, size in sizes.items())
    of_total = f" {number}/{total}" if total > 1 else ""
    started = time.monotonic()
    print(
        f"compiling{of_total} for {topology.name}: {config.data.batch_size} clip(s), {mesh}, "
        f"remat {config.model.remat} ...",
        file=sys.stderr,
        flush=True,
    )
    plan = plan_step(config, topology, save_to=save_to)
    seconds = time.monotonic() - started
    left = f", about {seconds * (total - number) / 60:.0f} min left" if number < total else ""
    print(f"  {'fits' if plan.fits else 'does not fit'}, {seconds:.0f} s{left}", file=sys.stderr, flush=True)
    return plan
