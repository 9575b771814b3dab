"""Draws the figures of docs/: the network (docs/network.svg) and the journey of a clip (docs/journey.svg).

    python scripts/draw_figures.py [--output DIR]

Both are plain SVG, written by hand-placed boxes and lines: no library, nothing random, the same bytes every time. They
lie on a panel of their own, light or dark as the reader's system prefers, so that text is readable on any page.
tests/test_docs.py compares the files in docs/ with what this script draws. All numbers are pixels; y grows downwards.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs"

# What a class of shapes looks like: fill and line in the light, then in the dark.
COLOURS = {
    "panel": ("#ffffff", "#d0d7de", "#0d1117", "#30363d"),
    "vrt": ("#dbeafe", "#2563eb", "#12294d", "#5b9bf8"),
    "spike": ("#ffedd5", "#c2570c", "#43240b", "#f2994a"),
    "fuse": ("#dcfce7", "#15803d", "#0c3420", "#4cc07a"),
    "file": ("#f6f8fa", "#6e7781", "#21262d", "#8b949e"),
}
INK = {"text": ("#1f2328", "#e6edf3"), "quiet": ("#59636e", "#9aa4af")}

Point = tuple[float, float]


def _style() -> str:
    """The style sheet: one rule for each class, and the dark ones for readers whose system asks for dark."""
    light, dark = [], []
    for name, (fill, line, dark_fill, dark_line) in COLOURS.items():
        light.append(f".{name} {{ fill: {fill}; stroke: {line} }} .{name}-line {{ stroke: {line} }}")
        light.append(f".{name}-head {{ fill: {line} }}")
        dark.append(f".{name} {{ fill: {dark_fill}; stroke: {dark_line} }} .{name}-line {{ stroke: {dark_line} }}")
        dark.append(f".{name}-head {{ fill: {dark_line} }}")
    for name, (ink, dark_ink) in INK.items():
        light.append(f".{name} {{ fill: {ink} }}")
        dark.append(f".{name} {{ fill: {dark_ink} }}")
    shared = [
        "text { font-family: Helvetica, Arial, sans-serif; font-size: 13px }",
        ".small { font-size: 11.5px } .title { font-size: 16px; font-weight: bold } .bold { font-weight: bold }",
        ".code { font-family: Menlo, Consolas, monospace; font-size: 11.5px }",
        "path { fill: none; stroke-width: 1.6 } .dashed { stroke-dasharray: 4 3; fill: none }",
    ]
    return "\n".join([*shared, *light, "@media (prefers-color-scheme: dark) {", *dark, "}"])


@dataclass
class Drawing:
    """A figure that grows shape by shape.

    Attributes:
        width: of the figure.
        height: of the figure.
        description: what it shows, for readers who cannot see it.
        shapes: what was drawn, as lines of SVG.
    """

    width: int
    height: int
    description: str
    shapes: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, *, kind: str = "text", anchor: str = "middle") -> None:
        """Writes a line of text whose baseline is at `y`."""
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def box(self, centre: Point, size: Point, kind: str, lines: Sequence[str], *, code: str = "") -> None:
        """Draws a box with its lines of text, the first one bold, and what it is called in the code below them."""
        (x, y), (width, height) = centre, size
        left, top = x - width / 2, y - height / 2
        self.shapes.append(
            f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6" class="{kind}"/>'
        )
        rows = [(line, "text bold" if number == 0 else "quiet small") for number, line in enumerate(lines)]
        rows += [(code, "quiet code")] if code else []
        first = y + 4.5 - 8 * (len(rows) - 1)
        for number, (line, style) in enumerate(rows):
            self.text(x, first + 16 * number, line, kind=style)

    def circle(self, centre: Point, kind: str, letter: str, *, dashed: bool = False) -> None:
        """Draws a small circle with a letter: an operation on two inputs."""
        x, y = centre
        classes = f"{kind} dashed" if dashed else kind
        self.shapes.append(f'<circle cx="{x:g}" cy="{y:g}" r="11" class="{classes}"/>')
        self.text(x, y + 4.5, letter, kind="text bold")

    def line(self, points: Sequence[Point], kind: str = "file", *, head: bool = True, dashed: bool = False) -> None:
        """Draws a line through points, with the head of an arrow at its end."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        classes = f"{kind}-line dashed" if dashed else f"{kind}-line"
        self.shapes.append(f'<path d="{path}" class="{classes}"/>')
        if not head:
            return
        (x0, y0), (x, y) = points[-2:]
        length = max(abs(x - x0), abs(y - y0))  # lines are horizontal or vertical
        dx, dy = (x - x0) / length, (y - y0) / length
        corners = ((x, y), (x - 8 * dx - 4 * dy, y - 8 * dy + 4 * dx), (x - 8 * dx + 4 * dy, y - 8 * dy - 4 * dx))
        self.shapes.append(
            f'<polygon points="{" ".join(f"{a:g},{b:g}" for a, b in corners)}" class="{kind}-head" stroke="none"/>'
        )

    def dot(self, centre: Point, kind: str = "file") -> None:
        """Draws a dot where a line forks."""
        x, y = centre
        self.shapes.append(f'<circle cx="{x:g}" cy="{y:g}" r="3.2" class="{kind}-head"/>')

    def svg(self) -> str:
        """The whole file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img">',
                f"<title>{escape(self.description)}</title>",
                f"<style>\n{_style()}\n</style>",
                f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="10" class="panel"/>',
                *self.shapes,
                "</svg>\n",
            ]
        )


ROWS = (200, 324, 448, 572)  # one for each scale of the U
STAGE = (110, 44)


def network() -> Drawing:
    """VRT's U of stages, the spike branch beside it, and the places where the fusion acts."""
    drawing = Drawing(1080, 860, "VRT with stages 1 to 8, the spike branch, and the fusion after stages 1 to 4")
    drawing.text(24, 34, "The network", kind="text title", anchor="start")
    _way_in(drawing)
    fused = _way_down(drawing)
    _way_up(drawing, fused)
    _spike_branch(drawing, fused)
    _inside(drawing)
    return drawing


