"""The page of an experiment, as text and in a browser."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spikejax.reports.experiment_page import CurveChart, ExperimentPage, Panel, Strip, Table, render_experiment

GREY = np.full((16, 24, 3), 128, np.uint8)


def page_of(**changed: object) -> str:
    """The page of two variants and a picture."""
    fields: dict[str, object] = dict(
        title="toy: 2 variants compared",
        notes=["from here"],
        verdict=("passed", "acceptance: passed"),
        tables=[Table("Results", "PSNR in dB", ["variant", "theta1"], [["(input)", "25.00"], ["a", "30.00 ± 0.10"]])],
        charts=[CurveChart("PSNR", "dB", {"a": [None, 26.0, 30.0], "b": [None, 26.0, 29.0]}, 50)],
        pictures_caption="middle frames",
        strips=[Strip("scene", [Panel("input", GREY, "25.00 dB"), Panel("a", GREY), Panel("sharp", GREY)])],
    )
    return render_experiment(ExperimentPage(**fields | changed))  # type: ignore[arg-type]


def test_names_cannot_change_the_page() -> None:
    """Catches a variant, a sequence or a path that is markup, which would run in the reader's browser."""
    evil = "<script>alert(1)</script>"
    page = page_of(
        title=evil,
        notes=[evil],
        verdict=("failed", evil),
        tables=[Table(evil, evil, [evil, evil], [[evil, evil]])],
        charts=[CurveChart(evil, evil, {evil: [1.0, 2.0]}, 1)],
        strips=[Strip(evil, [Panel(evil, GREY, evil)])],
    )
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_nothing_is_fetched_and_nothing_runs() -> None:
    """Catches an address, a script, or a policy that would let one in."""
    page = page_of()
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.count('src="data:image/') == page.count("<img ") == 3


def test_curves_are_over_updates() -> None:
    """Catches frames or numbers of points on the axis, lines of one colour, and an empty chart."""
    page = page_of()
    assert re.findall(r'text-anchor="middle">(\w+)<', page) == ["0", "50", "100", "update"]
    styles = re.findall(r'<polyline class="([^"]+)"', page)
    assert styles == ["c0 d0", "c1 d0"] * 2  # the key, and the lines
    many = page_of(charts=[CurveChart("loss", "", {f"v{number}": [1.0, 2.0] for number in range(21)}, 1)])
    assert len(set(re.findall(r'<polyline class="([^"]+)"', many))) == 21
    assert "<h2>loss" not in page_of(charts=[CurveChart("loss", "", {"a": [None]}, 1)])


def test_what_is_not_there_is_left_out() -> None:
    """Catches an empty verdict, and a heading of pictures without pictures."""
    page = page_of(verdict=None, strips=[])
    assert 'class="verdict' not in page and "Pictures" not in page


@pytest.mark.needs("chromium")
def test_in_a_browser(tmp_path: Path) -> None:
    """Catches pictures that do not show, colours that the styles do not have, and a page wider than a phone."""
    script = """<script>addEventListener("load", () => {
      const lines = [...document.querySelectorAll("svg[role=img] polyline")];
      const colours = new Set(lines.map((line) => getComputedStyle(line).stroke));
      const images = [...document.images].every((image) => image.naturalWidth === 24);
      const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
      document.title = [lines.length, colours.size, images, wide].join("|");
    })</script>"""
    text = (
        page_of().replace("style-src", "script-src 'unsafe-inline'; style-src").replace("</body>", f"{script}</body>")
    )
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--virtual-time-budget=5000",
               "--dump-dom", (tmp_path / "page.html").as_uri()]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    title = ended.stdout.partition("<title>")[2].partition("</title>")[0]
    assert title == "2|2|true|false"
