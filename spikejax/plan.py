"""Plans training on devices that are not here: python -m spikejax.plan --config FILE --topology v5e:16x16.

Compiles the real training step for them and says whether it fits, what it computes, moves and sends, how long a step
takes at the least, and how large a batch may be. Needs no accelerator: TPUs need `pip install 'spikejax[plan-tpu]'`,
GPUs `pip install 'spikejax[plan-gpu]'`. The full network compiles for minutes and takes several gigabytes.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import positive_count, run
from spikejax.config.files import OVERRIDE_PREFIX, load_config, parse_with_overrides
from spikejax.errors import InputError
from spikejax.io.json_files import write_json
from spikejax.planning.compilers import quiet

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from spikejax.planning.step_plan import StepPlan
    from spikejax.planning.topology import Topology


def main(arguments: Sequence[str]) -> None:
    """Plans as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options, overrides = _parse(arguments)
    config = load_config(options.config, overrides)
    # The host's own accelerators, if it has any, are left alone.
    os.environ["JAX_PLATFORMS"] = "cpu"

    with quiet():
        result = _run(options, config)
    if options.json:
        write_json(Path(options.json), result)


def _run(options: argparse.Namespace, config: "ConfigDict") -> dict[str, Any]:
    # Only now: JAX takes seconds to import, and a mistake in the arguments should show at once.
    from spikejax.planning.search import with_changes
    from spikejax.planning.topology import open_topology

    topology = open_topology(options.topology)
    if options.sweep:
        return _sweep(options, config, topology)
    mesh = options.mesh[0] if options.mesh else None
    remat = options.remat[0] if options.remat else None
    return _plan(with_changes(config, mesh=mesh, remat=remat), topology, batch_size=options.batch)


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.plan",
        description="Compiles the training step for devices that are not here and says what it needs and takes there.",
        epilog=f"{OVERRIDE_PREFIX}KEY=VALUE changes a value of the configuration.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="configuration, a Python file of configs/")
    parser.add_argument(
        "--topology", required=True, metavar="KIND:SIZE", help="such as v5e:16x16, v5p:2x2x4, h100:8, cpu:8"
    )
    parser.add_argument(
        "--batch",
        type=positive_count,
        metavar="N",
        help="clips over all devices (default: the configuration's, and the largest batch that fits is searched for)",
    )
    parser.add_argument(
        "--mesh",
        type=_mesh,
        action="append",
        metavar="AXIS=SIZE,...",
        help="instead of the configuration's mesh; -1 = the rest (with --sweep it may come several times)",
    )
    parser.add_argument("--remat", action="append", metavar="POLICY", help="instead of the configuration's; as --mesh")
    parser.add_argument("--sweep", action="store_true", help="try meshes and rematerialisation policies")
    parser.add_argument("--json", metavar="FILE", help="write all figures to FILE as well")
    options, overrides = parse_with_overrides(parser, arguments)
    if not options.sweep and max(len(options.mesh or ()), len(options.remat or ())) > 1:
        parser.error("several --mesh or --remat need --sweep")
    return options, overrides


def _mesh(text: str) -> dict[str, int]:
    sizes = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if not axis or not size.removeprefix("-").isdecimal():
            raise argparse.ArgumentTypeError(f"expected AXIS=SIZE,... such as data=8,fsdp=4, got {text!r}")
        sizes[axis] = int(size)
    return sizes


def _plan(config: "ConfigDict", topology: "Topology", *, batch_size: int | None) -> dict[str, Any]:
    """Prints the plan of a batch, and of the largest if none is asked for; returns it for JSON."""
    from spikejax.distributed import sharding
    from spikejax.planning.plan_text import to_json, to_text
    from spikejax.planning.search import largest_batch, with_changes

    parts = sharding.batch_parts(sharding.make_mesh(config.mesh.to_dict(), devices=topology.devices))
    parts *= config.training.accumulate

    def plan_of(clips: int) -> "StepPlan":
        return _announced(with_changes(config, batch_size=clips * parts), topology)

    if batch_size is not None:
        plan = _announced(with_changes(config, batch_size=batch_size), topology)
        print(to_text(plan))
        return to_json(plan)

    known = {}
    own = config.data.batch_size
    if own % parts:
        print(f"the configuration's batch of {own} is no multiple of the mesh's {parts} parts; the largest instead:\n")
    else:
        known[own // parts] = _announced(config, topology)
        print(to_text(known[own // parts]), end="\n\n")
    largest = largest_batch(plan_of, known=known)
    if largest is None:
        raise InputError(
            f"nothing fits {topology.name}: not even {parts} clip(s), one for each part of the batch; "
            "remat everything, a larger `space` or `fsdp` of the mesh, smaller crops or larger devices may"
        )
    if not known:
        print(to_text(largest), end="\n\n")
    of_a_part = largest.batch_size // parts
    print(f"largest batch that fits: {largest.batch_size} clip(s), {of_a_part} for each of {parts} part(s)")
    plan = next(iter(known.values()), largest)
    return to_json(plan) | {"largest_batch": largest.batch_size}


def _sweep(options: argparse.Namespace, config: "ConfigDict", topology: "Topology") -> dict[str, Any]:
    """Prints the table, line by line as it comes; returns it for JSON."""
    from typing import get_args

    from spikejax.models.blocks import Remat
    from spikejax.planning.plan_text import SWEEP_HEADER, sweep_line, to_json
    from spikejax.planning.search import meshes, with_changes

    count = len(topology.devices)
    batch_size = options.batch or config.data.batch_size
    choices = options.mesh or meshes(config, devices=count, batch_size=batch_size)
    policies = options.remat or list(get_args(Remat))
    if not choices:
        raise InputError(
            f"--sweep: no mesh of {count} devices divides a batch of {batch_size}; --batch {count} would do"
        )
    # All of them first: a mistake in the last one should not cost the hours before it.
    configs = [
        with_changes(config, mesh=mesh, batch_size=batch_size, remat=remat) for remat in policies for mesh in choices
    ]
    print(f"{topology.name}, {batch_size} clips; `>`: does not fit {topology.memory_bytes / 2**30:.2f} GiB")
    print(SWEEP_HEADER, flush=True)
    plans = []
    for number, one in enumerate(configs, 1):
        plans.append(_announced(one, topology, number=number, total=len(configs)))
        print(sweep_line(plans[-1]), flush=True)
    if not any(plan.fits for plan in plans):
        raise InputError(f"nothing fits {topology.name} with a batch of {batch_size}")
    return {"sweep": [to_json(plan) for plan in plans]}


def _announced(config: "ConfigDict", topology: "Topology", *, number: int = 1, total: int = 1) -> "StepPlan":
    """The plan of `config`, with a line about it before and after."""
    from spikejax.planning.step_plan import plan_step

    mesh = " ".join(f"{axis}={size}" for axis, size in config.mesh.items())
    of_total = f" {number}/{total}" if total > 1 else ""
    started = time.monotonic()
    print(
        f"compiling{of_total} for {topology.name}: {config.data.batch_size} clip(s), {mesh}, "
        f"remat {config.model.remat} ...",
        file=sys.stderr,
        flush=True,
    )
    plan = plan_step(config, topology)
    seconds = time.monotonic() - started
    left = f", about {seconds * (total - number) / 60:.0f} min left" if number < total else ""
    print(f"  {'fits' if plan.fits else 'does not fit'}, {seconds:.0f} s{left}", file=sys.stderr, flush=True)
    return plan


if __name__ == "__main__":
    run(main)
