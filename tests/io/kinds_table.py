"""The table of docs/pictures.md: kinds of input, and what restoring with a network that changes nothing makes of each.

python -m tests.io.kinds_table
"""

import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import cv2
import jax
import numpy as np
from PIL import Image

from spikejax import restore
from spikejax.cli import _exit_code
from spikejax.io.still_pictures import write_in_format
from tests.inference.small_input import TILES, Brighten, restorer_of

HEIGHT, WIDTH, COUNT = 48, 64, 6
QUIET = {"x265-params": "log-level=error"}
PQ = {"x265-params": "log-level=error:transfer=16:colorprim=9:colormatrix=9"}


class Same(Brighten):
    """Gives back its input."""

    def __call__(self, clip: jax.Array, voxels: jax.Array | None, *, key: jax.Array | None = None) -> jax.Array:
        """Has the signature of `Restorer`."""
        return clip * (self.factor[...] / 2)


def rgb(number: int) -> np.ndarray:
    """A picture of smooth colours, which moves."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.dstack([columns * 2 + number * 3, rows * 3, (rows + columns) + 40]).astype(np.uint8)


def rgba(number: int) -> np.ndarray:
    """The same with a ramp of transparency."""
    return np.dstack([rgb(number), np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1))])


def folder(suffix: str, save: Callable[[Path, int], Any], size: int = COUNT) -> Callable[[Path], Path]:
    """What makes a folder of pictures."""

    def make(root: Path) -> Path:
        for number in range(size):
            save(root / f"{number}{suffix}", number)
        return root

    return make


def pillow(mode: str, **options: Any) -> Callable[[Path, int], Any]:
    """What saves a picture of one of Pillow's modes."""
    return lambda path, number: Image.fromarray(rgb(number)).convert(mode).save(path, **options)


def deep(path: Path, number: int) -> None:
    """Saves 16 bits."""
    cv2.imwrite(str(path), rgb(number)[..., ::-1].astype(np.uint16) * 257)


def floats(path: Path, number: int) -> None:
    """Saves linear floats."""
    write_in_format(path, (rgb(number) / 100).astype(np.float32))


