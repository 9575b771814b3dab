"""Colours of videos: planes in are planes out, in every pixel format, and what a video says of them is said again."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.io import colours as colours_module
from spikejax.io.colours import BT601, BT709, StaticHdr, VideoColours, from_rgb, to_rgb
from spikejax.io.frame_source import open_frames
from spikejax.io.pixel_formats import frame_of, pixel_format, planes_of
from spikejax.io.video_codecs import CODECS, VideoSettings
from spikejax.io.video_source import _to_rgb
from spikejax.io.video_writer import VideoWriter
from spikejax.io.written_colours import can_write, lost_colours, written_colours
from tests.io.colour_table import (
    HEIGHT,
    WIDTH,
    cases,
    difference,
    first_frame,
    smooth_planes,
    source_name,
    tagged_cases,
    through,
    write_source,
)

CASES = list(cases())
DISPLAY = (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450, 10000000, 1)


def _name(case: tuple[str, str, VideoColours]) -> str:
    return f"{case[0]}-{case[2].format.name}"


@pytest.mark.parametrize(("encoder", "codec", "colours"), CASES, ids=map(_name, CASES))
def test_planes_out_are_planes_in(tmp_path: Path, encoder: str, codec: str, colours: VideoColours) -> None:
    """Catches a format whose colours shift on the way to RGB and back, or whose bits, tags or transparency get lost."""
    source, target = tmp_path / source_name(encoder), tmp_path / "out.mkv"
    write_source(source, encoder, colours, smooth_planes(colours))
    through(source, target, VideoSettings(codec))
    result = difference(source, target)
    assert max(result.largest) <= 1
    assert max(result.mean) < 0.2
    assert result.kept
    assert pixel_format(first_frame(target).format.name).bits >= pixel_format(first_frame(source).format.name).bits


TAGGED = list(tagged_cases())


@pytest.mark.parametrize("part", range(8))
def test_everything_that_a_video_says_of_its_colours(tmp_path: Path, part: int) -> None:
    """Catches a matrix, range or position of colour that is not heeded on one of both ways, or not said again."""
    for colours in TAGGED[part::8]:
        write_source(tmp_path / "a.mkv", "ffv1", colours, smooth_planes(colours))
        read = open_frames(tmp_path / "a.mkv", own_depth=True).colours
        assert read is not None
        # Matroska does not hold that colours lie on the lower one of two rows.
        assert colours == (replace(read, chroma=colours.chroma) if colours.chroma.startswith("bottom") else read)
        through(tmp_path / "a.mkv", tmp_path / "b.mkv", VideoSettings("ffv1"))
        result = difference(tmp_path / "a.mkv", tmp_path / "b.mkv")
        assert result.kept, colours
        assert max(result.largest) <= 1, (colours, result)
        assert max(result.mean) < 0.2, (colours, result)


@pytest.mark.parametrize("size", [(48, 80), (47, 79), (45, 77)])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p", "yuv440p", "yuv411p", "yuv410p"])
@pytest.mark.parametrize("chroma", ["left", "center", "topleft", "top", "bottomleft", "bottom"])
def test_enlarging_and_reducing_colours_are_inverse(name: str, chroma: str, size: tuple[int, int]) -> None:
    """Catches an edge, an odd size or a position of colour at which colours creep, a little with each round."""
    if chroma.startswith("bottom") and size[0] % 2:
        pytest.skip("the last colour lies below the picture")
    colours = VideoColours(pixel_format(name), chroma=chroma)
    planes = smooth_planes(colours, *size)
    for plane, again in zip(planes, from_rgb(to_rgb(planes, colours), colours), strict=True):
        assert np.abs(plane.astype(int) - again).max() <= 1


@pytest.mark.parametrize("beside", ["first", "last", "between"])
def test_colours_finer_than_their_resolution_do_not_alias(beside: str) -> None:
    """Catches colours that are picked from every other pixel: stripes of single pixels would become plain colour."""
    stripes = np.tile(np.array([0, 1], np.float32), (8, 16))
    halved = colours_module._halved(stripes, 1, beside=beside)
    assert np.abs(halved[:, 2:-2] - 0.5).max() < 0.01 + (0.25 if beside != "between" else 0)


def test_rgb_is_the_exact_one() -> None:
    """Catches FFmpeg's short cuts, which are a level or half a level too dark, in any format that is read."""
    rng = np.random.default_rng(1)
    for name in (
        "yuv420p",
        "nv12",
        "yuyv422",
        "yuvj422p",
        "yuv420p10le",
        "p010le",
        "yuv444p12le",
        "gray10le",
        "yuva420p",
    ):
        held = pixel_format(name)
        full = held.full or held.model == "grey"
        unit = 1 << held.plane_bits - 8
        flat = rng.integers([60, 110, 110], [180, 146, 146]) * unit
        colours = VideoColours(held, BT601, full=full)
        planes = [np.full_like(plane, level) for plane, level in zip(smooth_planes(colours), [*flat, 0], strict=False)]
        frame = frame_of(planes, name)
        frame.colorspace, frame.color_range = 5, 2 if full else 1
        y, u, v = flat / unit if held.model != "grey" else (flat[0] / unit, 128, 128)
        deepest = ((1 << held.plane_bits) - 1) / unit
        y, scale = (y / deepest, deepest) if full else ((y - 16) / 219, 224)
        u, v = (u - 128) / scale, (v - 128) / scale
        red, blue = y + 1.402 * v, y + 1.772 * u
        expected = np.array([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue])
        deep = _to_rgb(frame, deep=True).reshape(-1, 3).mean(axis=0) / 65535
        np.testing.assert_allclose(deep, expected, atol=2e-5, err_msg=name)


