import re
import xml.etree.ElementTree as ElementTree

from spikejax.reports.chart import line_chart

SPACE = "{http://www.w3.org/2000/svg}"


def test_a_line_goes_through_its_values() -> None:
    """Catches an axis upside down, a gap that is drawn over, and SVG that does not parse."""
    chart = line_chart([("after", "after", [30.0, 32.0, None, 31.0])], unit="dB", title="PSNR")
    svg = ElementTree.fromstring(chart)
    first, second = svg.findall("polyline")
    start, end = (tuple(map(float, point.split(","))) for point in first.attrib["points"].split())
    assert end[0] > start[0]
    assert end[1] < start[1]  # 32 dB is above 30 dB
    assert len(second.attrib["points"].split()) == 1
    assert len(svg.findall("circle")) == 1
    assert svg.attrib["aria-label"] == "PSNR: after 30 to 32 dB"
    assert {"30", "32"} <= set(re.findall(r'text-anchor="end">([\d.]+)<', chart))


def test_equal_values_and_none() -> None:
    """Catches a division by zero where nothing varies, and an empty frame of a chart where nothing is known."""
    assert "polyline" in line_chart([("after", "after", [30.0, 30.0])], unit="dB", title="PSNR")
    assert line_chart([("after", "after", [None, None])], unit="dB", title="PSNR") == ""
