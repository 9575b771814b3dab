"""Shows what restoring did: python -m spikejax.report OUT.

OUT is what `python -m spikejax.restore` wrote. The report is one HTML file without any connection to a network: a
slider between before and after, the parts that gained most and least, the metrics over time, and all numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikejax.cli import make_parser, positive_count, run
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.json_files import read_json
from spikejax.io.video_codecs import is_video_name
from spikejax.quality.score_files import metrics_path


def main(arguments: Sequence[str]) -> None:
    """Writes a report as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = build_parser().parse_args(arguments)
    output = Path(options.output)
    metrics = _read_metrics(metrics_path(output))
    # Only now: they import decoders, and a mistake above should show at once.
    from spikejax.io.frame_source import open_frames
    from spikejax.reports.gather import choose_frames, find_close_ups, gather
    from spikejax.reports.page import render

    restored = open_frames(output, own_depth=True)
    source = open_frames(options.input or metrics["input"], own_depth=True)
    sharp_path = options.sharp or metrics.get("sharp")
    sharp = None if sharp_path is None else open_frames(sharp_path, own_depth=True)
    numbers = choose_frames(metrics["frames"], metrics["per_frame"], options.frames)
    frames = gather(numbers, restored=restored, source=source, sharp=sharp)
    sources = [f"Restored from {metrics['input']}", f"by {metrics['network']}"]
    html = render(metrics, frames, find_close_ups(frames), title=f"{output.name}, before and after", sources=sources)
    page = Path(options.page) if options.page else _default_page(output)
    with atomic_write(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(page)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = make_parser("report", description="Writes one HTML file that shows what restoring did.")
    add = parser.add_argument
    add("output", metavar="OUT", help="what python -m spikejax.restore wrote, a folder or a video")
    add("--input", metavar="PATH", help="what was restored, if it has been moved since")
    add("--sharp", metavar="PATH", help="the true frames, if they have been moved since")
    add("--frames", type=positive_count, default=4, metavar="N", help="frames to show (default: %(default)s)")
    add("--page", metavar="FILE", help="where to write (default: report.html in the folder OUT, or beside the video)")
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
