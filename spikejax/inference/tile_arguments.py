"""What the command lines share that restore: tiles, their blending, devices."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from spikejax.cli import add_require, extent

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
