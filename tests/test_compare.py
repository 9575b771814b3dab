"""Tests of evaluations side by side: table, differences, page, and what cannot be compared."""

import json
import math
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikejax
from spikejax import compare
from spikejax.cli import run
from spikejax.errors import InputError
from spikejax.io.pictures import write_picture
from spikejax.quality.score_comparison import short_labels
from spikejax.quality.score_files import write_score_folder

HEADER = {
    "network": "runs/a",
    "checkpoint": "best_psnr/250",
    "sharp": "test_GT",
    "protocol": "published",
    "tile": [6, 16, 16],
    "overlap": [2, 4, 4],
    "sigma": None,
}
# PSNR after restoring, by sequence.
FIRST = {"walk": [30.0, 31.0, 32.0], "car": [25.0, 26.0]}
SECOND = {"walk": [30.5, 31.0, 31.0], "car": [27.0, 29.5]}


def evaluation(
    folder: Path, psnr: dict[str, list[float]], *, before: float = 24.0, pictures: bool = True, **header: Any
) -> Path:
    """Writes what an evaluation would; in the pictures a frame's number, of the output a brightness by its scores."""
    scores = {
        name: [{"psnr_blur": before, "ssim_blur": 0.5, "psnr_recon": value, "ssim_recon": 0.75} for value in values]
        for name, values in psnr.items()
    }
    write_score_folder(folder, scores, header={**HEADER, **header})
    for name, values in psnr.items() if pictures else ():
        for number, value in enumerate(values):
            level = 0 if math.isinf(value) else int(value * 4)
            for kind, grey in (("before", number), ("restored", level), ("sharp", 255)):
                path = folder / "frames" / name / kind / f"{number:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(path, np.full((16, 24, 3), grey, np.uint8))
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two evaluations."""
    return evaluation(tmp_path / "a", FIRST), evaluation(tmp_path / "b", SECOND)


def test_the_table(two: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a difference of the wrong sign, means of the wrong kind, and sequences that differ most far below."""
    compare.main([*map(str, two), "--page", str(tmp_path / "page.html")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    # The mean of the sequences' means, 31 and 25.5, 30.83 and 28.25, and not that of the frames.
    assert ["metric", "before", "a", "b", "b", "-", "a"] in lines
    assert ["PSNR", "(dB)", "24.00", "28.25", "29.54", "+1.29"] in lines
    assert ["SSIM", "0.5000", "0.7500", "0.7500", "+0.0000"] in lines
    car, walk = lines.index(["car", "25.50", "28.25", "+2.75"]), lines.index(["walk", "31.00", "30.83", "-0.17"])
    assert car < walk
    assert lines[-1] == [str(tmp_path / "page.html")]


def test_from_python(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches a call that compares otherwise than the command, that writes unasked, and frames that do not differ most.

    Of every sequence the frame that differs most comes before another one's second.
    """
    before = sorted(tmp_path.rglob("*"))
    comparison = spikejax.compare(*two)
    assert sorted(tmp_path.rglob("*")) == before
    assert comparison.totals["psnr"] == pytest.approx([24, 28.25, 29.541666], abs=1e-5)
    assert comparison.sequences["walk"] == pytest.approx([31, 30.8333333])
    frames = [(frame.sequence, frame.number, frame.spread) for frame in comparison.differing_frames(3)]
    assert frames == [("car", 1, 3.5), ("walk", 2, 1.0), ("car", 0, 2.0)]
    assert comparison.notes == ()
    assert spikejax.compare(*two, metric="ssim").sequences == {"walk": [0.75, 0.75], "car": [0.75, 0.75]}


def test_equal_frames_and_infinite_scores(tmp_path: Path) -> None:
    """Catches an infinite PSNR that ends in a traceback or passes for a number, and frames shown for no difference."""
    one = evaluation(tmp_path / "one", {"s": [math.inf, 30.0, 30.0]})
    other = evaluation(tmp_path / "other", {"s": [30.0, 30.0, 29.0]})
    comparison = spikejax.compare(one, other, page=tmp_path / "page.html")
    assert comparison.totals["psnr"][1:] == [None, pytest.approx(29.66666)]
    assert [frame.number for frame in comparison.differing_frames(3)] == [2]
    assert "infinite" in (tmp_path / "page.html").read_text()
    same = spikejax.compare(other, evaluation(tmp_path / "same", {"s": [30.0, 30.0, 29.0]}))
    assert [frame.spread for frame in same.differing_frames(3)] == [0.0]


def test_what_else_differs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a gain that is one of the tiles, of the noise or of the data, and passes for the network's."""
    one = evaluation(tmp_path / "one", FIRST)
    other = evaluation(tmp_path / "other", SECOND, before=25.0, protocol="tapered", tile=[12, 0, 0])
    compare.main([str(one), str(other), "--page", str(tmp_path / "page.html")])
    error = capsys.readouterr().err
    assert "the inputs differ: PSNR before restoring is not the same in all of them" in error
    assert "protocol differs: one published, other tapered" in error
    assert "tile differs: one 6,16,16, other 12,0,0" in error
    assert "Note: protocol differs" in (tmp_path / "page.html").read_text()
    rounded = evaluation(tmp_path / "rounded", SECOND, before=24.001)
    assert spikejax.compare(one, rounded).notes == ()


def test_the_page(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches the wrong pictures or none, curves of another sequence, an address, a script, names that are markup."""
    third = evaluation(tmp_path / "<i>c", FIRST, pictures=False)
    spikejax.compare(*two, third, page=tmp_path / "page.html", frames=2)
    page = (tmp_path / "page.html").read_text()
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page and "<i>c" not in page
    panels = re.findall(r'alt="([^"]+)" src="data:image/', page)
    assert panels == [
        f"{frame} apart: {label}"
        for frame in ("car, frame 1: 3.50 dB", "walk, frame 2: 1.00 dB")
        for label in ("before", "a", "b", "sharp")
    ]
    assert re.findall(r"<h2>([^<]+): PSNR \(dB\)</h2>", page) == ["car", "walk"]
    spoken = re.findall(r'role="img" aria-label="([^"]+)"', page)
    assert spoken[0] == "car: PSNR: a 25 to 26 dB, b 27 to 29.5 dB, &lt;i&gt;c 25 to 26 dB"
    assert "best_psnr/250 of runs/a on test_GT, tiles of 6,16,16" in page
    spikejax.compare(third, evaluation(tmp_path / "d", SECOND, pictures=False), page=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "evaluate with --save-frames keeps them" in page and "data:image" not in page


def test_labels_are_short_and_different() -> None:
    """Catches two outputs of one name, and paths where a folder's name is enough."""
    assert short_labels([Path("out/a"), Path("out/b")]) == ["a", "b"]
    assert short_labels([Path("x/scores"), Path("y/scores")]) == ["x/scores", "y/scores"]
    with pytest.raises(InputError, match="found one twice: out/a"):
        short_labels([Path("out/a"), Path("out/../out/a")])


def _other_sequences(folder: Path) -> None:
    evaluation(folder, {"walk": [1.0, 2.0, 3.0], "bus": [1.0]})


def _fewer_frames(folder: Path) -> None:
    evaluation(folder, {"walk": [1.0], "car": [1.0, 2.0]})


def _restored_video(folder: Path) -> None:
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"frames": 3, "per_frame": []}))


def _half_a_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "metrics.json").write_text('{"total": ')