def _way_in(drawing: Drawing) -> None:
    """The clip, its flows and the first convolution, above stage 1; the picture that is added at the end."""
    drawing.box((385, 88), (130, 44), "file", ["blurry clip", "b t h w 3"])
    drawing.box((555, 88), (130, 44), "vrt", ["optical flow", "SpyNet, 4 scales"])
    drawing.box((735, 88), (150, 44), "vrt", ["neighbours", "warped to each frame"])
    drawing.line([(450, 88), (490, 88)], "vrt")
    drawing.line([(620, 88), (660, 88)], "vrt")
    drawing.text(830, 79, "flows also go to the", kind="quiet small", anchor="start")
    drawing.text(830, 94, "warping in stages 1-7", kind="quiet small", anchor="start")
    # Down from the neighbours, and left to stage 1.
    drawing.box((385, 146), (110, 28), "vrt", ["conv 3x3"])
    drawing.line([(735, 110), (735, 146), (440, 146)], "vrt")
    drawing.line([(385, 160), (385, ROWS[0] - 22)], "vrt")


def _way_down(drawing: Drawing) -> list[Point]:
    """Stages 1 to 4, each with its fusion; where the fused features leave each row."""
    fused: list[Point] = []
    for row, y in enumerate(ROWS):
        x = 385 + 66 * row
        drawing.box((x, y), STAGE, "vrt", [f"stage {row + 1}"])
        drawing.line([(x + 55, y), (x + 79, y)], "vrt")
        drawing.circle((x + 90, y), "fuse", "F")
        fused.append((x + 90, y))
        if row < 3:
            fork = (x + 113, y)
            drawing.line([(x + 101, y), fork], "vrt", head=False)
            drawing.dot(fork, "vrt")
            drawing.line([fork, (x + 113, ROWS[row + 1] - 22)], "vrt")
    return fused


