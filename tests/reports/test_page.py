"""The page; tests/test_report.py opens a whole one, in a browser where there is one."""

from typing import Any

import numpy as np

from spikejax.reports.gather import CloseUp, ShownFrame
from spikejax.reports.page import render

GREY = np.full((16, 24, 3), 128, np.uint8)
EXTENT = {"frames": 2, "height": 16, "width": 24}
METRICS: dict[str, Any] = {
    "frames": 1, "height": 16, "width": 24, "restored_height": 16, "restored_width": 24, "tile": EXTENT,
    "overlap": EXTENT, "devices": 1, "compile_seconds": 1.0, "seconds_per_frame": 0.5, "seconds": {"total": 3.0},
    "shares": {"decode": 0.25}, "peak_host_bytes": 2**30, "peak_device_bytes": 3 * 2**20, "program_bytes": 2**20,
    "damage": None,
}  # fmt: skip


def page_of(metrics: dict[str, Any], *, name: str | None = None, title: str = "a clip") -> str:
    """The page of one frame."""
    shown = ShownFrame(0, name, GREY, GREY, GREY)
    part = CloseUp(0, 1, 2, "gained most", GREY, GREY, None)
    return render(METRICS | metrics, [shown], [part], title=title, sources=["from here"])


def test_names_cannot_change_the_page() -> None:
    """Catches a file, a title or a metric whose name is markup: it would run in the reader's browser."""
    evil = "<script>alert(1)</script>"
    scores = {f"{evil}_blur": 1.0, f"{evil}_recon": 2.0}
    # Of somebody's metrics.json, say.
    foreign = {"damage": evil, "frames": evil, "devices": evil, "shares": {evil: 0.5}}
    page = page_of({**foreign, "per_frame": [scores], **scores}, name=evil, title=evil)
    assert evil not in page and evil.upper() not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_metrics_of_the_users_own_are_shown() -> None:
    """Catches a page that knows only the package's metrics, and one that takes a lower distance for a loss."""
    scores = {"contrast_blur": 1.5, "contrast_recon": 2.5, "lpips_blur": 0.5, "lpips_recon": None}
    page = page_of({"per_frame": [scores], **scores})
    assert "<dt>CONTRAST</dt><dd>1.5000 → 2.5000</dd>" in page
    assert "<dt>LPIPS</dt><dd>0.5000 → infinite</dd>" in page
    assert "LPIPS over time, lower is better" in page and "CONTRAST over time<" in page


def test_what_was_not_measured_is_left_out() -> None:
    """Catches empty charts, tables and warnings."""
    page = page_of({"per_frame": [{}]})
    assert "over time" not in page and "Every frame" not in page and "did not decode" not in page
    assert "Peak memory of the device" in page and "3 MiB" in page
