"""The page of an experiment or a comparison: a result, tables, curves, and pictures of networks side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spikejax.quality.metrics import Picture
from spikejax.reports.chart import line_chart
from spikejax.reports.page import embed
from spikejax.reports.templating import TEMPLATES

# Colours and dashes of templates/experiment.css, in which lines differ.
_COLOURS, _DASHES = 7, 3


@dataclass(frozen=True)
class CurveChart:
    """Lines over the updates, or over something else.

    Attributes:
        title: what they show.
        unit: of the values.
        lines: values at equal distances from 0 on, by label; None leaves a gap.
        distance: updates from a value to the next.
        axis: what is counted, if not updates.
    """

    title: str
    unit: str
    lines: Mapping[str, Sequence[float | None]]
    distance: int = 1
    axis: str = "update"


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Attributes:
        title: the heading.
        caption: what the numbers are.
        head, rows: the texts; the first of a row names it.
    """

    title: str
    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Panel:
    """A picture.

    Attributes:
        label: what it is.
        picture: the picture.
        score: what was measured of it, "" if nothing.
    """

    label: str
    picture: Picture
    score: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures of one frame, side by side.

    Attributes:
        name: of the frame.
        panels: the pictures.
    """

    name: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class ExperimentPage:
    """What the page says.

    Attributes:
        title: of the page.
        notes: lines below it.
        verdict: "passed", "failed" or "unknown", and the line that says so; None without a rule.
        tables: results.
        charts: curves.
        pictures_caption: what the pictures are.
        strips: the pictures.
    """

    title: str
    notes: Sequence[str]
    verdict: tuple[str, str] | None
    tables: Sequence[Table]
    charts: Sequence[CurveChart] = ()
    pictures_caption: str = ""
    strips: Sequence[Strip] = field(default_factory=list)


def render_experiment(page: ExperimentPage) -> str:
    """The page as HTML, with everything in it and without a script."""
    charts = (_chart(chart) for chart in page.charts)
    return TEMPLATES.get_template("experiment.html").render(
        title=page.title,
        notes=page.notes,
        verdict=None if page.verdict is None else {"style": page.verdict[0], "line": page.verdict[1]},
        tables=page.tables,
        charts=[chart for chart in charts if chart["svg"]],
        pictures_caption=page.pictures_caption,
        strips=[{"name": strip.name, "panels": [_panel(panel) for panel in strip.panels]} for strip in page.strips],
    )


def _chart(chart: CurveChart) -> dict[str, object]:
    styles = {label: _style(number) for number, label in enumerate(chart.lines)}
    series = [(label, styles[label], line) for label, line in chart.lines.items()]
    svg = line_chart(series, unit=chart.unit, title=chart.title, axis=chart.axis, scale=chart.distance)
    return {"title": chart.title, "unit": chart.unit, "key": list(styles.items()), "svg": svg}


def _style(number: int) -> str:
    return f"c{number % _COLOURS} d{number // _COLOURS % _DASHES}"


def _panel(panel: Panel) -> dict[str, object]:
    height, width = panel.picture.shape[:2]
    source = embed(panel.picture)
    return {"label": panel.label, "score": panel.score, "height": height, "width": width, "source": source}
