"""Trains a network: python -m spikejax.train --config configs/quickstart.py --workdir DIR [--config.KEY=VALUE ...].

A workdir that holds a run is continued from its last checkpoint. Ctrl-C and SIGTERM save and leave (exit 130 and 143).
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from spikejax.cli import run
from spikejax.training.config import OVERRIDE_PREFIX, load_config


def main(arguments: Sequence[str]) -> None:
    """Trains as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.train",
        description="Trains a network; started again, it continues from the last checkpoint.",
        epilog=f"{OVERRIDE_PREFIX}KEY=VALUE changes a value of the configuration, as in "
        f"{OVERRIDE_PREFIX}training.steps=200; configs/common.py lists every key and its unit.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="configuration, a Python file of configs/")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="where checkpoints, logs and pictures go")
    options, rest = parser.parse_known_args(arguments)
    strangers = [argument for argument in rest if not argument.startswith(OVERRIDE_PREFIX)]
    if strangers:
        parser.error(f"unrecognized arguments: {' '.join(strangers)}")
    config = load_config(options.config, rest)

    # Only now: they take seconds to import (TensorFlow writes the logs), and a mistake above should show at once.
    import jax

    from spikejax.training.loop import train

    workdir = Path(options.workdir).absolute()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # A run that is continued finds its programs compiled.
        jax.config.update("jax_compilation_cache_dir", str(workdir / "compiled"))
    outcome = train(config, workdir)
    if outcome.stopped_by:
        raise SystemExit(128 + outcome.stopped_by)


if __name__ == "__main__":
    run(main)