@pytest.mark.parametrize(
    ("height", "width", "matrix"), [(720, 64, BT709), (64, 1280, BT709), (718, 64, BT601), (576, 720, BT601)]
)
def test_a_video_without_tags_has_the_matrix_that_players_assume(
    tmp_path: Path, height: int, width: int, matrix: int
) -> None:
    """Catches FFmpeg's own rule, BT.601 whatever the size, by which hues of HD shift, and an output that says none."""
    colours = VideoColours(pixel_format("yuv420p"))
    write_source(tmp_path / "a.mkv", "libx264", colours, smooth_planes(colours, height, width), tagged=False)
    source = open_frames(tmp_path / "a.mkv", own_depth=True)
    assert source.colours == VideoColours(pixel_format("yuv420p"), matrix)
    through(tmp_path / "a.mkv", tmp_path / "b.mp4", VideoSettings("h264", quality=0))
    assert open_frames(tmp_path / "b.mp4").colours == source.colours
    assert max(difference(tmp_path / "a.mkv", tmp_path / "b.mp4").largest) <= 1


@pytest.mark.parametrize(("codec", "suffix"), [(name, s) for name, codec in CODECS.items() for s in codec.containers])
@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_kept_or_refused(tmp_path: Path, codec: str, suffix: str, transfer: int) -> None:
    """Catches PQ and HLG numbers in a file that says they are of ordinary video, which looks washed out, and 8 bits."""
    hdr = StaticHdr(DISPLAY, (1000, 400)) if transfer == 16 else None
    colours = VideoColours(pixel_format("yuv420p10le"), 9, 9, transfer, chroma="left", hdr=hdr)
    settings = VideoSettings(codec)
    if not any(name in settings.encoder_formats for name in ("yuv420p10le", "yuv422p10le")):
        with pytest.raises(InputError, match="at least 10 bits for .* dynamic range .--codec h265, or --pixel"):
            written_colours(settings, suffix, HEIGHT, WIDTH, bits=10, like=colours)
        return
    target = tmp_path / f"a{suffix}"
    writer = VideoWriter(target, settings=settings, colours=colours)
    for _ in range(3):
        writer.write(to_rgb(smooth_planes(colours), colours))
    writer.close()
    read = open_frames(target, own_depth=True).colours
    assert read is not None
    assert (read.matrix, read.primaries, read.transfer, read.full) == (9, 9, transfer, False)
    if CODECS[codec].display is not None:
        assert read.hdr == hdr
    else:
        written = written_colours(settings, suffix, HEIGHT, WIDTH, bits=10, like=colours)
        assert any("display" in lost for lost in lost_colours(settings, colours, written)) == (hdr is not None)


def test_high_dynamic_range_in_8_bits_by_option() -> None:
    """Catches the option by which banding and a wrong look get in without a word."""
    colours = VideoColours(pixel_format("yuv420p10le"), 9, 9, 18)
    with pytest.raises(InputError, match="found yuv420p of h264"):
        written_colours(VideoSettings(pixel_format="yuv420p"), ".mp4", HEIGHT, WIDTH, bits=10, like=colours)


