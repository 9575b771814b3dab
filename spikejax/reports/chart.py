"""Metrics over time as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spikejax.reports.templating import TEMPLATES

_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 40
_POINT_LIMIT = 2000


def line_chart(
    series: Sequence[tuple[str, str, Sequence[float | None]]],
    *,
    unit: str,
    title: str,
    axis: str = "frame",
    scale: int = 1,
) -> str:
    """An SVG with a line for each series; empty if there is nothing to show.

    Args:
        series: label, CSS class and a value for each frame; None leaves a gap.
        unit: of the values.
        title: what screen readers say, with the range of each series.
        axis: what the values are counted in.
        scale: of that, from one value to the next.
    """
    values = [value for _, _, line in series for value in line if value is not None]
    if not values:
        return ""
    count = max(len(line) for _, _, line in series)
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], min(values)), max(ticks[-1], max(values))
    across = (_WIDTH - _LEFT - _RIGHT) / max(1, count - 1)

    def x(number: float) -> float:
        return _LEFT + number * across

    def y(value: float) -> float:
        return _TOP + (high - value) / ((high - low) or 1) * (_HEIGHT - _TOP - _BOTTOM)

    runs = []
    for _, style, line in series:
        step = max(1, len(line) // _POINT_LIMIT)
        for run in _runs([(number, line[number]) for number in range(0, len(line), step)]):
            runs.append({"style": style, "points": [f"{x(number):.1f},{y(value):.1f}" for number, value in run]})
    return TEMPLATES.get_template("chart.svg").render(
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        spoken=_spoken_title(title, series, unit),
        ticks=[{"text": f"{tick:g}", "y": f"{y(tick):.1f}", "text_y": f"{y(tick) + 4:.1f}"} for tick in ticks],
        numbers=[
            {"text": number * scale, "x": f"{x(number):.1f}"}
            for number in sorted({0, count // 4, count // 2, 3 * count // 4, count - 1})
        ],
        axis=axis,
        runs=runs,
    )


def _runs(points: Sequence[tuple[int, float | None]]) -> list[list[tuple[int, float]]]:
    """The points without the gaps, in one list between each two gaps."""
    runs: list[list[tuple[int, float]]] = [[]]
    for number, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((number, value))
    return [run for run in runs if run]


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round values from about `low` to about `high`."""
    span = (high - low) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if span / (factor * magnitude) <= 5)
    first = math.floor(low / step)
    return [round(number * step, 10) for number in range(first, math.ceil(high / step) + 1)]


def _spoken_title(title: str, series: Sequence[tuple[str, str, Sequence[float | None]]], unit: str) -> str:
    parts = []
    for label, _, line in series:
        known = [value for value in line if value is not None]
        if known:
            parts.append(f"{label} {min(known):.4g} to {max(known):.4g} {unit}".rstrip())
    return f"{title}: {', '.join(parts)}"