def _way_up(drawing: Drawing, fused: Sequence[Point]) -> None:
    """Stages 5 to 7, each added to the fused features of its scale, then stage 8 and the picture that is added."""
    start: Point = (fused[3][0] + 11, fused[3][1])
    for stage, row in ((5, 2), (6, 1), (7, 0)):
        x, y = 746 + 66 * (stage - 5), ROWS[row]
        drawing.line([start, (x, start[1]), (x, y + 92)], "vrt")
        drawing.box((x, y + 74), (STAGE[0], 36), "vrt", [f"stage {stage}"])
        drawing.line([(x, y + 56), (x, y + 11)], "vrt")
        drawing.circle((x, y + 37), "fuse", "F", dashed=True)
        drawing.circle((x, y), "vrt", "+")
        drawing.line([(fused[row][0] + 23, y), (x - 11, y)], "vrt")
        start = (x + 11, y)
    drawing.text(640, ROWS[0] - 8, "skip connections carry fused features", kind="quiet small")
    # Stage 8 and the head, in a column on the right.
    x = 1006
    drawing.line([start, (x - 55, ROWS[0])], "vrt")
    drawing.box((x, ROWS[0]), STAGE, "vrt", ["stage 8", "full size"])
    drawing.line([(x, ROWS[0] + 22), (x, 288)], "vrt")
    drawing.box((x, 310), STAGE, "vrt", ["+ features", "of conv 3x3"])
    drawing.line([(x, 332), (x, 366)], "vrt")
    drawing.box((x, 388), STAGE, "vrt", ["head", "conv 3x3"])
    drawing.line([(x, 410), (x, 444)], "vrt")
    drawing.box((x, 466), STAGE, "vrt", ["+ the clip"])
    drawing.line([(x, 488), (x, 522)])
    drawing.box((x, 546), (116, 48), "file", ["restored clip", "b t h w 3"])


def _spike_branch(drawing: Drawing, fused: Sequence[Point]) -> None:
    """The voxels, the encoder's four scales, attention over time, and the ways to the fusions."""
    drawing.box((110, 104), (130, 44), "file", ["voxels", "b t h w bins"])
    drawing.line([(110, 126), (110, ROWS[0] - 22)], "spike")
    for row, y in enumerate(ROWS):
        scale = ("1", "1/2", "1/4", "1/8")[row]
        drawing.text(18, y + 4.5, scale, kind="quiet bold", anchor="start")
        drawing.box((110, y), (116, 44), "spike", ["3x3x3 conv", "2 residual blocks"])
        drawing.line([(168, y), (190, y)], "spike")
        drawing.box((238, y), (96, 44), "spike", ["attention", "over time"])
        if row < 3:
            drawing.line([(110, y + 22), (110, ROWS[row + 1] - 22)], "spike")
            drawing.text(118, y + 66, "stride 2", kind="quiet small", anchor="start")
        # Under the stage's box, and up into its fusion.
        x, _ = fused[row]
        drawing.line([(286, y + 10), (302, y + 10), (302, y + 36), (x, y + 36), (x, y + 11)], "spike")
    drawing.text(18, ROWS[0] - 34, "scale", kind="quiet small", anchor="start")
    drawing.text(166, ROWS[3] + 44, "spike branch", kind="quiet bold")
    drawing.text(570, ROWS[3] + 62, "VRT: a U of windowed attention", kind="quiet bold")


