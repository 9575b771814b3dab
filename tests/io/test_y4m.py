import io
from fractions import Fraction

import av
import pytest

from spikejax.errors import InputError
from spikejax.io import y4m
from spikejax.io.pixel_formats import pixel_format


@pytest.mark.parametrize("name", y4m.FORMATS)
def test_every_format_is_read_as_ffmpeg_writes_it(name: str) -> None:
    """Catches a tag that FFmpeg gives another meaning, and a size, rate, range or aspect that is lost on the way."""
    own = y4m.Y4mHeader(name, 6, 8, Fraction(30000, 1001), Fraction(4, 3), "left", full=False)
    assert y4m.read_header(own.line()) == own
    content = own.line() + (y4m.FRAME + b"\n" + bytes(4096)) * 2
    with av.open(io.BytesIO(content), format="yuv4mpegpipe") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.format.name, stream.width, stream.height) == (name, 8, 6)
        assert stream.average_rate == Fraction(30000, 1001) and stream.sample_aspect_ratio == Fraction(4, 3)
    assert pixel_format(name).name == name


@pytest.mark.parametrize(("tag", "chroma"), [("jpeg", "center"), ("mpeg2", "left"), ("paldv", "topleft")])
def test_where_colours_lie(tag: str, chroma: str) -> None:
    """Catches colours that move by half a pixel from one end of a pipe to the other."""
    header = y4m.read_header(f"YUV4MPEG2 W8 H6 F25:1 C420{tag}\n".encode())
    assert header.chroma == chroma and f"C420{tag}".encode() in header.line()


def test_what_is_not_said() -> None:
    """Catches a rate of zero taken for one, and defaults of the format that are not known."""
    header = y4m.read_header(b"YUV4MPEG2 W8 H6 F0:0 A0:0 I?\n")
    assert header == y4m.Y4mHeader("yuv420p", 6, 8, chroma="center")
    assert y4m.read_header(b"YUV4MPEG2 H6 W8 It XYSCSS=420JPEG XCOLORRANGE=FULL\n").fields == "tff"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"YUV4MPEG2",
        b"YUV4MPEG2\n",
        b"YUV4MPEG2 W8\n",
        b"YUV4MPEG2 W0 H6\n",
        b"YUV4MPEG2 W-8 H6\n",
        b"YUV4MPEG2 W99999 H6\n",
        b"YUV4MPEG2 W8 H6 C444alpha\n",
        b"YUV4MPEG3 W8 H6\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_header_is_one_line(line: bytes) -> None:
    """Catches a traceback, or frames of a wrong size, where a stream begins with something else."""
    with pytest.raises(InputError, match="expected"):
        y4m.read_header(line)
