"""Videos of every kind of colour, through reading and writing with nothing between: what comes of their planes.

`python -m tests.io.colour_table` prints the table that docs/restoring.md shows.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from spikejax.io.colours import VideoColours
from spikejax.io.frame_source import open_frames
from spikejax.io.pixel_formats import frame_of, pixel_format, planes_of
from spikejax.io.transparency import with_alpha
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_writer import VideoWriter

HEIGHT, WIDTH = 48, 80
# Encoders by which videos are made without loss, with the options for that.
LOSSLESS = {"ffv1": {}, "rawvideo": {}, "libx264": {"qp": "0"}, "libx265": {"x265-params": "lossless=1:log-level=none"}}


@dataclass(frozen=True)
class Difference:
    """How far planes that were read, written and read again are from what they were, in levels of their own depth."""

    largest: tuple[int, ...]
    mean: tuple[float, ...]
    kept: bool  # whether matrix, primaries, transfer, range and position are said as before


def formats_of(encoder: str) -> list[str]:
    """The pixel formats that an encoder of this FFmpeg takes and that hold pictures in memory."""
    names = [known.name for known in av.Codec(encoder, "w").video_formats or ()]
    if encoder == "rawvideo":  # it takes any, and Matroska says which by a code that some do not have
        names = ["nv12", "nv21", "yuyv422", "uyvy422", "yvyu422", "yuv411p", "yuv410p", "yuv440p", "rgb24", "bgr24"]
        names += ["rgba", "abgr", "argb", "rgb48be", "gbrp", "gray", "gray16be", "ya8", "yuv444p16be"]
    # FFV1 writes floats and patterns of sensors only where it is asked for experiments, and x265 no transparency.
    left_out = ("f16", "f32", "yuva") if encoder == "libx265" else ("f16", "f32")
    return [name for name in names if not name.startswith("bayer") and not any(part in name for part in left_out)]


def source_name(encoder: str) -> str:
    """A file for what an encoder makes; Matroska holds few kinds of uncompressed pictures."""
    return "source.nut" if encoder == "rawvideo" else "source.mkv"


def smooth_planes(colours: VideoColours, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """Planes inside the RGB cube: brightness with detail, colours that are smooth over four pixels."""
    held = colours.format
    rng = np.random.default_rng(0)
    deepest, unit = (1 << held.plane_bits) - 1, 1 << held.plane_bits - 8
    detail = rng.uniform(0.35, 0.65, (height, width))
    if held.model != "yuv":
        count = 3 if held.model == "rgb" else 1
        planes = [rng.uniform(0.1, 0.9, (height, width)) * deepest for _ in range(count)]
    else:
        luma = detail * deepest if colours.full else detail * 219 * unit + 16 * unit
        rows, columns = -(-height // held.shared[1]), -(-width // held.shared[0])
        y, x = np.mgrid[0:rows, 0:columns]
        waves = 24 * np.sin(x / 5 + y / 7), 24 * np.cos(x / 6 - y / 5)
        planes = [luma, *(wave * unit + 128 * unit for wave in waves)]
    if held.alpha:
        planes.append(np.linspace(0.2, 1, width)[np.newaxis].repeat(height, 0) * deepest)
    return [np.rint(plane).astype(np.uint8 if held.plane_bits == 8 else np.uint16) for plane in planes]


def write_source(
    path: Path, encoder: str, colours: VideoColours, planes: list[np.ndarray], *, tagged: bool = True
) -> None:
    """A video of two frames of these planes, without loss."""
    with av.open(str(path), "w") as container:
        options = dict(LOSSLESS[encoder])
        if tagged and colours.format.shared != (1, 1):
            options["chroma_sample_location"] = colours.chroma
        stream = container.add_stream(encoder, rate=Fraction(25), options=options)
        height, width = planes[0].shape
        stream.height, stream.width, stream.pix_fmt = height, width, colours.format.name
        context = stream.codec_context
        if tagged:
            context.colorspace, context.color_range = colours.matrix, 2 if colours.full else 1
            context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        for number in range(2):
            frame = frame_of(planes, colours.format.name)
            if tagged:
                frame.colorspace, frame.color_range = colours.matrix, 2 if colours.full else 1
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def through(source: Path, target: Path, settings: VideoSettings) -> None:
    """Writes a video as restoring does with a network that changes nothing."""
    frames = open_frames(source, own_depth=True)
    writer = VideoWriter(
        target, settings=settings, rate=frames.rate, time_base=frames.time_base, colours=frames.colours
    )
    for frame, time, alpha in frames.decode():
        writer.write(with_alpha(frame, alpha), time)
    writer.close()


def first_frame(path: Path) -> av.VideoFrame:
    """The first frame of a video as FFmpeg decodes it."""
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def difference(source: Path, target: Path) -> Difference:
    """How the first frame's planes have changed; in the format of the source."""
    before, after = first_frame(source), first_frame(target)
    given, written = open_frames(source, own_depth=True).colours, open_frames(target, own_depth=True).colours
    held, became = pixel_format(before.format.name), pixel_format(after.format.name)
    old, new = planes_of(before), planes_of(after)
    if held.model == "grey" and became.model == "yuv":
        new = [new[0], *new[3:]]
    scale = 2.0 ** (held.plane_bits - became.plane_bits)
    deltas = [np.abs(b * scale - a.astype(float)) for a, b in zip(old, new, strict=True)]
    said = ("primaries", "transfer", "full", *(("matrix", "chroma") if became.model == held.model else ()))
    same = [getattr(given, name) == getattr(written, name) for name in said]
    return Difference(tuple(int(np.ceil(d.max())) for d in deltas), tuple(float(d.mean()) for d in deltas), all(same))


def cases() -> Iterator[tuple[str, str, VideoColours]]:
    """Yields encoder, codec of the output and colours of all that the table is made of."""
    for encoder in LOSSLESS:
        for name in formats_of(encoder):
            held = pixel_format(name)
            matrix = 0 if held.model == "rgb" else 1
            full = held.full or held.model in ("rgb", "grey")
            yield encoder, "ffv1", VideoColours(held, matrix, full=full)


def tagged_cases() -> Iterator[VideoColours]:
    """Yields the combinations of what a video says of its colours, at 8 and 10 bits."""
    for name, matrix, full, chroma in itertools.product(
        ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le"), (1, 4, 5, 6, 7, 8, 9, 10), (False, True),
        ("left", "center", "topleft", "top", "bottomleft", "bottom"),
    ):  # fmt: skip
        position = "left" if name == "yuv444p" else chroma
        primaries = 9 if matrix == 9 else 1
        yield VideoColours(pixel_format(name), matrix, primaries, transfer=1, full=full, chroma=position)


def main() -> None:
    """Prints the table as Markdown."""
    print("| made by | pixel format | written as | largest | mean |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for encoder, codec, colours in cases():
            source, target = Path(folder) / source_name(encoder), Path(folder) / "b.mkv"
            write_source(source, encoder, colours, smooth_planes(colours))
            through(source, target, VideoSettings(codec))
            result = difference(source, target)
            means = ", ".join(f"{value:.3f}" for value in result.mean)
            written = first_frame(target).format.name
            largest = ", ".join(map(str, result.largest))
            print(f"| {encoder} | {colours.format.name} | {written} | {largest} | {means} |")


if __name__ == "__main__":
    main()