def _inside(drawing: Drawing) -> None:
    """What is in a stage, and what a fusion does."""
    y = 700
    drawing.text(24, y - 24, "A stage (1-7)", kind="text bold", anchor="start")
    steps = [
        (["resample, norm", "none, 2x down, 2x up"], 170),
        (["3/4 of the blocks", "mutual and self-attention, windows of 2 frames"], 290),
        (["the other blocks", "self-attention, whole windows"], 210),
        (["parallel warping", "neighbours, by flow and learned offsets"], 250),
    ]
    left = 24.0
    for number, (lines, width) in enumerate(steps):
        if number:
            drawing.line([(left - 28, y + 10), (left, y + 10)], "vrt")
        drawing.box((left + width / 2, y + 10), (width, 44), "vrt", lines)
        left += width + 28
    y = 775
    drawing.circle((36, y), "fuse", "F")
    drawing.text(
        56,
        y + 4.5,
        "Fusion, at every pixel over time: queries from VRT's features, keys and values from",
        anchor="start",
    )
    drawing.text(56, y + 22.5, "the spikes'; the answer is added to VRT's features.", anchor="start")
    drawing.circle((36, y + 48), "fuse", "F", dashed=True)
    drawing.text(
        56,
        y + 52.5,
        "Only in spike:stages_1_to_7. (spike:concat fuses inside stages 1-4, before the blocks.)",
        anchor="start",
    )
    drawing.circle((760, y), "vrt", "+")
    drawing.text(780, y + 4.5, "Sum.", anchor="start")
    drawing.text(760 - 11, y + 52.5, "Without spikes: exactly VRT.", anchor="start")


def journey() -> Drawing:
    """A clip's way through the packages: into a data set, through training, and from a video to a restored one."""
    drawing = Drawing(1080, 806, "How clips go through the packages: making a data set, training, restoring")
    drawing.text(24, 34, "The journey of a clip", kind="text title", anchor="start")
    _data_lane(drawing, 110)
    _training_lane(drawing, 350)
    _restoring_lane(drawing, 600)
    return drawing


def _lane(drawing: Drawing, y: float, name: str, command: str) -> None:
    """Writes what a lane is about, and the commands that do it."""
    drawing.shapes.append(
        f'<text x="24" y="{y:g}"><tspan class="text bold">{escape(name)}</tspan>'
        f'<tspan dx="12" class="quiet code">{escape(command)}</tspan></text>'
    )


def _data_lane(drawing: Drawing, y: float) -> None:
    """Videos and published data sets become a folder of frames and spikes."""
    _lane(drawing, y - 36, "Making a data set", "spikejax.simulate, spikejax.prepare")
    drawing.box((114, y + 12), (180, 56), "file", ["a video", "or embedded photographs"])
    drawing.box((114, y + 92), (180, 56), "file", ["published data", "GoPro, X4K1000FPS, folders"])
    drawing.line([(204, y + 12), (250, y + 12)])
    drawing.line([(204, y + 92), (250, y + 92)])
    drawing.box(
        (360, y + 12), (220, 62), "spike", ["spike camera, blur", "light, thresholds, noise"], code="data/simulation"
    )
    drawing.box(
        (360, y + 92),
        (220, 62),
        "spike",
        ["windows, checks, counts", "what does not fit is logged"],
        code="data/preparation",
    )
    drawing.line([(470, y + 12), (560, y + 12), (560, y + 38), (610, y + 38)])
    drawing.line([(470, y + 92), (560, y + 92), (560, y + 66), (610, y + 66)])
    drawing.box(
        (720, y + 52),
        (220, 92),
        "file",
        ["data set ROOT", "blur/ sharp/ spike/*.dat", "spike_vox.zarr, statistics.json"],
        code="data/datasets/layout",
    )
    drawing.box((960, y + 52), (150, 62), "file", ["pictures of it"], code="spikejax.view")
    drawing.line([(830, y + 52), (885, y + 52)])


