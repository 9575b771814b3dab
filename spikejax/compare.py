"""Compares evaluations: python -m spikejax.compare OUT_A OUT_B ... [--page FILE].

Each OUT is what `python -m spikejax.evaluate` wrote, all of the same sequences. Prints the totals side by side and the
differences of every sequence, and writes one HTML file without any connection to a network: both tables, the scores
over the frames, and the frames that differ most, as far as they were kept (`evaluate --save-frames`).
"""

from __future__ import annotations

import argparse
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import make_parser, run, whole_number_from
from spikejax.errors import InputError
from spikejax.io.atomic import write_text
from spikejax.quality.score_comparison import compare_scores

if TYPE_CHECKING:
    from spikejax.quality.score_comparison import Comparison

_PAGE = "comparison.html"
_FRAMES = 4


def main(arguments: Sequence[str]) -> None:
    """Compares as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    comparison = call(*options.outputs, metric=options.metric, page=options.page, frames=options.frames)
    from spikejax.reports.comparison_page import sequence_table, total_table

    for note in comparison.notes:
        print(f"spikejax: note: {note}", file=sys.stderr)
    for table in (total_table(comparison), sequence_table(comparison)):
        print("\n".join(_aligned(*table)), end="\n\n")
    print(options.page)


def call(
    *outputs: str | os.PathLike[str],
    metric: str | None = None,
    page: str | os.PathLike[str] | None = None,
    frames: int = _FRAMES,
) -> Comparison:
    """Evaluations side by side: `spikejax.compare(out_a, out_b, ...)` from Python.

    Args:
        *outputs: folders that an evaluation wrote, of the same sequences.
        metric: by which sequences and frames are compared; None = the first that all measured.
        page: file to write the HTML page to; None = none.
        frames: how many of the frames that differ most the page shows.

    Raises:
        InputError: one is no evaluation, or they are not of the same sequences.
    """
    comparison = compare_scores(outputs, metric=metric)
    if page is not None:
        target = Path(page)
        if target.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"expected a page .html, found {target}")
        # Only now: it imports decoders, and a mistake above should show at once.
        from spikejax.reports.comparison_page import render_comparison

        html = render_comparison(comparison, frames=frames)
        write_text(target, html)
    return comparison


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "compare",
        description="Puts evaluations of the same sequences side by side: a table, the difference of each sequence, "
        "and one HTML page with curves and the frames that differ most.",
        example="out/a out/b",
    )
    add = parser.add_argument
    add(
        "outputs",
        nargs="+",
        metavar="OUT",
        help="what python -m spikejax.evaluate wrote; differences are from the first",
    )
    add("--metric", metavar="NAME", help="by which sequences and frames are compared (default: the first measured)")
    add("--page", default=_PAGE, metavar="FILE", help="where to write (default: %(default)s in this folder)")
    add(
        "--frames", type=whole_number_from(0), default=_FRAMES, metavar="N",
        help="frames to show, where evaluate --save-frames kept them (default: %(default)s)",
    )  # fmt: skip
    return parser


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines: names to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


class _CallableModule(types.ModuleType):
    """This module, which is a command, as a function of the package as well."""

    def __call__(self, *outputs: Any, **options: Any) -> Comparison:
        """See `call`."""
        return call(*outputs, **options)


sys.modules[__name__].__class__ = _CallableModule


if __name__ == "__main__":
    run(main)