def video(
    name: str, codec: str, pixel_format: str, *, rate: int = 25, changes: bool = False, **options: str
) -> Callable[[Path], Path]:
    """What makes a video."""

    def make(root: Path) -> Path:
        path = root / name
        with av.open(str(path), "w", options={"strict": "-1"}) as container:
            stream: Any = container.add_stream(codec, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
            for number in range(COUNT):
                frame = av.VideoFrame.from_ndarray(rgb(number), "rgb24").reformat(format=pixel_format)
                frame.pts, frame.time_base = number + (3 if changes and number > 2 else 0), Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


def animation(name: str, **options: Any) -> Callable[[Path], Path]:
    """What makes an animated picture."""

    def make(root: Path) -> Path:
        first, *others = (Image.fromarray(rgba(number)) for number in range(COUNT))
        first.save(root / name, save_all=True, append_images=others, duration=[40, 80, 40, 120, 40, 40], **options)
        return root / name

    return make


def lab(path: Path, number: int) -> None:
    """Saves L*a*b*."""
    from PIL import ImageCms

    ends = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(Image.fromarray(rgb(number)), *ends, outputMode="LAB")
    assert converted is not None
    converted.save(path)


def turned(path: Path, number: int) -> None:
    """Saves a photograph that lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rgb(number)).save(path, exif=exif)


def varied(path: Path, number: int) -> None:
    """Saves pictures of which one is smaller."""
    Image.fromarray(rgb(number)[: HEIGHT - 8 * (number == 4)]).save(path)


def with_alpha(path: Path, number: int) -> None:
    """Saves transparency."""
    Image.fromarray(rgba(number)).save(path)


KINDS: dict[str, tuple[Callable[[Path], Path], str, tuple[str, ...]]] = {
    "PNG, 8 bits": (folder(".png", pillow("RGB")), "", ()),
    "PNG, 1 bit": (folder(".png", pillow("1")), "", ()),
    "PNG, palette": (folder(".png", pillow("P")), "", ()),
    "PNG, grey": (folder(".png", pillow("L")), "", ()),
    "PNG, 16 bits": (folder(".png", deep), "", ()),
    "PNG, transparent": (folder(".png", with_alpha), "", ()),
    "JPEG": (folder(".jpg", pillow("RGB")), "", ()),
    "JPEG, CMYK": (folder(".jpg", pillow("CMYK")), "", ()),
    "JPEG, turned by Exif": (folder(".jpg", turned), "", ()),
    "TIFF, 8 bits": (folder(".tif", pillow("RGB")), "", ()),
    "TIFF, L\\*a\\*b\\*": (folder(".tif", lab), "", ()),
    "TIFF, 16 bits": (folder(".tif", deep), "", ()),
    "TIFF, floats": (folder(".tiff", floats), "", ()),
    "EXR": (folder(".exr", floats), "", ()),
    "EXR into a video": (folder(".exr", floats), ".mkv", ()),
    "WebP": (folder(".webp", pillow("RGB")), "", ()),
    "AVIF": (folder(".avif", pillow("RGB")), "", ()),
    "BMP": (folder(".bmp", pillow("RGB")), "", ()),
    "HEIC": (folder(".heic", lambda path, number: path.write_bytes(b"\0\0\0\x18ftypheic")), "", ()),
    "PNG into TIFF": (folder(".png", deep), "", ("--format", "tiff")),
    "PNG into JPEG": (folder(".png", with_alpha), "", ("--format", "jpeg")),
    "PNG into WebP": (folder(".png", with_alpha), "", ("--format", "webp")),
    "PNG into EXR": (folder(".png", pillow("RGB")), "", ("--format", "exr")),
    "sizes that differ": (folder(".png", varied), "", ()),
    "the same, `--resize-changes`": (folder(".png", varied), "", ("--resize-changes",)),
    "animated GIF": (animation("a.gif", disposal=2), ".mkv", ("--codec", "ffv1")),
    "animated WebP": (animation("a.webp", lossless=True), ".webm", ()),
    "animated PNG": (animation("a.png"), "", ()),
    "animated AVIF": (animation("a.avif"), ".mp4", ()),
    "MP4, H.264": (video("a.mp4", "libx264", "yuv420p"), ".mp4", ()),
    "MP4, H.265 of 10 bits": (video("a.mp4", "libx265", "yuv420p10le", **QUIET), ".mp4", ()),
    "MKV, FFV1 with transparency": (video("a.mkv", "ffv1", "yuva444p"), ".mkv", ("--codec", "ffv1")),
    "the same into WebM": (video("a.mkv", "ffv1", "yuva420p"), ".webm", ()),
    "MOV, ProRes": (video("a.mov", "prores_ks", "yuv422p10le"), ".mov", ("--codec", "prores")),
    "WebM, VP9": (video("a.webm", "libvpx-vp9", "yuv420p"), ".webm", ()),
    "AVI, MJPEG": (video("a.avi", "mjpeg", "yuvj420p"), ".mkv", ()),
    "NUT, raw RGB": (video("a.nut", "rawvideo", "rgb24"), ".mkv", ("--codec", "ffv1")),
    "MPEG transport stream": (video("a.ts", "mpeg2video", "yuv420p"), ".mp4", ()),
    "FLV": (video("a.flv", "flv", "yuv420p"), ".mp4", ()),
    "MXF": (video("a.mxf", "mpeg2video", "yuv422p"), ".mov", ()),
    "Ogg, VP8": (video("a.ogv", "libvpx", "yuv420p"), ".mkv", ()),
    "grey, 16 bits": (video("a.mkv", "ffv1", "gray16le"), ".mkv", ("--codec", "ffv1")),
    "a variable rate": (video("a.mkv", "libx264", "yuv420p", changes=True), ".mkv", ()),
    "interlaced": (video("a.mp4", "libx264", "yuv420p", flags="+ildct+ilme", **{"x264-params": "tff=1"}), ".mp4", ()),
    "the same, `--deinterlace kept`": (
        video("a.mp4", "libx264", "yuv420p", flags="+ildct+ilme", **{"x264-params": "tff=1"}), ".mp4",
        ("--deinterlace", "kept"),
    ),
    "HDR (PQ) into 8 bits": (
        video("a.mkv", "libx265", "yuv420p10le", **PQ),
        ".mp4", ("--codec", "h264", "--pixel-format", "yuv420p"),
    ),
    "the same into 10 bits": (
        video("a.mkv", "libx265", "yuv420p10le", **PQ),
        ".mp4", ("--codec", "h265"),
    ),
    "y4m": (video("a.y4m", "wrapped_avframe", "yuv420p"), ".mkv", ()),
    "text as a video": (lambda root: [(root / "a.mp4").write_text("no video"), root / "a.mp4"][1], ".mkv", ()),
}  # fmt: skip


def described(path: Path) -> str:
    """What came out, in words."""
    if path.is_dir():
        files = sorted(path.glob("[0-9]*"))
        pixels = cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED)
        kind = "floats" if files[0].suffix == ".exr" else f"{8 * pixels.itemsize} bits, {pixels.shape[2]} channels"
        return f"{len(files)} {files[0].suffix[1:]} of {kind}"
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        frames = list(container.decode(video=0))
        last = round(float(frames[-1].time or 0), 2)
        return f"{len(frames)} frames, {context.name} {context.format.name}, the last at {last} s"


def row(name: str) -> tuple[str, str, str]:
    """The kind, what came out, and what was said."""
    make, suffix, words = KINDS[name]
    restorer = restorer_of(Same(None))
    with tempfile.TemporaryDirectory() as root, patch.object(restore, "_load", lambda options: restorer):
        (Path(root) / "in").mkdir()
        source = make(Path(root) / "in")
        output = Path(root) / f"out{suffix}"
        said = io.StringIO()
        with redirect_stderr(said), redirect_stdout(io.StringIO()):
            words_of_all = ["--network", "work", "-i", str(source), "-o", str(output), "-q", *TILES, *words]
            code = _exit_code(restore.main, words_of_all)
        lines = [line.replace(root, "") for line in said.getvalue().splitlines() if line.startswith("spikejax")]
        return name, described(output) if output.exists() else f"exit code {code}", "; ".join(lines)


def line(name: str) -> str:
    """A row of the table, as Markdown has it."""
    title, output, said = row(name)
    said = said.replace("spikejax: ", "").replace("L*a*b*", "L\\*a\\*b\\*")
    return f"| {title} | {output} | {said} |"


def main() -> None:
    """Prints the table."""
    warnings.simplefilter("ignore")
    print("| input | output | said |\n| --- | --- | --- |")
    for name in KINDS:
        print(line(name), flush=True)


if __name__ == "__main__":
    sys.exit(main())