def _training_lane(drawing: Drawing, y: float) -> None:
    """Clips of the data set become batches, and batches a workdir with checkpoints."""
    _lane(drawing, y - 36, "Training", "spikejax.train")
    drawing.line([(720, 208), (720, 272), (205, 272), (205, y + 9)])
    drawing.box(
        (124, y + 45),
        (200, 72),
        "spike",
        ["clips", "frames; spikes counted in bins"],
        code="data/datasets, data/spikes",
    )
    drawing.line([(224, y + 45), (260, y + 45)])
    drawing.box((360, y + 45), (200, 72), "spike", ["batches", "crops, flips, a host's share"], code="data/batches")
    drawing.line([(460, y + 45), (500, y + 45)])
    drawing.box(
        (620, y + 45),
        (240, 72),
        "vrt",
        ["step, checkpoints, validation", "on a mesh of devices"],
        code="training, distributed",
    )
    drawing.line([(740, y + 45), (800, y + 45)])
    drawing.box(
        (925, y + 45),
        (250, 72),
        "file",
        ["WORKDIR", "checkpoints/, config.json, curves"],
        code="spikejax.evaluate, tensorboard",
    )
    drawing.box((470, y + 140), (170, 52), "fuse", ["the network"], code="models")
    drawing.box((660, y + 140), (170, 52), "fuse", ["losses, metrics"], code="quality")
    drawing.line([(540, y + 114), (540, y + 81)], "fuse")
    drawing.line([(660, y + 114), (660, y + 81)], "fuse")
    drawing.box((124, y + 140), (200, 52), "file", ["a configuration"], code="configs/, config")
    drawing.line([(224, y + 140), (385, y + 140)])


def _restoring_lane(drawing: Drawing, y: float) -> None:
    """A video and its spikes go through the trained network, tile by tile, and become a restored video."""
    _lane(drawing, y - 36, "Restoring", "spikejax.restore, spikejax.load, spikejax.report")
    drawing.box((114, y + 20), (180, 56), "file", ["blurry video", "or a folder of frames"])
    drawing.box((114, y + 96), (180, 56), "file", ["its spikes", ".dat, counts or zarr"])
    drawing.line([(204, y + 20), (250, y + 20)])
    drawing.line([(204, y + 96), (250, y + 96)])
    drawing.box((345, y + 20), (190, 56), "spike", ["frame by frame"], code="io/frame_source")
    drawing.box((345, y + 96), (190, 56), "spike", ["counted in bins"], code="data/spikes")
    drawing.line([(440, y + 20), (480, y + 20), (480, y + 44), (520, y + 44)])
    drawing.line([(440, y + 96), (480, y + 96), (480, y + 72), (520, y + 72)])
    drawing.box(
        (620, y + 58),
        (200, 84),
        "vrt",
        ["tiles, network, blending", "reading and writing go on", "at the same time"],
        code="inference",
    )
    drawing.line([(720, y + 58), (760, y + 58)])
    drawing.box((840, y + 58), (160, 62), "spike", ["frames, video"], code="io/video_writer")
    drawing.line([(920, y + 58), (950, y + 58)])
    drawing.box((1005, y + 58), (110, 62), "file", ["restored", "metrics.json"])
    drawing.line([(1005, y + 89), (1005, y + 114)])
    drawing.box((1005, y + 140), (110, 52), "file", ["one page"], code="reports")
    # The network that restores: of a run, or converted.
    drawing.line([(925, 431), (925, 530), (620, 530), (620, y + 16)])
    drawing.text(900, 522, "spikejax.loading", kind="quiet code", anchor="end")
    drawing.box((345, y + 164), (190, 44), "file", ["PyTorch weights"])
    drawing.line([(440, y + 164), (515, y + 164)])
    drawing.box((620, y + 164), (210, 44), "file", ["converted weights"], code="convert, io/weights")
    drawing.line([(620, y + 142), (620, y + 100)])


FIGURES = {"network.svg": network, "journey.svg": journey}


def main() -> None:
    """Writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help="where to (default: docs/)")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        (folder / name).write_text(draw().svg(), encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
