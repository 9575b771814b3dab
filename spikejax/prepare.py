"""Prepares a published data set: python -m spikejax.prepare --layout LAYOUT --source DIR --output ROOT.

Checks which pictures and spikes belong together, counts the spikes of every exposure in time bins, and writes a data
set that is read fast. May be interrupted and started again. With --check-only it verifies a data set that is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax import extras
from spikejax.cli import (
    add_progress,
    add_words,
    check_effects,
    make_parser,
    positive_count,
    run,
    show_as_asked,
    size,
    whole_number_from,
)
from spikejax.data.datasets.layout import SPLITS, TRAINING_SPLIT
from spikejax.errors import InputError
from spikejax.extensions import is_code
from spikejax.hardware.host import cpu_count

if TYPE_CHECKING:
    from spikejax.data.preparation.prepare import PrepareSettings

_BINS = 32
_TFDS_FORMATS = ("array_record", "tfrecord")


def main(arguments: Sequence[str]) -> None:
    """Prepares or checks a data set as the command line says."""
    options = build_parser().parse_args(arguments)
    show_as_asked(options)
    # Only now: they import compilers and decoders, and a mistake in the arguments should show at once.
    from spikejax.data.preparation.prepare import prepare
    from spikejax.data.preparation.published_layouts import LAYOUTS, find_layout
    from spikejax.data.preparation.verify import check_root

    if options.layout is not None and not is_code(options.layout):
        find_layout(options.layout)  # before all else; code is run once, when it is needed
    _check_effects(options)
    if options.tfds is not None:
        extras.require("tfds", "--tfds")
    root = Path(options.output)
    if options.check_only:
        print(check_root(root, workers=options.workers))
        return
    if options.source is not None:
        if options.layout is None:
            raise InputError(f"expected --layout {', '.join(LAYOUTS)} with --source, found none")
        prepare(Path(options.source), root, _settings(options), workers=options.workers, print_line=_print_line)
    elif options.tfds is None:
        raise InputError("expected --source, or --check-only or --tfds for a data set that is there, found none")
    if options.tfds is not None:
        from spikejax.data.datasets.tfds_builder import write_tfds  # only here: it takes seconds to import

        file_format = options.tfds_format or _TFDS_FORMATS[0]
        shards = write_tfds(root, options.tfds, bins=options.bins or _BINS, file_format=file_format)
        _print_line(f"TFDS shards: {shards}")
    print(root)


def _check_effects(options: argparse.Namespace) -> None:
    from spikejax.data.preparation.published_layouts import LAYOUTS

    for name in ("source", "tfds"):
        if options.check_only and getattr(options, name) is not None:
            raise InputError(f"expected --check-only or --{name}, found both")
    own = options.layout == "folders" or options.layout not in LAYOUTS
    of_spikes = ("spike_size", "spike_offset", "spike_margin", "flip_spikes")
    of_frames = ("layout", "link", "no_picture_tiles", "blur", "split", "grey", "crop", *of_spikes)
    needed = {
        "--source, a published data set,": (options.source is not None, of_frames),
        "--source or --tfds": (options.source is not None or options.tfds is not None, ("bins",)),
        "--layout folders, which may name no split,": (own, ("split",)),
        "--tfds": (options.tfds is not None, ("tfds_format",)),
    }
    check_effects(options, needed)


def _settings(options: argparse.Namespace) -> PrepareSettings:
    from spikejax.data.preparation.frame_selection import FrameRules
    from spikejax.data.preparation.prepare import PrepareSettings
    from spikejax.data.preparation.published_layouts import LayoutChoices

    return PrepareSettings(
        layout=options.layout,
        bins=options.bins or _BINS,
        choices=LayoutChoices(
            options.blur, options.split or TRAINING_SPLIT, options.spike_offset or 0, options.spike_margin or 0
        ),
        rules=FrameRules(options.spike_size, options.flip_spikes, options.grey, options.crop or 1),
        picture_arrays=not options.no_picture_tiles,
        link=options.link,
    )


def _print_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "prepare",
        description="Checks, aligns and counts a published data set with spikes, and writes one that is read fast.",
        example="--layout gopro --source GOPRO_spikes -o data/gopro",
    )
    add = parser.add_argument_group("files").add_argument
    add("--layout", metavar="NAME", help="how it is arranged: gopro, x4k, folders or FILE.py:NAME")
    add("--source", metavar="DIR", help="the published data set; it is only read")
    add("-o", "--output", required=True, metavar="ROOT", help="the data set to write, to continue or to check")
    add("--check-only", action="store_true", help="verify all that is in ROOT, and write nothing")
    add("--tfds", metavar="DIR", help="write TFDS shards of ROOT to DIR as well")
    add(
        "--tfds-format", choices=_TFDS_FORMATS,
        help="array_record for tfds.data_source and training here, tfrecord for tfds.load (default: array_record)",
    )  # fmt: skip
    add("--link", action="store_true", help="make hard links of unchanged files instead of copies")
    add(
        "--no-picture-tiles", action="store_true",
        help="keep pictures as PNG alone: less than half the disk use, but reading crops is several times slower",
    )  # fmt: skip
    group = parser.add_argument_group("frames")
    add = group.add_argument
    add("--bins", type=positive_count, metavar="K", help=f"time bins of the voxels (default: {_BINS})")
    add(
        "--blur", choices=("blur", "blur_gamma", "GT_blurred"),
        help="which blurry pictures of GoPro to take, where several are there",
    )  # fmt: skip
    add(
        "--split", choices=SPLITS,
        help=f"split of the sequences of a --layout folders without folders train and val (default: {TRAINING_SPLIT})",
    )  # fmt: skip
    add_words(
        group, "--spike-size", read=size, metavar="HEIGHTxWIDTH",
        help="size of the spikes, where no config.yaml beside or above them says it",
    )  # fmt: skip
    add(
        "--spike-offset", type=int, metavar="N",
        help="the stream of picture 6 is called 6 + N (default: 0)",
    )  # fmt: skip
    add(
        "--spike-margin", type=whole_number_from(0), metavar="STEPS",
        help="steps at either end of each frame's stream that are not of its exposure (default: 0)",
    )  # fmt: skip
    add("--flip-spikes", action="store_true", help="the camera stored the rows of its streams the other way round")
    add("--grey", action="store_true", help="take grey pictures, too")
    add(
        "--crop", type=positive_count, metavar="N",
        help="leave out pictures with a side of less than N pixels (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=positive_count, default=cpu_count(), metavar="N",
        help="number of processes (default: %(default)s, the CPUs that it may use)",
    )  # fmt: skip
    add_progress(parser)
    return parser


if __name__ == "__main__":
    run(main)
