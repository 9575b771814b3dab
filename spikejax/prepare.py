"""Prepares a published data set: python -m spikejax.prepare --layout LAYOUT --source DIR --output ROOT.

Checks which pictures and spikes belong together, counts the spikes of every exposure in time bins, and writes a data
set that is read fast. May be interrupted and started again. With --check-only it verifies a data set that is there.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from spikejax.cli import positive_count, run
from spikejax.data.datasets.layout import SPLITS
from spikejax.data.datasets.voxel_statistics import TRAINING_SPLIT
from spikejax.data.preparation.frame_selection import Rules
from spikejax.data.preparation.prepare import LAYOUTS, PrepareSettings, prepare
from spikejax.data.preparation.published_layouts import GOPRO_BLURS
from spikejax.data.preparation.verify import check_root
from spikejax.errors import InputError


def main(arguments: Sequence[str]) -> None:
    """Prepares or checks a data set as the command line says."""
    options = _parser().parse_args(arguments)
    root = Path(options.output)
    if options.check_only:
        print(check_root(root, workers=options.workers))
        return
    if options.source is not None:
        if options.layout is None:
            raise InputError(f"expected --layout {', '.join(LAYOUTS)} with --source, found none")
        prepare(Path(options.source), root, _settings(options), workers=options.workers, note=_note)
    elif options.tfds is None:
        raise InputError("expected --source, or --check-only or --tfds for a data set that is there, found none")
    if options.tfds is not None:
        from spikejax.data.datasets.tfds_builder import write_tfds  # only here: it takes seconds to import

        _note(f"TFDS shards: {write_tfds(root, options.tfds, bins=options.bins, file_format=options.tfds_format)}")
    print(root)


def _settings(options: argparse.Namespace) -> PrepareSettings:
    if options.blur is not None and options.layout != "gopro":
        raise InputError(f"expected --blur with --layout gopro only, found it with {options.layout}")
    return PrepareSettings(
        layout=options.layout,
        bins=options.bins,
        blur=options.blur,
        split=options.split,
        rules=Rules(options.spike_size, options.grey, options.crop),
        picture_arrays=not options.no_picture_tiles,
        link=options.link,
    )


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.prepare",
        description="Checks, aligns and counts a published data set with spikes, and writes one that is read fast.",
    )
    files = parser.add_argument_group("files")
    files.add_argument("--layout", choices=LAYOUTS, help="how the published data set is arranged")
    files.add_argument("--source", metavar="DIR", help="the published data set; it is only read")
    files.add_argument("--output", required=True, metavar="ROOT", help="data set to write, or to continue or check")
    files.add_argument("--check-only", action="store_true", help="verify ROOT, all of its content, and write nothing")
    files.add_argument("--tfds", metavar="DIR", help="write TFDS shards of ROOT to DIR as well")
    files.add_argument(
        "--tfds-format",
        choices=("array_record", "tfrecord"),
        default="array_record",
        help="array_record for tfds.data_source and training here, tfrecord for tfds.load (default: array_record)",
    )
    files.add_argument("--link", action="store_true", help="hard links instead of copies of unchanged files")
    files.add_argument(
        "--no-picture-tiles",
        action="store_true",
        help="keep pictures as PNG alone: less than half the disk, several times slower to read crops of",
    )
    frames = parser.add_argument_group("frames")
    frames.add_argument(
        "--bins", type=positive_count, default=32, metavar="K", help="time bins of the voxels (default: 32)"
    )
    frames.add_argument("--blur", choices=GOPRO_BLURS, help="which blurry pictures of GoPro, where both are there")
    frames.add_argument(
        "--split",
        choices=SPLITS,
        default=TRAINING_SPLIT,
        help="of plain folders without folders train and val (default: train)",
    )
    frames.add_argument("--spike-size", type=_size, metavar="HxW", help="of the spikes, where no config.yaml says it")
    frames.add_argument("--grey", action="store_true", help="take grey pictures, too")
    frames.add_argument(
        "--crop", type=positive_count, default=1, metavar="N", help="leave out pictures with a side below N pixels"
    )
    workers = os.cpu_count() or 1
    parser.add_argument(
        "--workers", type=positive_count, default=workers, metavar="N", help=f"processes (default: {workers}, the CPUs)"
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None or 0 in (size := (int(match[1]), int(match[2]))):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 360x640, found {text!r}")
    return size


if __name__ == "__main__":
    run(main)
