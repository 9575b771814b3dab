"""Prepares a published data set: python -m spikejax.prepare --layout LAYOUT --source DIR --output ROOT.

Checks which pictures and spikes belong together, counts the spikes of every exposure in time bins, and writes a data
set that is read fast. Of a data set without spikes it writes where the pictures are, or the pictures in compressed
tiles. May be interrupted and started again. With --check-only it verifies a data set that is there.
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
from spikejax.extensions import find_entry, is_code
from spikejax.hardware.host import cpu_count

if TYPE_CHECKING:
    from spikejax.data.preparation.prepare import PrepareSettings
    from spikejax.data.preparation.prepare_pictures import PictureSettings

_BINS = 32
_TFDS_FORMATS = ("array_record", "tfrecord")
_PARTITIONS = ("REDS4", "published")


def main(arguments: Sequence[str]) -> None:
    """Prepares or checks a data set as the command line says."""
    options = build_parser().parse_args(arguments)
    show_as_asked(options)
    # Only now: they import compilers and decoders, and a mistake in the arguments should show at once.
    from spikejax.data.preparation.picture_layouts import PICTURE_LAYOUTS
    from spikejax.data.preparation.prepare import prepare
    from spikejax.data.preparation.prepare_pictures import prepare_pictures
    from spikejax.data.preparation.published_layouts import LAYOUTS
    from spikejax.data.preparation.verify import check_root

    names = {**LAYOUTS, **PICTURE_LAYOUTS}
    if options.layout is not None and not is_code(options.layout):
        find_entry(names, options.layout, key="--layout")  # before all else; code is run once, when it is needed
    alone = options.source is not None and _are_pictures_alone(options.layout, Path(options.source))
    _check_effects(options, alone)
    if options.tfds is not None:
        extras.require("tfds", "--tfds")
    root = Path(options.output)
    if options.check_only:
        print(check_root(root, workers=options.workers))
        return
    if options.source is not None:
        if options.layout is None:
            raise InputError(f"expected --layout {', '.join(names)} with --source, found none")
        source = Path(options.source)
        if alone:
            if options.layout in LAYOUTS:
                _print_line(f"note: found no spikes beside the pictures, so they are prepared without: {source}")
            prepare_pictures(source, root, _picture_settings(options), workers=options.workers, print_line=_print_line)
        else:
            prepare(source, root, _settings(options), workers=options.workers, print_line=_print_line)
    elif options.tfds is None:
        raise InputError("expected --source, or --check-only or --tfds for a data set that is there, found none")
    if options.tfds is not None:
        from spikejax.data.datasets.tfds_builder import write_tfds  # only here: it takes seconds to import

        file_format = options.tfds_format or _TFDS_FORMATS[0]
        shards = write_tfds(root, options.tfds, bins=options.bins or _BINS, file_format=file_format)
        _print_line(f"TFDS shards: {shards}")
    print(root)


def _are_pictures_alone(layout: str | None, source: Path) -> bool:
    """Whether a published data set has no spikes: by its layout, or GoPro by what is there."""
    from spikejax.data.preparation.picture_layouts import PICTURE_LAYOUTS
    from spikejax.data.preparation.published_layouts import LAYOUTS, has_gopro_spikes

    if layout == "gopro":
        return source.is_dir() and not has_gopro_spikes(source)
    return layout in PICTURE_LAYOUTS and layout not in LAYOUTS


def _check_effects(options: argparse.Namespace, alone: bool) -> None:
    from spikejax.data.preparation.published_layouts import LAYOUTS

    for name in ("source", "tfds"):
        if options.check_only and getattr(options, name) is not None:
            raise InputError(f"expected --check-only or --{name}, found both")
    own = options.layout in ("folders", "davis", "pairs") or (options.layout not in LAYOUTS and not alone)
    of_sizes = ("spike_size", "spike_offset", "spike_margin", "flip_spikes")
    of_counts = ("link", "no_picture_tiles", "grey", "crop", *of_sizes)
    of_pictures = ("picture_tiles", "list", "partition")
    needed = {
        "--source, a published data set,": (
            options.source is not None,
            ("layout", "blur", "split", *of_counts, *of_pictures),
        ),
        "a data set with spikes": (not alone, (*of_counts, "bins", "tfds")),
        "a data set without spikes": (alone, of_pictures),
        "--layout reds": (options.layout == "reds", ("partition",)),
        "--source or --tfds": (options.source is not None or options.tfds is not None, ("bins",)),
        "--layout folders, davis or pairs, which may name no split,": (own, ("split",)),
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


def _picture_settings(options: argparse.Namespace) -> PictureSettings:
    from spikejax.data.preparation.picture_lists import named_list
    from spikejax.data.preparation.picture_selection import PictureChoices
    from spikejax.data.preparation.prepare_pictures import PictureSettings

    choices = PictureChoices(
        options.blur,
        options.split or TRAINING_SPLIT,
        tuple(named_list(text) for text in options.list or ()),
        options.partition or _PARTITIONS[0],
    )
    return PictureSettings(options.layout, choices, tiles=options.picture_tiles)


def _print_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "prepare",
        description="Checks a published data set, aligns and counts its spikes if it has any, and writes one that is "
        "read fast.",
        example="--layout gopro --source GOPRO_spikes -o data/gopro",
    )
    add = parser.add_argument_group("files").add_argument
    add(
        "--layout", metavar="NAME",
        help="how it is arranged: with spikes gopro, x4k, folders or FILE.py:NAME; without gopro, reds, dvd, davis, "
        "vimeo90k or pairs",
    )  # fmt: skip
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
    add(
        "--picture-tiles", action="store_true",
        help="without spikes: write the pictures in compressed tiles, of which training reads the crops alone "
        "(default: they are read where they are)",
    )  # fmt: skip
    _add_frames(parser.add_argument_group("frames"))
    parser.add_argument(
        "--workers", type=positive_count, default=cpu_count(), metavar="N",
        help="number of processes (default: %(default)s, the CPUs that it may use)",
    )  # fmt: skip
    add_progress(parser)
    return parser


def _add_frames(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--bins", type=positive_count, metavar="K", help=f"time bins of the voxels (default: {_BINS})")
    add(
        "--blur", metavar="NAME",
        help="which pictures become the network's input where several are there: blur, blur_gamma or GT_blurred of "
        "GoPro, sharp_bicubic of REDS, BIx4 or BDx4 of Vimeo-90K, ...; none = take sharp ones alone",
    )  # fmt: skip
    add(
        "--split", choices=SPLITS,
        help="split of the sequences of a --layout folders, davis or pairs where no folder and no list says it "
        f"(default: {TRAINING_SPLIT})",
    )  # fmt: skip
    add(
        "--list", nargs="+", metavar="[SPLIT=]FILE",
        help="lists of sequences, such as sep_trainlist.txt or meta_info_*.txt, for what their names say, or SPLIT "
        "(default: those that lie with the data)",
    )  # fmt: skip
    add(
        "--partition", choices=_PARTITIONS,
        help="of REDS: four sequences of its training split are val, and its validation split is trained on (REDS4, "
        "default); or as published",
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


if __name__ == "__main__":
    run(main)
