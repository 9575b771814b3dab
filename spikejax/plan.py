"""Plans training on devices that are not here: python -m spikejax.plan --config FILE --topology v5e:16x16.

And restoring, here or there: python -m spikejax.plan --restore INPUT --network PATH [--topology h100:8].

Compiles the real training step for them and says whether it fits, what it computes, moves and sends, how long a step
takes at the least, and how large a batch may be. Needs no accelerator: TPUs need `pip install 'spikejax[plan-tpu]'`,
GPUs `pip install 'spikejax[plan-gpu]'`. The full network compiles for minutes and takes several gigabytes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import (
    add_trust_code,
    add_words,
    byte_count,
    check_effects,
    make_parser,
    network_path,
    number_from,
    positive_count,
    run,
)
from spikejax.config.files import CONFIG_HELP, OVERRIDE_PREFIX, load_config, parse_with_overrides
from spikejax.errors import InputError
from spikejax.inference.precision import add_precision
from spikejax.inference.tile_arguments import add_part, add_reading, read_extent, read_tile
from spikejax.io.json_files import write_json
from spikejax.io.places import check_can_be_written, resolved
from spikejax.planning.compilers import quiet

# Options that have an effect with --restore alone, and without it alone.
_OF_RESTORING = (
    "network",
    "start",
    "end",
    "stream",
    "deinterlace",
    "as_progressive",
    "resize_changes",
    "tile",
    "overlap",
    "memory",
    "sigma",
    "times",
    "dtype",
    "precision",
    "spike_ratio",
    "trust_code",
)
_OF_TRAINING = ("batch", "mesh", "remat", "sweep", "parts", "save_compiled")

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from spikejax.io.frame_stream import FrameSource


def main(arguments: Sequence[str]) -> None:
    """Plans as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    parser = build_parser()
    options, overrides = parse_with_overrides(parser, arguments)
    if options.parts is not None and (options.sweep or options.batch or options.mesh):
        parser.error("expected --parts, each for one clip on one device, without --batch, --mesh and --sweep")
    if not options.sweep and max(len(options.mesh or ()), len(options.remat or ())) > 1:
        parser.error("expected --sweep with several --mesh or --remat")
    if options.restore is not None:
        plans = _plan_restoring(options, overrides)
        if options.json:
            write_json(Path(options.json), plans)
        return
    check_effects(options, {"--restore, the frames to plan for,": (False, _OF_RESTORING)})
    for name in ("config", "topology"):
        if getattr(options, name) is None:
            parser.error(f"expected --config and --topology, or --restore and --network, found no --{name}")
    if options.save_compiled and (options.sweep or options.parts):
        parser.error(f"expected --save-compiled of one plan, found {'--sweep' if options.sweep else '--parts'}")
    config = load_config(options.config, overrides)
    _leave_this_host_alone()

    with quiet():
        plans = _print_plans(options, config)
    if options.json:
        write_json(Path(options.json), plans)


def _print_plans(options: argparse.Namespace, config: ConfigDict) -> dict[str, Any]:
    # Only now: JAX takes seconds to import, and a mistake in the arguments should show at once.
    from spikejax.planning.printed_parts import print_parts
    from spikejax.planning.printed_plans import print_plan, print_sweep
    from spikejax.planning.search import with_changes
    from spikejax.planning.topology import open_topology

    save_to = None if options.save_compiled is None else Path(options.save_compiled)
    if save_to is not None:
        _check_can_be_kept(config, save_to)
    topology = open_topology(options.topology)
    if options.parts is not None:
        remat = options.remat[0] if options.remat else None
        names = None if options.parts == "all" else options.parts.split(",")
        keep = partial(write_json, Path(options.json)) if options.json else lambda planned: None
        return print_parts(with_changes(config, remat=remat), options.topology, names, keep=keep)
    if options.sweep:
        batch_size = options.batch or config.data.batch_size
        return print_sweep(config, topology, batch_size=batch_size, mesh_sizes=options.mesh, policies=options.remat)
    mesh = options.mesh[0] if options.mesh else None
    remat = options.remat[0] if options.remat else None
    changed = with_changes(config, mesh=mesh, remat=remat)
    return print_plan(changed, topology, batch_size=options.batch, save_to=save_to)


def _check_can_be_kept(config: ConfigDict, file: Path) -> None:
    """Raises InputError where the compiled step could not be written, before minutes of compiling."""
    from spikejax.training.step_identity import code_of

    if code := code_of(config):
        raise InputError(f"--save-compiled: expected a run without code of somebody's own, found it for {code}: {file}")
    if file.is_dir():
        raise InputError(f"--save-compiled: expected a file to write to, found a folder: {file}")
    check_can_be_written(resolved(file))


def _leave_this_host_alone() -> None:
    """Has this process compile for devices that are not here, and nothing else; before JAX is imported."""
    # The host's own accelerators, if it has any, are left alone.
    os.environ["JAX_PLATFORMS"] = "cpu"
    # A program for devices that are not here can be kept, but JAX warns instead of reading it back.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"


