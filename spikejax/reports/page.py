"""The page itself: HTML with everything in it, so that it opens anywhere and asks no server for anything.

The slider is a range input laid over the pictures: it works by mouse, by touch and by the arrow keys, and a screen
reader says what it is.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from spikejax.quality.metrics import AFTER, BEFORE, measured_metrics, metric_named
from spikejax.reports.chart import line_chart
from spikejax.reports.gather import CloseUp, Picture, ShownFrame

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --card: #f3f5f8; --line: #d5dae0;
  --after: #0a5fd0; --before: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebef; --soft: #a3abb5; --paper: #12151a; --card: #1c2128;
  --line: #363d47; --after: #6cb2ff; --before: #e0a94a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 20px 16px 64px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 40px 0 8px; }
p { margin: 4px 0 12px; overflow-wrap: anywhere; } .soft { color: var(--soft); }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 8px; margin: 20px 0; }
dl.facts > div { background: var(--card); border-radius: 8px; padding: 10px 14px; }
dt { color: var(--soft); font-size: .82rem; } dd { margin: 0; font-weight: 600;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.frames { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 4px 24px; }
figure { margin: 0 0 24px; } figcaption { padding: 6px 2px; display: flex; flex-wrap: wrap; gap: 2px 16px; }
figcaption b { font-weight: 600; }
.compare { position: relative; overflow: hidden; border-radius: 8px; background: var(--card); --cut: 50%; }
.compare img { display: block; width: 100%; height: auto; }
.compare img.before { position: absolute; inset: 0; height: 100%; clip-path: inset(0 calc(100% - var(--cut)) 0 0); }
.compare .rule { position: absolute; top: 0; bottom: 0; left: var(--cut); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / .55); pointer-events: none; }
.compare .rule::after { content: "\\2194"; position: absolute; top: 50%; left: 50%; transform: translate(-50%, -50%);
  width: 36px; height: 36px; border-radius: 50%; background: #fff; color: #1b1f24; font-size: 20px; line-height: 34px;
  text-align: center; box-shadow: 0 0 0 1px rgb(0 0 0 / .45); }
.compare .tag { position: absolute; top: 8px; padding: 1px 8px; border-radius: 4px; background: rgb(0 0 0 / .65);
  color: #fff; font-size: .8rem; pointer-events: none; }
.tag.left { left: 8px; } .tag.right { right: 8px; }
.compare input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize;
  touch-action: pan-y; appearance: none; }
.compare input::-webkit-slider-thumb { appearance: none; width: 1px; height: 100%; }
.compare input::-moz-range-thumb { width: 1px; height: 100%; border: 0; }
.compare:focus-within { outline: 3px solid var(--after); outline-offset: 2px; }
.close-ups { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); gap: 20px; }
.crops { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 6px; }
.crops img { width: 100%; height: auto; image-rendering: pixelated; border-radius: 4px; display: block; }
.crops span { font-size: .8rem; color: var(--soft); }
svg { width: 100%; height: auto; display: block; } svg text { font-size: 12px; fill: var(--soft); }
svg .grid { stroke: var(--line); } svg polyline { fill: none; stroke-width: 1.8; }
svg polyline.after { stroke: var(--after); } svg circle.after { fill: var(--after); }
svg polyline.before { stroke: var(--before); stroke-dasharray: 5 3; } svg circle.before { fill: var(--before); }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: .9rem; }
.key i { display: inline-block; width: 24px; border-top: 2px solid var(--after); vertical-align: middle;
  margin-right: 6px; }
.key i.before { border-top: 2px dashed var(--before); }
.scroll { overflow-x: auto; } .tall { max-height: 420px; overflow: auto; }
.scroll:focus-visible, .tall:focus-visible, summary:focus-visible { outline: 3px solid var(--after); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: right; padding: 5px 12px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { position: sticky; top: 0; background: var(--paper); }
summary { cursor: pointer; padding: 6px 0; } .warn { border-left: 4px solid var(--before); padding-left: 12px; }
"""

_SCRIPT = """
for (const input of document.querySelectorAll(".compare input")) {
  const show = () => {
    input.parentElement.style.setProperty("--cut", input.value + "%");
    input.setAttribute("aria-valuetext", "before " + Math.round(input.value) + " percent");
  };
  input.addEventListener("input", show);
  show();
}
"""


def render(
    metrics: Mapping[str, Any],
    shown: Sequence[ShownFrame],
    close_ups: Sequence[CloseUp],
    *,
    title: str,
    sources: Sequence[str],
) -> str:
    """The page.

    Args:
        metrics: of metrics.json.
        shown: frames before and after.
        close_ups: parts of them.
        title: what was restored.
        sources: lines that say where it came from and what restored it.
    """
    per_frame = metrics.get("per_frame") or []
    sections = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="soft">{escape(line)}</p>' for line in sources),
        _damage(metrics),
        _facts(metrics),
        "<h2>Before and after</h2>",
        '<p class="soft">Drag over a picture, or focus it and use the arrow keys.</p>',
        f'<div class="frames">{"".join(_comparison(frame, per_frame) for frame in shown)}</div>',
        "<h2>Close-ups</h2>",
        f'<div class="close-ups">{"".join(_close_up(part) for part in close_ups)}</div>',
        *(_over_time(per_frame, metric) for metric in _headlines(metrics)),
        _tables(metrics, per_frame),
    ]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        f"<main>\n{chr(10).join(part for part in sections if part)}\n</main>\n<script>{_SCRIPT}</script>\n"
        "</body>\n</html>\n"
    )