def _other_metrics(folder: Path) -> None:
    scores = {name: [{"lpips_blur": 1.0, "lpips_recon": 1.0} for _ in values] for name, values in FIRST.items()}
    write_score_folder(folder, scores, header=HEADER)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (_other_sequences, [], r"of the same sequences, found car in .*a and not in .*b$"),
        (_fewer_frames, [], r"as many frames of walk in all evaluations, found 3 in .*a and 1 in .*b$"),
        (_restored_video, [], r"scores of an evaluation, found others \(of a restored video\?\): .*b.metrics\.json"),
        (_half_a_file, [], r"expected JSON, found .*b.metrics\.json"),
        (_other_metrics, [], "by the same metrics, found none in common: a, b"),
        (Path.mkdir, [], r"what python -m spikejax\.evaluate wrote, found no .*b.metrics\.json"),
        (None, [], "expected two evaluations or more to compare, found 1"),
        (
            lambda folder: evaluation(folder, SECOND),
            ["--metric", "lpips"],
            "--metric, one of psnr, ssim, found 'lpips'",
        ),
        (lambda folder: evaluation(folder, SECOND), ["--page", "page.txt"], r"expected a page \.html, found page\.txt"),
    ],
)
def test_bad_input_is_one_line(
    make: Callable[[Path], Any] | None,
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches a traceback, half a comparison, and a page of what does not belong together."""
    monkeypatch.chdir(tmp_path)
    folders = [str(evaluation(tmp_path / "a", FIRST))]
    if make is not None:
        make(tmp_path / "b")
        folders.append(str(tmp_path / "b"))
    monkeypatch.setattr("sys.argv", ["compare", *folders, *options])
    with pytest.raises(SystemExit) as caught:
        run(compare.main)
    error = capsys.readouterr().err.rstrip("\n")
    assert caught.value.code == 2 and "\n" not in error
    assert re.search(message, error), error
    assert not (tmp_path / "comparison.html").exists()


def test_pictures_that_are_not_all_there(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches a page with another frame's picture where one was deleted."""
    (two[1] / "frames" / "car" / "restored" / "000000.png").unlink()
    with pytest.raises(InputError, match=r"2 pictures, as many as scores, found 1: .*car.restored"):
        spikejax.compare(*two, page=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.needs("chromium")
def test_in_a_browser(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Catches pictures that do not show, curves that look alike, and a page wider than a phone."""
    page = tmp_path / "page.html"
    spikejax.compare(*two, page=page)
    script = """<script>addEventListener("load", () => {
      const charts = [...document.querySelectorAll("svg[role=img]")];
      const colours = charts.map((svg) => new Set([...svg.querySelectorAll("polyline")].map(
        (line) => getComputedStyle(line).stroke)).size);
      const images = [...document.images].every((image) => image.naturalWidth === 24);
      const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
      document.title = [colours, document.images.length, images, wide].join("|");
    })</script>"""
    text = page.read_text(encoding="utf-8").replace("style-src", "script-src 'unsafe-inline'; style-src")
    page.write_text(text.replace("</body>", f"{script}</body>"), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--virtual-time-budget=5000",
               "--dump-dom", page.as_uri()]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.partition("<title>")[2].partition("</title>")[0] == "2,2|16|true|false"
