"""Compares variants of a configuration: python -m spikejax.experiment --config FILE --workdir DIR.

Trains every variant on the same batches, measures each as the experiment's file says, and writes

    DIR/table.md, table.csv, table.json   means and spreads over networks that differ by their seed
    DIR/experiment.html                   the same with curves and pictures, one file without any connection
    DIR/runs/VARIANT/seed_N               the workdirs, which restoring and evaluating take

Tables and page are written after each run. Started again it does what is missing; several processes on one DIR share
the work. Exit codes are training's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax.cli import EXIT_NOT_FINITE, add_progress, make_parser, run, show_as_asked
from spikejax.compile_cache import add_compile_cache, use_compile_cache
from spikejax.config.files import OVERRIDE_PREFIX, parse_with_overrides
from spikejax.experiments.spec import Experiment, read_experiment
from spikejax.hardware.allocator import keep_freed_memory

if TYPE_CHECKING:
    from spikejax.experiments.plan import Run
    from spikejax.experiments.results import Results

PAGE = "experiment.html"


def main(arguments: Sequence[str]) -> None:
    """Runs an experiment as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options, overrides = parse_with_overrides(build_parser(), arguments)
    show_as_asked(options)
    # Only now, as --help and mistyped options do without them.
    from spikejax.experiments.plan import choose_runs, listed, plan_runs
    from spikejax.training.workdir import check_is_no_file

    experiment = read_experiment(options.config)
    workdir = Path(options.workdir).absolute()
    check_is_no_file(workdir)
    runs = plan_runs(experiment, workdir, overrides)
    chosen = choose_runs(runs, only=options.only, shard=options.shard)
    if options.dry_run:
        print("\n".join(listed(chosen, experiment.evaluations)))
        return

    # They take seconds to import, and a mistake above should show at once.
    from spikejax.experiments.running import run_experiment
    from spikejax.experiments.tables import terminal_text

    keep_freed_memory()
    use_compile_cache(options.compile_cache, apart_from=[workdir])
    ending = run_experiment(
        experiment,
        chosen,
        workdir,
        note=lambda line: print(line, flush=True),
        after_each=lambda: _write_results(experiment, runs, workdir),
    )
    results = _write_results(experiment, runs, workdir)
    print(terminal_text(results), flush=True)
    print(f"page: {workdir / PAGE}", flush=True)
    if ending.stopped_by:
        print("stopped; the same command continues from there", flush=True)
        raise SystemExit(128 + ending.stopped_by)
    if ending.failed:
        print("\n".join(f"spikejax: {line}" for line in ending.failed), file=sys.stderr)
        raise SystemExit(EXIT_NOT_FINITE)


def _write_results(experiment: Experiment, runs: Sequence[Run], workdir: Path) -> Results:
    """Writes what there is, which is returned; of several processes the last one to end sees all."""
    from spikejax.experiments.plan import LOCKS, lock
    from spikejax.experiments.results import collect
    from spikejax.experiments.summary_page import write_page
    from spikejax.experiments.tables import write_tables

    with lock(workdir / LOCKS / "results", wait=True):
        results = collect(experiment, runs)
        write_tables(results, workdir)
        write_page(results, runs, workdir / PAGE)
    return results


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line, apart from changes of the configuration."""
    parser = make_parser(
        "experiment",
        description="Trains and measures variants of a configuration, and compares them; started again, it continues.",
        example="--config spikes_pay --workdir runs/spikes_pay",
        epilog=f"{OVERRIDE_PREFIX}KEY=VALUE changes a value of every variant's configuration, as in "
        f"{OVERRIDE_PREFIX}data.root=ROOT.",
    )
    add = parser.add_argument
    add(
        "--config", required=True, metavar="FILE[:NAME]",
        help="experiment: spikes_pay, or a Python file, mine.py or mine.py:NAME",
    )  # fmt: skip
    add("--workdir", required=True, metavar="DIR", help="where runs, tables and the page go")
    add("--only", type=_names, default=[], metavar="NAME,...", help="variants to work on (default: all)")
    add(
        "--shard", type=_shard, default=(1, 1), metavar="I/N",
        help="of every N runs do the I-th, from 1 (default: all that no other process works on)",
    )  # fmt: skip
    add(
        "--dry-run", action="store_true",
        help="list the runs with what is done of each, and do nothing; data and networks are not looked at",
    )  # fmt: skip
    add_progress(parser)
    add_compile_cache(parser)
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _shard(text: str) -> tuple[int, int]:
    parts = text.split("/")
    if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 7 for part in parts):
        raise argparse.ArgumentTypeError(f"expected I/N such as 1/4, found {text!r}")
    shard, count = map(int, parts)
    if not 1 <= shard <= count:
        raise argparse.ArgumentTypeError(f"expected I from 1 to N, found {text!r}")
    return shard, count


if __name__ == "__main__":
    run(main)
