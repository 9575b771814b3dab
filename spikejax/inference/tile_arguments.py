"""What the command lines share that restore, or plan it: the reading of the input, tiles, their blending, devices."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from spikejax.cli import add_require, extent, whole_number_from
from spikejax.io.positions import position

if TYPE_CHECKING:
    from spikejax.inference.tiling import AutoTile, Extent


def read_tile(text: str) -> Extent | AutoTile:
    """The tile that an argument says: three numbers, "auto", or "FRAMES,auto"."""
    from spikejax.inference.tiling import AutoTile  # only here: NumPy comes with it

    if text == "auto":
        return AutoTile()
    frames, _, rest = text.replace(" ", ",").partition(",")
    if rest.strip(",") == "auto" and frames.isdecimal():
        return AutoTile(int(frames))
    return read_extent(text)


def read_extent(text: str) -> Extent:
    """The extent that an argument says, see `spikejax.cli.extent`."""
    sides = extent(text)

    from spikejax.inference.tiling import Extent

    return Extent(*sides)


def add_part(group: argparse._ActionsContainer) -> None:
    """Adds --from and --to, as `start` and `end`, which `spikejax.io.frame_range.part_of` takes."""
    add = group.add_argument
    add(
        "--from", dest="start", type=position, metavar="WHERE",
        help="restore the input from here on: a frame's number, from 0, or a time, such as 4.5s or 1:30",
    )  # fmt: skip
    add("--to", dest="end", type=position, metavar="WHERE", help="restore what comes before this frame or time")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Adds the options of how a video is read, which `VideoReading.asked` takes."""
    add = parser.add_argument_group("videos as input").add_argument
    add(
        "--stream", type=whole_number_from(0), metavar="N",
        help="the film among the file's video streams, from 0 (default: the one that players choose)",
    )  # fmt: skip
    add(
        "--deinterlace", choices=("kept", "doubled"),
        help="make a progressive video of an interlaced one, by FFmpeg's bwdif: a frame of each, or one of each field",
    )  # fmt: skip
    add("--as-progressive", action="store_true", help="restore an interlaced video as it is, its combs included")
    add(
        "--resize-changes", action="store_true",
        help="bring frames to the first one's size where it changes (default: stop there, exit code 3)",
    )  # fmt: skip


def add_devices(parser: argparse.ArgumentParser) -> None:
    """Adds --devices, --space and --require: which devices restore."""
    group = parser.add_argument_group("devices")
    add_require(group)
    add = group.add_mutually_exclusive_group().add_argument
    add("--devices", type=int, metavar="N", help="devices that each restore tiles of their own (default: all)")
    add(
        "--space", type=int, metavar="N",
        help="devices that share the rows of whole frames, which are not cut into tiles",
    )  # fmt: skip


def add_protocol(group: argparse._ActionsContainer) -> None:
    """Adds --protocol: how overlapping tiles are blended."""
    from spikejax.inference.tiling import PROTOCOLS

    group.add_argument(
        "--protocol", choices=PROTOCOLS, default=PROTOCOLS[0],
        help="how overlapping tiles are blended: tapered (default), with weights that fall off towards their edges; or "
        "published, as published figures of VRT are measured, its lengthening of frames and clips included",
    )  # fmt: skip
