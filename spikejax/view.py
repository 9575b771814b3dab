"""Shows a data set or a spike stream: python -m spikejax.view --input ROOT/val/SEQ --output FILE.png|.mp4.

The output is a sheet of rows, or a video with a row for each frame. `spikejax.reports.data_set_rows` says what a row of
a data set shows, `spikejax.reports.stream_rows` the same of a bare stream.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from spikejax.cli import (
    add_overwrite,
    add_progress,
    add_words,
    check_effects,
    frame_rate,
    make_parser,
    positive_count,
    run,
    show_as_asked,
    size,
)
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.video_codecs import VIDEO_SUFFIXES
from spikejax.progress import say, with_progress

if TYPE_CHECKING:
    from spikejax.reports.contact_sheet import RowStream, SheetRow

_SHEET_ROWS = 6
_VIDEO_FRAMES = 300
_HALF_WIDTH = 16
_RATE = 10.0


def main(arguments: Sequence[str]) -> None:
    """Writes a sheet or a video as the command line says."""
    options = build_parser().parse_args(arguments)
    show_as_asked(options)
    # Only now: they import compilers and decoders, and a mistake in the arguments should show at once.
    from spikejax.io.pictures import write_picture
    from spikejax.io.video_writer import write_video
    from spikejax.reports.contact_sheet import draw_sheet

    output = Path(options.output)
    video = output.suffix.lower() in VIDEO_SUFFIXES
    if not video and output.suffix.lower() != ".png":
        raise InputError(f"expected an output .png or a video ({', '.join(sorted(VIDEO_SUFFIXES))}), found {output}")
    _check_effects(options, video=video)
    if output.exists() and not options.overwrite:
        raise InputError(f"expected a new file, found one that exists already: {output}")
    stream = _rows(options, limit=options.frames or (_VIDEO_FRAMES if video else _SHEET_ROWS))
    for note in stream.notes:
        say(f"spikejax: note: {note}")
    if video:
        if not stream.of_one_size:
            raise InputError(f"expected one sequence for a video (--sequence NAME), found the data set {options.input}")
        sheets = (draw_sheet([row], panel_width=options.panel_width) for row in _with_progress(stream))
        rate = options.fps or Fraction(_RATE)
        write_video(output, sheets, rate=rate, overwrite=options.overwrite)
    else:
        sheet = draw_sheet(list(_with_progress(stream)), panel_width=options.panel_width)
        with atomic_write(output) as temporary:
            write_picture(temporary, sheet)
    print(output)


def _check_effects(options: argparse.Namespace, *, video: bool) -> None:
    from spikejax.data.spikes.any_stream import STREAM_SUFFIXES

    bare = Path(options.input).suffix in STREAM_SUFFIXES
    needed = {
        "a file of spikes, as --input,": (bare, ("half_width", "spike_size", "flip_spikes")),
        "a data set, as --input,": (not bare, ("sequence", "recon")),
        "a video, as --output,": (video, ("fps",)),
    }
    check_effects(options, needed)


def _rows(options: argparse.Namespace, *, limit: int) -> RowStream:
    from spikejax.data.spikes.any_stream import STREAM_SUFFIXES
    from spikejax.reports.data_set_rows import data_set_rows
    from spikejax.reports.stream_rows import stream_rows

    path = Path(options.input)
    if path.suffix in STREAM_SUFFIXES:
        return stream_rows(
            path,
            size=options.spike_size,
            upside_down=options.flip_spikes,
            limit=limit,
            half_width=options.half_width or _HALF_WIDTH,
        )
    return data_set_rows(path, sequence=options.sequence, recon=options.recon, limit=limit)


def _with_progress(stream: RowStream) -> Iterator[SheetRow]:
    return with_progress(stream.rows, "drawing", total=stream.count, unit="row")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "view",
        description="Draws the pictures of a data set beside their spikes, or a bare stream of spikes. A row shows the "
        "blurry picture, the rate of the spikes, the reconstructions TFP and TFI, the restored and the sharp picture, "
        "and the edges of the sharp picture (red) over those of TFP (cyan): white where they meet.",
        example="-i data/mine -o sheet.png",
    )
    add = parser.add_argument
    add("-i", "--input", required=True, metavar="PATH", help="ROOT, ROOT/SPLIT/SEQUENCE, or a file of spikes")
    add("-o", "--output", required=True, metavar="FILE", help="contact sheet (.png) or video (.mkv, .mov, .mp4)")
    add("--sequence", metavar="NAME", help="sequence of ROOT (default: the middle frame of each sequence)")
    add("--recon", metavar="FOLDER", help="restored pictures of the sequence, of the same names")
    add_words(
        parser, "--spike-size", read=size, metavar="HEIGHTxWIDTH",
        help="size of a bare stream's frames, where no config.yaml beside or above it says it",
    )  # fmt: skip
    add("--flip-spikes", action="store_true", help="the camera of a bare stream stored the rows the other way round")
    add(
        "--half-width", type=positive_count, metavar="N",
        help=f"steps on either side that TFP of a bare stream averages over, where wide (default: {_HALF_WIDTH})",
    )  # fmt: skip
    add(
        "--frames", type=positive_count, metavar="N",
        help=f"at most N rows of a sheet (default: {_SHEET_ROWS}) or frames of a video (default: {_VIDEO_FRAMES})",
    )  # fmt: skip
    add(
        "--panel-width", type=positive_count, metavar="PIXELS",
        help="width of each picture on the sheet (default: the pictures' own)",
    )  # fmt: skip
    add(
        "--fps", type=frame_rate, metavar="X", help=f"frames a second of a video (default: {_RATE:g})",
    )  # fmt: skip
    add_overwrite(parser, "the output")
    add_progress(parser)
    return parser


if __name__ == "__main__":
    run(main)
