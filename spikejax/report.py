"""Shows what restoring did: python -m spikejax.report OUT.

OUT is what `python -m spikejax.restore` wrote. The report is one HTML file without any connection to a network: a
slider between before and after, the parts that gained most and least, the metrics over time, and all numbers. Of a
network that takes spikes it shows what they did: frames restored again without them, and with their neighbours'.
"""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikejax.cli import add_trust_code, make_parser, path_or_bucket, positive_count, run, whole_number_from
from spikejax.compile_cache import add_compile_cache, use_compile_cache
from spikejax.errors import InputError, one_line
from spikejax.hardware.allocator import keep_freed_memory
from spikejax.io.atomic import write_text
from spikejax.io.json_files import read_json
from spikejax.io.positions import Position
from spikejax.io.video_codecs import is_video_name
from spikejax.io.video_reading import VideoReading
from spikejax.progress import count_text, say
from spikejax.quality.score_files import metrics_path

if TYPE_CHECKING:
    from spikejax.io.frame_source import FrameSource
    from spikejax.reports.gather import ShownFrame
    from spikejax.reports.spike_answers import SpikeAnswers


def main(arguments: Sequence[str]) -> None:
    """Writes a report as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    output = Path(options.output)
    scores = metrics_path(output)
    metrics = _read_metrics(scores)
    with _damage_named(scores):
        html = _draw(options, output, metrics)
    page = Path(options.page) if options.page else _default_page(output)
    write_text(page, html)
    print(page)
    if options.open:
        webbrowser.open(page.absolute().as_uri())


@contextmanager
def _damage_named(scores: Path) -> Iterator[None]:
    """Turns what the metrics of a run lack, or have of another kind, into a line."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__} ({one_line(error)})"
        raise InputError(f"expected the metrics that restoring writes, found {what}: {scores}") from error


def _draw(options: argparse.Namespace, output: Path, metrics: dict[str, Any]) -> str:
    """The page of a restored output."""
    # Only now: they import decoders, and a mistake above should show at once.
    from spikejax.io.frame_range import part_of
    from spikejax.io.frame_source import open_frames
    from spikejax.reports.gather import choose_frames, find_close_ups, gather
    from spikejax.reports.page import render

    restored = open_frames(output, own_depth=True)
    sharp_path = options.sharp or metrics.get("sharp")
    reading = metrics.get("reading")
    part = Position(frame=metrics.get("first_frame", 0))
    source, sharp = (
        None
        if path is None
        else part_of(open_frames(path, own_depth=True, reading=how), part if part.frame else None, None)
        for path, how in ((options.input or metrics["input"], reading and VideoReading(**reading)), (sharp_path, None))
    )
    if source is None:
        raise InputError(f"expected the input in the metrics, or --input, found none: {metrics_path(output)}")
    numbers = choose_frames(metrics["frames"], metrics["per_frame"], options.frames)
    frames = gather(numbers, restored=restored, source=source, sharp=sharp)
    sources = [f"Restored from {metrics['input']}", f"by {metrics['network']}"]
    spikes, note = _with_other_spikes(options, metrics, frames, source)
    return render(
        metrics,
        frames,
        find_close_ups(frames),
        title=f"{output.name}, before and after",
        sources=sources,
        spikes=spikes,
        note=note,
    )


def _with_other_spikes(
    options: argparse.Namespace, metrics: dict[str, Any], shown: list[ShownFrame], source: FrameSource
) -> tuple[list[SpikeAnswers], str]:
    """The first of the shown frames restored with other spikes than their own; or why that cannot be done, in a line.

    Raises:
        InputError: what the command line names for it is not there or does not fit.
    """
    path = options.spikes or metrics.get("spikes")
    if path is None or not options.other_spikes:
        return [], ""
    try:
        return _restore_again(options, metrics, shown[: options.other_spikes], source, path), ""
    except InputError as error:
        if options.spikes or options.network or options.trust_code:
            raise
        # The pictures that are there can be shown all the same.
        note = f"not shown, as it needs the network and the spikes (--network, --spikes): {error}"
        print(f"spikejax: what the spikes did: {note}", file=sys.stderr)
        return [], f"This is {note}"


def _restore_again(
    options: argparse.Namespace, metrics: dict[str, Any], shown: list[ShownFrame], source: FrameSource, path: str
) -> list[SpikeAnswers]:
    from spikejax.inference.other_spikes import restore_with_other_spikes
    from spikejax.inference.tiling import Extent
    from spikejax.inference.voxel_source import VoxelSource
    from spikejax.loading import load
    from spikejax.reports.spike_answers import SpikeAnswers

    network = options.network or metrics["network"]
    keep_freed_memory()
    use_compile_cache(options.compile_cache, apart_from=[network])
    restorer = load(network, dtype=metrics.get("dtype"), trust_code=options.trust_code)
    restorer.check_spikes(True)
    size, windows = metrics.get("spike_size"), metrics.get("spike_windows")
    bins = restorer.traits.spike_bins or 0
    spikes = VoxelSource(
        path,
        source,
        bins=bins,
        size=None if size is None else (size[0], size[1]),
        windows=windows,
        upside_down=bool(metrics.get("flip_spikes")),
    )
    tile, overlap = (Extent(**metrics[name]) for name in ("tile", "overlap"))
    say(f"restoring {count_text(len(shown), 'frame')} again with other spikes")
    return [
        SpikeAnswers(
            frame.number,
            restore_with_other_spikes(
                restorer, source, spikes, frame.number, count=metrics["frames"], tile=tile, overlap=overlap
            ),
            frame.sharp,
        )
        for frame in shown
    ]


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser(
        "report", description="Writes one HTML file that shows what restoring did.", example="restored --frames 6"
    )
    add = parser.add_argument
    add("output", metavar="OUT", help="what python -m spikejax.restore wrote, a folder or a video")
    add("--input", metavar="PATH", help="what was restored, if it has been moved since")
    add("--sharp", metavar="PATH", help="the true frames, if they have been moved since")
    add("--frames", type=positive_count, default=4, metavar="N", help="frames to show (default: %(default)s)")
    add("--open", action="store_true", help="open the page in the browser")
    add("--page", metavar="FILE", help="where to write (default: report.html in the folder OUT, or beside the video)")
    spikes = parser.add_argument_group("what the spikes did")
    spikes.add_argument(
        "--other-spikes", type=whole_number_from(0), default=2, metavar="N",
        help="of the frames shown, restore N again without spikes and with those of the frames before and after; "
        "0 = none (default: %(default)s)",
    )  # fmt: skip
    spikes.add_argument("--spikes", metavar="PATH", help="the spikes, if they have been moved since")
    spikes.add_argument(
        "--network", type=path_or_bucket, metavar="PATH", help="the network, if it has been moved since"
    )
    add_trust_code(spikes)
    add_compile_cache(parser)
    return parser


def _default_page(output: Path) -> Path:
    return output.with_name(f"{output.stem}.report.html") if is_video_name(output) else output / "report.html"


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = read_json(path)
    if metrics is None:
        raise InputError(f"expected what python -m spikejax.restore wrote, found no {path}")
    missing = {"frames", "per_frame", "input", "network", "seconds", "shares"} - metrics.keys()
    if missing:
        raise InputError(f"expected the metrics of a restored video, found no {', '.join(sorted(missing))}: {path}")
    return metrics


if __name__ == "__main__":
    run(main)
