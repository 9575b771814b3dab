"""The page itself: HTML with everything in it, so that it opens anywhere and asks no server for anything.

The slider is a range input laid over the pictures: it works by mouse, by touch and by the arrow keys, and a screen
reader says what it is. What the page looks like stands in templates/, what it says is made here.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from spikejax.quality.metrics import AFTER, BEFORE, measured_metrics, metric_named
from spikejax.reports.chart import line_chart
from spikejax.reports.gather import CloseUp, Picture, ShownFrame
from spikejax.reports.spike_answers import SpikeAnswers, findings, strips
from spikejax.reports.templating import TEMPLATES


def render(
    metrics: Mapping[str, Any],
    shown: Sequence[ShownFrame],
    close_ups: Sequence[CloseUp],
    *,
    title: str,
    sources: Sequence[str],
    spikes: Sequence[SpikeAnswers] = (),
    note: str = "",
) -> str:
    """The page.

    Args:
        metrics: of metrics.json.
        shown: frames before and after.
        close_ups: parts of them.
        title: what was restored.
        sources: lines that say where it came from and what restored it.
        spikes: frames restored with other spikes than their own.
        note: why there are none, if there should be.
    """
    per_frame = metrics.get("per_frame") or []
    charts = (_over_time(per_frame, metric) for metric in _headlines(metrics))
    return TEMPLATES.get_template("page.html").render(
        title=title,
        sources=sources,
        damage=metrics.get("damage"),
        facts=_facts(metrics),
        frames=[_comparison(frame, per_frame) for frame in shown],
        close_ups=[_close_up(part) for part in close_ups],
        spikes=_spikes(spikes, note),
        charts=[chart for chart in charts if chart["svg"]],
        numbers=_numbers(metrics),
        table=_every_frame(per_frame),
    )


def _spikes(shown: Sequence[SpikeAnswers], note: str) -> dict[str, Any] | None:
    """What the template shows of what the spikes did; None if there is nothing to say."""
    if not shown:
        return {"sentences": [note], "warning": "", "strips": []} if note else None
    sentences, warning = findings(shown)
    return {"sentences": sentences, "warning": warning, "strips": strips(shown, embed)}


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of what is stated first."""
    return [
        *((metric_named(metric).title, _change(metrics, metric)) for metric in _headlines(metrics)),
        ("Frames", f"{metrics['frames']}"),
        ("Size", f"{metrics['restored_width']} × {metrics['restored_height']}"),
        ("Time a frame", f"{metrics['seconds_per_frame']:.3g} s"),
        ("Memory", f"{metrics['peak_host_bytes'] / 2**30:.2f} GiB"),
    ]


def _headlines(scores: Mapping[str, Any]) -> list[str]:
    """The measured metrics that papers state."""
    return [metric for metric in measured_metrics(scores) if metric_named(metric).headline]


def _change(scores: Mapping[str, Any], metric: str) -> str:
    """A metric before and after, as far as it was measured."""
    names = [f"{metric}_{when}" for when in (BEFORE, AFTER)]
    shown = metric_named(metric)
    return " → ".join(shown.text(scores[name]) for name in names if name in scores) + shown.unit_text


def _number(value: float | None, digits: int) -> str:
    return "infinite" if value is None else f"{value:.{digits}f}"


def _comparison(frame: ShownFrame, per_frame: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template shows of a frame."""
    scores = per_frame[frame.number] if frame.number < len(per_frame) else {}
    height, width = frame.after.shape[:2]
    return {
        "name": f"Frame {frame.number}" + (f" ({frame.name})" if frame.name else ""),
        "scores": [f"{metric_named(metric).title} {_change(scores, metric)}" for metric in _headlines(scores)],
        "height": height,
        "width": width,
        "before": embed(frame.before),
        "after": embed(frame.after),
    }


def _close_up(part: CloseUp) -> dict[str, Any]:
    """What the template shows of a close-up."""
    pictures = (("before", part.before), ("restored", part.after), ("sharp", part.sharp))
    return {
        "where": f"Frame {part.frame}, row {part.top}, column {part.left}",
        "why": part.why,
        "pictures": [(label, embed(picture, lossless=True)) for label, picture in pictures if picture is not None],
    }


def _over_time(per_frame: Sequence[Mapping[str, Any]], metric: str) -> dict[str, Any]:
    """What the template shows of a metric's values; its SVG is empty where there are none."""
    shown = metric_named(metric)
    title = f"{shown.title} over time{', lower is better' if shown.better == 'lower' else ''}"
    lines = [
        (label, style, [scores.get(f"{metric}_{when}") for scores in per_frame])
        for label, style, when in (("before", "before", BEFORE), ("restored", "after", AFTER))
    ]
    return {"title": title, "unit": shown.unit, "svg": line_chart(lines, unit=shown.unit, title=title)}


def _numbers(metrics: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The rows of the table of numbers."""
    tile, overlap = (", ".join(str(side) for side in metrics[name].values()) for name in ("tile", "overlap"))
    rows = [
        ("Input size", f"{metrics['width']} × {metrics['height']}"),
        ("Tile (frames, rows, columns)", tile),
        ("Overlap", overlap),
        ("Devices", metrics["devices"]),
        ("Compiling", f"{metrics['compile_seconds']:.1f} s"),
        ("Restoring", f"{metrics['seconds']['total']:.1f} s"),
        *((f"Busy: {name}", f"{100 * share:.0f} %") for name, share in metrics["shares"].items()),
        ("Peak memory of the host", f"{metrics['peak_host_bytes'] / 2**20:,.0f} MiB"),
        ("The network's program needs", f"{metrics['program_bytes'] / 2**20:,.0f} MiB"),
    ]
    if metrics.get("peak_device_bytes"):
        rows.append(("Peak memory of the device", f"{metrics['peak_device_bytes'] / 2**20:,.0f} MiB"))
    return rows


def _every_frame(per_frame: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The table of all scores: a name for each column, and a text for each of them in the rows."""
    names = list(dict.fromkeys(name for scores in per_frame for name in scores))
    rows = [[_number(scores[name], 4) if name in scores else "" for name in names] for scores in per_frame]
    return {"head": [_readable(name) for name in names], "rows": rows}


def _readable(name: str) -> str:
    metric, _, when = name.rpartition("_")
    return f"{metric_named(metric).title} {'before' if when == BEFORE else 'after'}" if metric else name


def embed(picture: Picture, *, lossless: bool = False) -> str:
    """A picture as a data: address; a JPEG keeps the colours' full resolution, since it is compared closely."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if lossless:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=92, subsampling=0)
    return f"data:image/{'png' if lossless else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