@pytest.mark.parametrize(
    ("name", "codec", "suffix", "lost"),
    [
        ("yuva420p", "h264", ".mp4", "holds no transparency"),
        ("yuv420p12le", "h264", ".mp4", "12 bits are rounded to 10"),
        ("yuv444p", "av1", ".mkv", "lower resolution .yuv444p becomes yuv420p"),
        ("bgr0", "h264", ".mp4", "RGB is stored as yuv444p"),
        ("yuvj420p", "prores", ".mov", "no full range"),
        ("yuv420p", "h264", ".mp4", None),
        ("yuva420p", "vp9", ".mkv", None),
        ("yuva444p10le", "prores", ".mov", None),
        ("gray", "h265", ".mp4", None),
    ],
)
def test_what_a_codec_cannot_hold_is_said(name: str, codec: str, suffix: str, lost: str | None) -> None:
    """Catches transparency, bits, resolution of colour or range that go without a word, and words about nothing."""
    held, settings = pixel_format(name), VideoSettings(codec)
    like = VideoColours(held, 0 if held.model == "rgb" else 1, full=held.full or held.model != "yuv")
    written = written_colours(settings, suffix, HEIGHT, WIDTH, bits=8, like=like)
    said = list(lost_colours(settings, like, written))
    assert len(said) == (lost is not None)
    if lost is not None:
        assert re.search(lost, said[0])


@pytest.mark.parametrize(("codec", "suffix"), [("vp9", ".mkv"), ("prores", ".mov"), ("ffv1", ".mkv")])
def test_transparency_goes_through_every_codec_that_holds_it(tmp_path: Path, codec: str, suffix: str) -> None:
    """Catches VP9's transparency, which FFmpeg's own decoder leaves out, and one that codecs drop without a word."""
    colours = VideoColours(pixel_format("yuva420p"), 1)
    write_source(tmp_path / "a.mkv", "ffv1", colours, smooth_planes(colours))
    through(tmp_path / "a.mkv", tmp_path / f"b{suffix}", VideoSettings(codec))
    before = next(open_frames(tmp_path / "a.mkv", own_depth=True).decode())
    after = next(open_frames(tmp_path / f"b{suffix}", own_depth=True).decode())
    assert before.alpha is not None and after.alpha is not None
    assert np.abs(before.alpha.astype(int) - after.alpha).max() <= 3 * 257
    rounded = next(open_frames(tmp_path / f"b{suffix}").decode()).alpha
    assert rounded is not None and rounded.dtype == np.uint8


def test_every_format_of_every_codec_is_written_or_known_to_fail(tmp_path: Path) -> None:
    """Catches a format that is chosen, though encoder or container refuse it, when the first frame is written."""
    for name, codec in CODECS.items():
        for suffix in codec.containers:
            like = VideoColours(pixel_format("gbrap12le"), 0, full=True)
            written = written_colours(VideoSettings(name), suffix, HEIGHT, WIDTH, bits=12, like=like)
            assert can_write(codec, written.format.name, suffix, 0, 0)
            writer = VideoWriter(tmp_path / f"a{suffix}", settings=VideoSettings(name), colours=like)
            for _ in range(5):
                writer.write(np.zeros((HEIGHT, WIDTH, 4), np.uint16))
            writer.close()
            assert open_frames(tmp_path / f"a{suffix}").height == HEIGHT


def test_formats_that_only_are_read() -> None:
    """Catches palettes, patterns of sensors, floats and few bits that stop a run: all become RGB of 16 bits."""
    for name in ("pal8", "monow", "monob", "rgb565le", "rgb8", "bayer_rggb8", "bayer_gbrg16le", "xyz12le", "grayf32le",
                 "gbrpf32le", "gbrapf16le", "ya16be", "v30xle", "y210le", "uyyvyy411", "xv36le", "vuya"):  # fmt: skip
        frame = av.VideoFrame(64, 48, name)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        rgb = _to_rgb(frame, deep=True)
        assert rgb.shape == (48, 64, 3) and rgb.dtype == np.uint16
    with pytest.raises(InputError, match="frames in memory, found the pixel format vaapi"):
        pixel_format("vaapi")
    with pytest.raises(InputError, match="at most 16 bits"):
        _ = pixel_format("gray32le").planar


def test_a_picture_stored_from_below_is_upright(tmp_path: Path) -> None:
    """Catches uncompressed AVI, whose rows FFmpeg gives from below, read with its rows out of place."""
    picture = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("rawvideo", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = 16, 32, "bgr24"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr24")))
    np.testing.assert_array_equal(next(iter(open_frames(tmp_path / "a.avi"))), picture)


def test_planes_come_back_as_they_went() -> None:
    """Catches a packing that is taken apart and put together in different ways."""
    for name in (
        "nv12",
        "p010le",
        "yuyv422",
        "bgra",
        "rgba64be",
        "ya8",
        "ya16be",
        "gbrapf32le",
        "yuvj420p",
        "gray12le",
    ):
        colours = replace(VideoColours(pixel_format(name)), matrix=1)
        planes = smooth_planes(colours)
        for plane, again in zip(planes, planes_of(frame_of(planes, name)), strict=True):
            np.testing.assert_array_equal(plane, again)