def _damage(metrics: Mapping[str, Any]) -> str:
    damage = metrics.get("damage")
    return f'<p class="warn"><b>Parts of the input did not decode:</b> {escape(str(damage))}</p>' if damage else ""


def _facts(metrics: Mapping[str, Any]) -> str:
    facts = [
        ("Frames", f"{metrics['frames']}"),
        ("Size", f"{metrics['restored_width']} × {metrics['restored_height']}"),
        ("Time a frame", f"{metrics['seconds_per_frame']:.3g} s"),
        ("Memory", f"{metrics['peak_host_bytes'] / 2**30:.2f} GiB"),
    ]
    facts = [(metric_named(metric).title, _change(metrics, metric)) for metric in _headlines(metrics)] + facts
    items = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{"".join(items)}</dl>'


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


def _comparison(frame: ShownFrame, per_frame: Sequence[Mapping[str, Any]]) -> str:
    name = f"Frame {frame.number}" + (f" ({escape(frame.name)})" if frame.name else "")
    scores = per_frame[frame.number] if frame.number < len(per_frame) else {}
    parts = [f"<b>{name}</b>"]
    for metric in _headlines(scores):
        parts.append(f'<span class="soft">{escape(metric_named(metric).title)} {_change(scores, metric)}</span>')
    height, width = frame.after.shape[:2]
    size = f'width="{width}" height="{height}"'
    return (
        '<figure><div class="compare">'
        f'<img class="after" {size} alt="{name}, restored" src="{_embed(frame.after)}">'
        f'<img class="before" {size} alt="{name}, before" src="{_embed(frame.before)}">'
        '<span class="tag left" aria-hidden="true">before</span>'
        '<span class="tag right" aria-hidden="true">restored</span>'
        '<span class="rule" aria-hidden="true"></span>'
        '<input type="range" min="0" max="100" step="1" value="50" '
        f'aria-label="{name}: share of the picture shown as it was before"></div>'
        f"<figcaption>{''.join(parts)}</figcaption></figure>"
    )


def _close_up(part: CloseUp) -> str:
    where = f"Frame {part.frame}, row {part.top}, column {part.left}"
    pictures = [("before", part.before), ("restored", part.after)]
    if part.sharp is not None:
        pictures.append(("sharp", part.sharp))
    crops = "".join(
        f'<div><img alt="{where}: {label}" src="{_embed(picture, lossless=True)}"><span>{label}</span></div>'
        for label, picture in pictures
    )
    return (
        f'<figure><div class="crops">{crops}</div><figcaption><b>Where it {part.why}</b>'
        f'<span class="soft">{where}</span></figcaption></figure>'
    )


def _over_time(per_frame: Sequence[Mapping[str, Any]], metric: str) -> str:
    shown = metric_named(metric)
    title, unit = f"{shown.title} over time{', lower is better' if shown.better == 'lower' else ''}", shown.unit
    lines = [
        (label, style, [scores.get(f"{metric}_{when}") for scores in per_frame])
        for label, style, when in (("before", "before", BEFORE), ("restored", "after", AFTER))
    ]
    chart = line_chart(lines, unit=unit, title=title)
    if not chart:
        return ""
    key = '<p class="key"><span><i class="before"></i>before</span><span><i></i>restored</span></p>'
    return f"<h2>{escape(title)}{f' ({escape(unit)})' if unit else ''}</h2>{key}{chart}"


def _tables(metrics: Mapping[str, Any], per_frame: Sequence[Mapping[str, Any]]) -> str:
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
    cells = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(value))}</td></tr>' for name, value in rows
    )
    html = f'<h2>Numbers</h2><div class="scroll" tabindex="0"><table><tbody>{cells}</tbody></table></div>'
    names = list(dict.fromkeys(name for scores in per_frame for name in scores))
    if not names:
        return html
    head = "".join(f'<th scope="col">{escape(_readable(name))}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{number}</th>'
        + "".join(f"<td>{_number(scores[name], 4) if name in scores else ''}</td>" for name in names)
        + "</tr>"
        for number, scores in enumerate(per_frame)
    )
    return (
        f"{html}<details><summary>Every frame ({len(per_frame)})</summary>"
        f'<div class="tall" tabindex="0" role="region" aria-label="Metrics of every frame"><table><thead><tr>'
        f'<th scope="col">Frame</th>{head}</tr></thead><tbody>{body}</tbody></table></div></details>'
    )


def _readable(name: str) -> str:
    metric, _, when = name.rpartition("_")
    return f"{metric_named(metric).title} {'before' if when == BEFORE else 'after'}" if metric else name


def _embed(picture: Picture, *, lossless: bool = False) -> str:
    """A picture as a data: address; a JPEG keeps the colours' full resolution, since it is compared closely."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture)
    if lossless:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=92, subsampling=0)
    return f"data:image/{'png' if lossless else 'jpeg'};base64,{base64.b64encode(buffer.getvalue()).decode()}"
