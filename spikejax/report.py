"""Shows what restoring did: python -m spikejax.report OUT.

OUT is what `python -m spikejax.restore` wrote. The report is one HTML file without any connection to a network: a
slider between before and after, the places that gained most and least, PSNR over time, all figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikejax.cli import run
from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write
from spikejax.io.frame_source import open_frames
from spikejax.io.json_files import read_json
from spikejax.io.video_writer import is_video_name
from spikejax.reports.gather import choose_frames, find_close_ups, gather
from spikejax.reports.page import render


def main(arguments: Sequence[str]) -> None:
    """Writes a report as the command line says.

    Args:
        arguments: what follows the program's name.
    """
    options = _parse(arguments)
    output = Path(options.output)
    is_video = is_video_name(output)
    metrics = _read_metrics(output.with_name(f"{output.stem}.metrics.json") if is_video else output / "metrics.json")
    page = Path(
        options.page or (output.with_name(f"{output.stem}.report.html") if is_video else output / "report.html")
    )
    restored = open_frames(output, own_depth=True)
    source = open_frames(options.input or metrics["input"], own_depth=True)
    true = options.sharp or metrics.get("sharp")
    numbers = choose_frames(metrics["frames"], metrics["per_frame"], options.frames)
    shown = gather(
        numbers, restored=restored, source=source, sharp=None if true is None else open_frames(true, own_depth=True)
    )
    sources = [f"Restored from {metrics['input']}", f"by {metrics['network']}"]
    html = render(metrics, shown, find_close_ups(shown), title=f"{output.name}, before and after", sources=sources)
    with atomic_write(page) as temporary:
        temporary.write_text(html, encoding="utf-8")
    print(page)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m spikejax.report",
        description="Writes one HTML file that shows what restoring did.",
        allow_abbrev=False,
    )
    parser.add_argument("output", metavar="OUT", help="what python -m spikejax.restore wrote, a folder or a video")
    parser.add_argument("--input", metavar="PATH", help="what was restored, if it was moved since")
    parser.add_argument("--sharp", metavar="PATH", help="the true frames, if they were moved since")
    parser.add_argument("--frames", type=int, default=4, metavar="N", help="frames to show (default: %(default)s)")
    parser.add_argument("--page", metavar="FILE", help="where to write (default: report.html in OUT or beside it)")
    options = parser.parse_args(arguments)
    if options.frames < 1:
        parser.error(f"--frames must be at least 1, not {options.frames}")
    return options


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = read_json(path)
    if metrics is None:
        raise InputError(f"expected what python -m spikejax.restore wrote, found no {path}")
    missing = {"frames", "per_frame", "input", "network", "seconds", "shares"} - metrics.keys()
    if missing:
        raise InputError(f"expected the figures of a restored video, found no {', '.join(sorted(missing))}: {path}")
    return metrics


if __name__ == "__main__":
    run(main)
