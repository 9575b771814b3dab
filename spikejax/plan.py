"""Plans training on devices that are not here: python -m spikejax.plan --config FILE --topology v5e:16x16.

Compiles the real training step for them and says whether it fits, what it computes, moves and sends, how long a step
takes at the least, and how large a batch may be. Needs no accelerator: TPUs need `pip install 'spikejax[plan-tpu]'`,
GPUs `pip install 'spikejax[plan-gpu]'`. The full network compiles for minutes and takes several gigabytes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import make_parser, positive_count, run
from spikejax.config.files import CONFIG_HELP, OVERRIDE_PREFIX, load_config, parse_with_overrides
from spikejax.io.json_files import write_json
from spikejax.planning.compilers import quiet

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def main(arguments: Sequence[str]) -> None:
    """Plans as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    parser = build_parser()
    options, overrides = parse_with_overrides(parser, arguments)
    if not options.sweep and max(len(options.mesh or ()), len(options.remat or ())) > 1:
        parser.error("expected --sweep with several --mesh or --remat")
    config = load_config(options.config, overrides)
    # The host's own accelerators, if it has any, are left alone.
    os.environ["JAX_PLATFORMS"] = "cpu"
    # A program for devices that are not here can be kept, but JAX warns instead of reading it back.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

    with quiet():
        plans = _print_plans(options, config)
    if options.json:
        write_json(Path(options.json), plans)


def _print_plans(options: argparse.Namespace, config: ConfigDict) -> dict[str, Any]:
    # Only now: JAX takes seconds to import, and a mistake in the arguments should show at once.
    from spikejax.planning.printed_plans import print_plan, print_sweep
    from spikejax.planning.search import with_changes
    from spikejax.planning.topology import open_topology

    topology = open_topology(options.topology)
    if options.sweep:
        batch_size = options.batch or config.data.batch_size
        return print_sweep(config, topology, batch_size=batch_size, mesh_sizes=options.mesh, policies=options.remat)
    mesh = options.mesh[0] if options.mesh else None
    remat = options.remat[0] if options.remat else None
    return print_plan(with_changes(config, mesh=mesh, remat=remat), topology, batch_size=options.batch)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "plan",
        description="Compiles the training step for devices that are not here, and prints what it needs and how long "
        "it takes there.",
        example="--config vrt:006 --topology v5e:4x4",
        epilog=f"{OVERRIDE_PREFIX}KEY=VALUE changes a value of the configuration.",
    )
    add = parser.add_argument
    add("--config", required=True, metavar="FILE[:NAME]", help=CONFIG_HELP)
    add("--topology", required=True, metavar="KIND:SIZE", help="such as v5e:16x16, v5p:2x2x4, h100:8, cpu:8")
    add(
        "--batch", type=positive_count, metavar="N",
        help="clips over all devices (default: the configuration's, and then the largest that fits)",
    )  # fmt: skip
    add(
        "--mesh", type=_mesh, action="append", metavar="AXIS=SIZE,...",
        help="instead of the configuration's mesh; -1 = all devices that are left (with --sweep several times)",
    )  # fmt: skip
    add(
        "--remat", action="append", metavar="POLICY",
        help="instead of the configuration's rematerialisation (with --sweep several times)",
    )  # fmt: skip
    add("--sweep", action="store_true", help="try meshes and rematerialisation policies")
    add("--json", metavar="FILE", help="write all numbers to FILE as well")
    return parser


def _mesh(text: str) -> dict[str, int]:
    sizes = {}
    for part in text.split(","):
        axis, _, axis_size = part.strip().partition("=")
        if not axis or not axis_size.removeprefix("-").isdecimal():
            raise argparse.ArgumentTypeError(f"expected AXIS=SIZE,... such as data=8,fsdp=4, found {text!r}")
        sizes[axis] = int(axis_size)
    return sizes


if __name__ == "__main__":
    run(main)