def _plan_restoring(options: argparse.Namespace, overrides: Sequence[str]) -> dict[str, Any]:
    """Prints the plan of restoring; the same for JSON."""
    if options.config is not None:
        raise InputError("expected --config (training) or --restore, found both")
    check_effects(options, {"--config, the training to plan,": (False, _OF_TRAINING)})
    if overrides:
        raise InputError(f"expected no changes of a configuration with --restore, found {overrides[0]}")
    if options.network is None:
        raise InputError("expected --network with --restore, found none")
    if options.topology is not None:
        _leave_this_host_alone()
    frames, note = _open_input(options)
    if note:
        print(f"spikejax: note: {note}", file=sys.stderr)

    from spikejax.inference.video_restorer import RestoreSettings
    from spikejax.loading import load
    from spikejax.planning.restore_plan import RestoredInput, plan_elsewhere, plan_here
    from spikejax.planning.restore_text import restore_json, restore_text
    from spikejax.planning.topology import open_topology

    restorer = load(
        options.network,
        dtype=options.dtype,
        precision=options.precision,
        trust_code=options.trust_code,
    )
    names = ("tile", "overlap", "memory", "sigma", "ensemble", "times")
    settings = restorer.settings(RestoreSettings(**{name: getattr(options, name) for name in names}))
    given = RestoredInput(
        str(frames.path),
        frames.expected_length,
        frames.height,
        frames.width,
        dtype="uint16" if frames.bits > 8 else "uint8",
        spike_ratio=options.spike_ratio or 1,
    )
    if options.topology is None:
        plan = plan_here(restorer, given, settings)
    else:
        with quiet():
            plan = plan_elsewhere(restorer, given, settings, open_topology(options.topology), dtype=options.dtype)
    print(restore_text(plan))
    return restore_json(plan) | {"note": note}


def _open_input(options: argparse.Namespace) -> tuple[FrameSource, str]:
    """The frames to plan for, and what restoring would say of their sizes; raises InputError where it would refuse."""
    from spikejax.io.frame_range import part_of
    from spikejax.io.frame_source import open_frames
    from spikejax.io.size_changes import check_pictures, size_change_note
    from spikejax.io.video_reading import VideoReading

    names = ("stream", "deinterlace", "as_progressive", "resize_changes")
    reading = VideoReading.asked(**{name: getattr(options, name) for name in names})
    given = None if reading == VideoReading() else reading
    opened = open_frames(options.restore, own_depth=True, reading=given)
    frames = part_of(opened, options.start, options.end)
    check_pictures(frames, reading)
    return frames, size_change_note(frames, reading)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "plan",
        description="Compiles the training step for devices that are not here, and prints what it needs and how long "
        "it takes there; or a network for restoring, here or there (--restore).",
        example="--config vrt:006 --topology v5e:4x4",
        epilog=f"{OVERRIDE_PREFIX}KEY=VALUE changes a value of the configuration.",
    )
    add = parser.add_argument
    add("--config", metavar="FILE[:NAME]", help=CONFIG_HELP)
    add(
        "--topology", metavar="KIND:SIZE",
        help="such as v5e:16x16, v5p:2x2x4, h100:8, cpu:8 (for --restore default: the devices that are here)",
    )  # fmt: skip
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
    add(
        "--parts", nargs="?", const="all", metavar="NAME,...",
        help="compile the costly parts of the network one by one instead, and say what each takes (default: all)",
    )  # fmt: skip
    add("--json", metavar="FILE", help="write all numbers to FILE as well")
    add(
        "--save-compiled", metavar="FILE",
        help="keep the compiled training step in FILE, for train --compiled on those devices; plans that batch alone",
    )  # fmt: skip
    _add_restoring(parser.add_argument_group("restoring"))
    add_reading(parser)
    return parser


def _add_restoring(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--restore", metavar="INPUT", help="plan to restore this folder of pictures or video; nothing is restored")
    add("--network", type=network_path, metavar="PATH", help="the network that restores")
    add_part(group)
    add_words(group, "--tile", read=read_tile, metavar="FRAMES,HEIGHT,WIDTH", help="as for spikejax.restore, also auto")
    add_words(group, "--overlap", read=read_extent, metavar="FRAMES,HEIGHT,WIDTH", help="as for spikejax.restore")
    add("--memory", type=byte_count, metavar="SIZE", help="what --tile auto may use here, such as 6G")
    add("--sigma", type=number_from(0), metavar="X", help="of the noise, for a network that takes a noise level")
    add("--times", type=positive_count, metavar="N", help="of interpolation: 2, 4 or 8")
    add("--ensemble", choices=("none", "flips", "turns"), default="none", help="of mirrored copies (default: none)")
    add("--dtype", choices=("float32", "bfloat16"), help="what features are computed in (default: as trained)")
    add_precision(group)
    add(
        "--spike-ratio", type=positive_count, metavar="N",
        help="how many times larger frames are than spikes, for a network that takes spikes (default: 1)",
    )  # fmt: skip
    add_trust_code(group)


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
