"""The report, from restored frames to what a browser makes of it."""

import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from skimage import data

from spikejax import report
from spikejax.data.datasets.voxel_statistics import SpikeStatistics
from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.errors import InputError
from spikejax.inference.tiling import Extent
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.pictures import write_picture
from spikejax.models.traits import NetworkTraits
from spikejax.quality import metrics
from spikejax.reports.gather import close_up_side

FRAMES, SIZE = 6, 160
PLACE = close_up_side(SIZE, SIZE)
# Where, in frame 3, the "restored" picture is perfect, and where, in frame 1, it is worse than before.
BEST, WORST = (3, 0, 0), (1, 64, 64)


@pytest.fixture
def restored(tmp_path: Path) -> Path:
    """A folder as restoring leaves it, of frames that are everywhere alike but for one good and one bad place."""
    per_frame = []
    for number in range(FRAMES):
        sharp = data.astronaut()[number : number + SIZE, 100 : 100 + SIZE]
        blur = (sharp // 2 + 60).astype(np.uint8)
        recon = (sharp // 2 + 62).astype(np.uint8)
        for (frame, top, left), good in ((BEST, True), (WORST, False)):
            if frame == number:
                part = (slice(top, top + PLACE), slice(left, left + PLACE))
                recon[part] = sharp[part] if good else 255 - sharp[part]
        for name, picture in (("blur", blur), ("sharp", sharp), ("out", recon)):
            (tmp_path / name).mkdir(exist_ok=True)
            write_picture(tmp_path / name / f"{number:06d}.png", picture)
        per_frame.append(
            {"psnr_blur": metrics.psnr(blur, sharp), "psnr_recon": metrics.psnr(recon, sharp), "ssim_recon": None}
        )
    extent = {"frames": 12, "height": 256, "width": 256}
    figures = {
        "frames": FRAMES, "height": SIZE, "width": SIZE, "restored_height": SIZE, "restored_width": SIZE,
        "tile": extent, "overlap": extent, "devices": 1, "compile_seconds": 1.0, "seconds_per_frame": 0.5,
        "seconds": {"total": 3.0, "decode": 1.0}, "shares": {"decode": 1 / 3}, "peak_host_bytes": 10**9,
        "peak_device_bytes": None, "program_bytes": 10**8, "damage": "2 packets <do> not decode",
        "input": str(tmp_path / "blur"), "sharp": str(tmp_path / "sharp"), "network": "runs/a", "per_frame": per_frame,
        "psnr_blur": 20.0, "psnr_recon": None, "ssim_blur": 0.5, "ssim_recon": 0.75,
    }  # fmt: skip
    (tmp_path / "out" / "metrics.json").write_text(json.dumps(figures))
    return tmp_path / "out"


class Page(HTMLParser):
    """What is on a page: its elements and its text; raises for elements that are not closed in turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps the element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "input"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keeps an element of SVG that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Holds elements to be closed in turn."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keeps the text."""
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such element."""
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page(restored: Path) -> None:
    """Catches a page that needs a network, pictures without a text, sliders without a name, and missing parts."""
    report.main([str(restored)])
    text = (restored / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for attributes in page.all("img"):
        assert (attributes["src"] or "").startswith("data:image/")
        assert attributes["alt"]
    assert "http" not in text.replace("http-equiv", "")
    sliders = page.all("input")
    assert len(sliders) == 4
    assert all(slider["type"] == "range" and slider["aria-label"] for slider in sliders)
    assert len(page.all("svg")) == 1
    assert len(page.all("polyline")) == 2
    assert "2 packets <do> not decode" in page.text  # escaped
    assert f"Frame {BEST[0]}, row {BEST[1]}, column {BEST[2]}" in page.text
    assert f"Frame {WORST[0]}, row {WORST[1]}, column {WORST[2]}" in page.text
    assert f"Every frame ({FRAMES})" in page.text
    assert "width=device-width" in text


def test_without_sharp_frames(restored: Path) -> None:
    """Catches a report that needs figures which nobody can have of a video from the world."""
    figures = json.loads((restored / "metrics.json").read_text())
    figures |= {"sharp": None, "per_frame": [{} for _ in range(FRAMES)]}
    for name in ("psnr_blur", "psnr_recon", "ssim_blur", "ssim_recon"):
        del figures[name]
    (restored / "metrics.json").write_text(json.dumps(figures))
    report.main([str(restored), "--frames", "2", "--page", str(restored / "a.html")])
    page = Page((restored / "a.html").read_text(encoding="utf-8"))
    assert len(page.all("input")) == 2
    assert page.all("svg") == []
    assert "changed most" in page.text


class BySpikes(nnx.Module):
    """Adds to the frame where its spikes are."""

    def __call__(self, clip: jax.Array, voxels: jax.Array, *, key: None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        return clip + 0.1 * voxels[..., :1]


def with_spikes(restored: Path) -> None:
    """Says in metrics.json that there were spikes, those of frame N in row 10 N, and writes them."""
    for number in range(FRAMES):
        spikes = np.zeros((4, SIZE, SIZE), np.uint8)
        spikes[:, 10 * number] = 1
        write_dat(restored.parent / "spike" / f"{number:06d}.dat", spikes)
    write_config(restored.parent / "spike", StreamConfig(SIZE, SIZE))
    figures = json.loads((restored / "metrics.json").read_text())
    figures |= {"spikes": str(restored.parent / "spike"), "tile": {"frames": 3, "height": 0, "width": 0}}
    figures["overlap"] = {"frames": 1, "height": 0, "width": 0}
    (restored / "metrics.json").write_text(json.dumps(figures))


def test_what_the_spikes_did(restored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a page without the answers to other spikes, of other frames, or one that asks for more than are shown."""
    with_spikes(restored)
    statistics = SpikeStatistics(4, mean=0.0, std=1.0, windows=1)
    traits, tile, overlap = NetworkTraits(spike_bins=4), Extent(3, 0, 0), Extent(1, 0, 0)
    restorer = VideoRestorer(BySpikes(), traits, statistics=statistics, tile=tile, overlap=overlap)
    asked: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr("spikejax.loading.load", lambda path, **how: asked.append((path, how)) or restorer)
    report.main([str(restored), "--other-spikes", "3", "--frames", "2", "--trust-code"])
    page = Page((restored / "report.html").read_text(encoding="utf-8"))
    assert asked == [("runs/a", {"dtype": None, "trust_code": True})]
    assert "What the spikes did" in page.text and "With no spikes PSNR is" in page.text
    shown = [image["alt"] or "" for image in page.all("img") if "spikes" in (image["alt"] or "")]
    for frame in (BEST[0], WORST[0]):  # frames within the clip, which have both neighbours
        assert len([alt for alt in shown if alt.startswith(f"Frame {frame}, ")]) == 4 + 3
    assert len(shown) == 14
    report.main([str(restored), "--other-spikes", "0"])
    assert "What the spikes did" not in (restored / "report.html").read_text(encoding="utf-8") and len(asked) == 1


def test_a_network_that_has_been_moved(restored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a report that fails, or says nothing, where the network is gone; and a wrong --network that is passed."""
    with_spikes(restored)
    report.main([str(restored)])
    page = Page((restored / "report.html").read_text(encoding="utf-8"))
    reason = "not shown, as it needs the network and the spikes (--network, --spikes): expected a folder of training"
    assert reason in page.text and reason in capsys.readouterr().err
    with pytest.raises(InputError, match="found no runs/b"):
        report.main([str(restored), "--network", "runs/b"])


def test_nothing_to_report_on(tmp_path: Path) -> None:
    """Catches a traceback for a folder that restoring did not make."""
    with pytest.raises(InputError, match="restore wrote, found no"):
        report.main([str(tmp_path)])
    (tmp_path / "metrics.json").write_text('{"frames": 3}')
    with pytest.raises(InputError, match="found no input, network, per_frame"):
        report.main([str(tmp_path)])


@pytest.mark.needs("chromium")
def test_in_a_browser(restored: Path, tmp_path: Path) -> None:
    """Catches a slider that does not slide, a script that fails, and a page wider than a phone."""
    report.main([str(restored)])
    page = restored / "report.html"
    text = page.read_text(encoding="utf-8")
    probe = """<script>
      const inputs = [...document.querySelectorAll(".compare input")];
      inputs[0].value = 80;
      inputs[0].dispatchEvent(new Event("input"));
      inputs[1].focus();
      const cut = inputs[0].parentElement.style.getPropertyValue("--cut");
      const images = [...document.images].every((image) => image.naturalWidth > 0);
      const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
      document.title = [cut, inputs[0].getAttribute("aria-valuetext"), document.activeElement === inputs[1], images,
        wide].join("|");
    </script>"""
    # Pictures in the page are decoded when the parser reaches the end; `load` says that they are.
    script = probe.replace("<script>", "<script>addEventListener('load', () => {").replace("</script>", "})</script>")
    page.write_text(text.replace("</body>", script + "</body>"), encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--virtual-time-budget=5000",
               "--dump-dom", page.as_uri()]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    title = ended.stdout.partition("<title>")[2].partition("</title>")[0]
    assert title == "80%|before 80 percent|true|true|false"


@pytest.mark.parametrize("value", [None, "text", -1, [], {"a": "b"}, 1e300, "missing"])
def test_metrics_that_are_damaged(restored: Path, tmp_path: Path, value: object) -> None:
    """Catches the traceback of a metrics.json of which any one value is missing or of another kind."""
    path = restored / "metrics.json"
    whole = json.loads(path.read_text())
    refused = 0
    for key in whole:
        damaged = {name: content for name, content in whole.items() if name != key}
        path.write_text(json.dumps(damaged if value == "missing" else damaged | {key: value}))
        try:
            report.main([str(restored), "--page", str(tmp_path / "page.html")])
        except InputError as error:
            refused += 1
            assert "expected" in str(error), key
    assert refused
