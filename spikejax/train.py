"""Trains a network: python -m spikejax.train --config quickstart --workdir DIR [--config.KEY=VALUE ...].

A workdir that holds a run is continued from its last checkpoint. Ctrl-C and SIGTERM save and leave (exit 130 and 143);
whatever restarts the command on a code other than 0, 2 and 4 gets the run done. Exit code 4: the loss or gradient is
not finite, which doing the same again would not change. Exit code 5: no host got on for --stall-seconds.

On many hosts start the same command on each. Slurm, GKE (JobSet) and Cloud TPU tell JAX who is who; elsewhere
--coordinator, --num-processes and --process-id do. The workdir and the data must be the same folders for all.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from spikejax.cli import (
    EXIT_NOT_FINITE,
    add_accept_license,
    add_hosts,
    add_progress,
    add_require,
    add_stall_seconds,
    make_parser,
    path_or_bucket,
    run,
    show_as_asked,
)
from spikejax.compile_cache import add_compile_cache, given_file, use_compile_cache
from spikejax.config.files import CONFIG_HELP, OVERRIDE_PREFIX, holds_checkpoint, load_config, parse_with_overrides
from spikejax.config.keys import check_config, named_files
from spikejax.errors import InputError
from spikejax.hardware.allocator import keep_freed_memory
from spikejax.hub.resolving import resolve_network
from spikejax.io.paths import user_path


def main(arguments: Sequence[str]) -> None:
    """Trains as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    started = time.monotonic()
    options, overrides = parse_with_overrides(build_parser(), arguments)
    show_as_asked(options)
    if options.precision:
        overrides = [*overrides, f"{OVERRIDE_PREFIX}model.precision={options.precision}"]
    config = load_config(options.config, overrides)
    workdir = user_path(options.workdir, what="--workdir")
    continued = holds_checkpoint(workdir)
    # Compiling reads neither data nor weights: they may be elsewhere, on the machine that will train.
    check_config(config, paths=options.check != "compile", continued=continued)

    # Only now: they take seconds to import (TensorFlow writes the logs), and a mistake above should show at once.
    from spikejax.distributed import hosts
    from spikejax.hardware.devices import use_required
    from spikejax.training.dry_run import compile_only, try_run
    from spikejax.training.loop import train

    keep_freed_memory()
    given = [workdir, *named_files(config)]
    use_compile_cache(options.compile_cache, apart_from=given)
    compiled = None
    if options.compiled is not None:
        if options.check is not None:
            raise InputError("expected --compiled or --check, found both")
        compiled = given_file(options.compiled, option="--compiled", apart_from=given)
    hosts.join_as(options)
    if config.training.start_from and not continued:
        resolve_network(config.training.start_from, accept_license=options.accept_license)
    use_required(options.require)
    try:
        if options.check == "compile":
            return compile_only(config)
        if options.check == "run":
            return try_run(config, workdir)
        outcome = train(
            config,
            workdir,
            allow_config_changes=options.allow_config_changes,
            stall_seconds=options.stall_seconds,
            compiled=compiled,
            started=started,
        )
    except FloatingPointError as error:
        print(f"spikejax: {error}", file=sys.stderr)
        raise SystemExit(EXIT_NOT_FINITE) from error
    if outcome.stopped_by:
        raise SystemExit(128 + outcome.stopped_by)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line, apart from changes of the configuration."""
    parser = make_parser(
        "train",
        description="Trains a network; started again, it continues from the last checkpoint.",
        example="--config quickstart --workdir runs/mine --config.training.steps=1000",
        epilog=f"{OVERRIDE_PREFIX}KEY=VALUE changes a value of the configuration, as in "
        f"{OVERRIDE_PREFIX}training.steps=200; docs/configuration.md lists every key, its unit and its range.",
    )
    parser.add_argument("--config", required=True, metavar="FILE[:NAME]", help=CONFIG_HELP)
    parser.add_argument(
        "--workdir", required=True, type=path_or_bucket, metavar="DIR",
        help="where checkpoints, logs and pictures go; may be gs://BUCKET/FOLDER or s3://BUCKET/FOLDER",
    )  # fmt: skip
    parser.add_argument(
        "--allow-config-changes",
        action="store_true",
        help="continue a run with another configuration; shows what changed",
    )
    parser.add_argument(
        "--check", nargs="?", const="run", choices=("run", "compile"),
        help="try the run and stop: do one update and validate one clip; or, with --check=compile, compile the "
        "training step, which the run takes later, and a tile of validation, and print the memory that they need",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("highest", "high", "default"),
        help="of float32 products on TPUs and GPUs, as --config.model.precision (default: the configuration's)",
    )  # fmt: skip
    add_accept_license(parser)
    add_progress(parser)
    add_compile_cache(parser)
    parser.add_argument(
        "--compiled", metavar="FILE",
        help="take the compiled training step from FILE, of plan --save-compiled; another run's is refused. What lies "
        "in it is run: let nobody else write to it",
    )  # fmt: skip
    add_require(parser.add_argument_group("devices"))
    add_hosts(parser)
    add_stall_seconds(parser, "update or validated clip")
    return parser


if __name__ == "__main__":
    run(main)
