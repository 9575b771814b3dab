"""Measures a trained network: python -m spikejax.evaluate --network PATH [--data ROOT | --sharp ROOT ...] --output OUT.

Restores by tiles as `spikejax.restore` does, or with --protocol published as the published evaluation does. Measures
PSNR and SSIM of RGB and of Y, LPIPS where its weights are given, and what changes from frame to frame, before (`_blur`)
and after (`_recon`) restoring. OUT appears only when it is whole:

    OUT/metrics.json   what was measured, both totals, and the scores of every clip and frame; an infinite PSNR is null
    OUT/frames.csv     a line per frame
    OUT/clips.csv      a line per sequence: the mean over its frames
    OUT/total.csv      the mean over the sequences, and the mean over all frames
    OUT/frames/        with --save-frames, the frames
"""

from __future__ import annotations

import dataclasses
import os
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import run, show_as_asked
from spikejax.errors import InputError
from spikejax.evaluation.arguments import build_parser as build_parser
from spikejax.evaluation.arguments import parse_options
from spikejax.evaluation.options import EvaluationOptions
from spikejax.hardware.allocator import keep_freed_memory
from spikejax.inference.tiling import Extent
from spikejax.progress import count_text
from spikejax.quality.metrics import AFTER, BEFORE, measured_metrics, metric_named
from spikejax.quality.score_files import check_score_folder

if TYPE_CHECKING:
    from spikejax.evaluation.run import Evaluation


def main(arguments: Sequence[str]) -> None:
    """Evaluates as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options, other_options = parse_options(arguments)
    show_as_asked(other_options)
    check_score_folder(Path(options.output), overwrite=options.overwrite)

    # Only now: JAX takes seconds to import, and a mistake in the arguments should show at once.
    from spikejax.distributed import hosts
    from spikejax.evaluation.run import evaluate, published_words
    from spikejax.hardware.devices import use_required

    keep_freed_memory()
    hosts.join_as(other_options)
    use_required(other_options.require)
    evaluation = evaluate(options)
    if not hosts.is_first():
        return
    total = evaluation.mean_over_sequences
    print(f"-- Average {published_words(total)}")
    count = sum(len(clip) for clip in evaluation.frames.values())
    measured = f"{count_text(count, 'frame')} of {count_text(len(evaluation.frames), 'sequence')}"
    print(f"{evaluation.header['checkpoint']} on {measured}: {options.output}")
    for line in total_table(evaluation):
        print(line)


def call(
    network: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    tile: tuple[int, int, int] | None = None,
    overlap: tuple[int, int, int] | None = None,
    **options: Any,
) -> Evaluation:
    """What an evaluation measured, which is also written: `spikejax.evaluate(network, output=...)` from Python.

    Args:
        network: a workdir, or weights.
        output: folder for the scores.
        tile: frames, rows and columns that the network sees at once; 0 = all there are.
        overlap: of neighbouring tiles.
        **options: the other fields of `spikejax.evaluation.options.EvaluationOptions`, as `sharp`, `input`, `data`,
            `sigma`, `protocol`, `metrics`.

    Raises:
        InputError: the options, the network and the data do not fit together.
    """
    from spikejax.evaluation.run import evaluate

    given = ("input", "sharp", "data", "lpips", "statistics")
    paths = {name: os.fspath(options[name]) for name in given if options.get(name)}
    unknown = sorted(options.keys() - {field.name for field in dataclasses.fields(EvaluationOptions)})
    if unknown:
        raise InputError(f"expected options of spikejax.evaluate, found {', '.join(unknown)}")
    extents = {name: Extent(*sides) for name, sides in (("tile", tile), ("overlap", overlap)) if sides is not None}
    return evaluate(EvaluationOptions(os.fspath(network), os.fspath(output), **options | paths | extents))


class _CallableModule(types.ModuleType):
    """This module, which is a command, as a function of the package as well."""

    def __call__(self, *arguments: Any, **options: Any) -> Evaluation:
        """See `call`."""
        return call(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule


def total_table(evaluation: Evaluation) -> list[str]:
    """Both totals of every metric, before and after restoring, a line each."""
    header = evaluation.header
    tile, overlap = (",".join(map(str, header[name])) for name in ("tile", "overlap"))
    lines = [f"{header['protocol']} protocol, tiles of {tile} overlapping by {overlap} (frames, rows, columns)"]
    if header["threshold_factor"] != 1:
        lines.append(f"spikes of a camera whose threshold is {header['threshold_factor']:g} times as high")
    if header["noise"] is not None:
        shown = ", ".join(f"{name} {value:g}" for name, value in header["noise"].items() if value)
        lines.append(f"filmed again with noise of the spike camera: {shown}")
    for title, total in (
        ("mean over sequences", evaluation.mean_over_sequences),
        ("mean over frames", evaluation.mean_over_frames),
    ):
        lines.append(f"{title}:")
        for name in measured_metrics(total):
            before, after = (total[f"{name}_{when}"] for when in (BEFORE, AFTER))
            lines.append(f"  {name:<10} {before:8.4f} -> {after:8.4f}{metric_named(name).unit_text}")
    return lines


if __name__ == "__main__":
    run(main)
