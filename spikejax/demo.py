"""Shows what the network that comes with the package does: python -m spikejax.demo [--output OUT].

OUT gets an embedded clip, blurry pictures with spikes, restores it to OUT/restored and opens the report of that. The
commands that do it are printed: the same ones restore clips of one's own.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from spikejax.cli import add_overwrite, make_parser, run
from spikejax.config.named_networks import DEMO
from spikejax.errors import InputError
from spikejax.packaged import CLIP_FILE, NETWORK_FILE, packaged_file

_PARTS = ("blur", "sharp", "voxels")


def main(arguments: Sequence[str]) -> None:
    """Restores the embedded clip as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    output = Path(options.output).absolute()
    packaged_file(NETWORK_FILE)  # before anything is written
    clip = packaged_file(CLIP_FILE)
    if not options.overwrite and output.exists() and any(output.iterdir()):
        raise InputError(f"expected a new or empty folder (or --overwrite), found one with files in it: {output}")
    _unpack(clip, output)
    blur, sharp, voxels = (str(output / part) for part in _PARTS)
    restored = str(output / "restored")
    _run("restore", "--network", DEMO, "--input", blur, "--spikes", voxels, "--sharp", sharp, "--output", restored,
         "--overwrite", where=output)  # fmt: skip
    _run("report", restored, where=output)
    if not options.no_open:
        webbrowser.open((output / "restored" / "report.html").as_uri())


def _unpack(clip: Path, output: Path) -> None:
    """Writes the clip as files that restoring takes."""
    # Only now: they take a second to import, and a mistake above should show at once.
    import numpy as np

    from spikejax.io.pictures import write_picture

    for part in _PARTS:
        (output / part).mkdir(parents=True, exist_ok=True)
    with np.load(clip) as arrays:
        for number, (blur, sharp, counts) in enumerate(
            zip(arrays["blur"], arrays["sharp"], arrays["counts"], strict=True)
        ):
            write_picture(output / "blur" / f"{number:06d}.png", blur)
            write_picture(output / "sharp" / f"{number:06d}.png", sharp)
            np.save(output / "voxels" / f"{number:06d}.npy", np.moveaxis(counts, -1, 0))


def _run(command: str, *arguments: str, where: Path) -> None:
    """Runs another command, printed as one would type it, in a folder; ends as it ends if it fails."""
    print(f"$ spikejax {shlex.join([command, *arguments])}", flush=True)
    # In a folder without a "demo" of somebody else's, which would be taken for the network.
    ended = subprocess.run([sys.executable, "-m", f"spikejax.{command}", *arguments], cwd=where, check=False)
    if ended.returncode:
        raise SystemExit(ended.returncode)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "demo",
        description="Restores a clip that comes with the package by the network that does, and shows it.",
        example="-o spikejax-demo",
    )
    parser.add_argument(
        "-o", "--output", default="spikejax-demo", metavar="OUT",
        help="folder for the clip and the result (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--no-open", action="store_true", help="write the report without opening it in a browser")
    add_overwrite(parser, "the result of an earlier demo")
    return parser


if __name__ == "__main__":
    run(main)
