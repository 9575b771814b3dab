import zlib
from fractions import Fraction
from pathlib import Path

import av
import pytest

from spikejax.io import matroska_shape
from spikejax.io.matroska_shape import say_pixel_shape
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_segments import SegmentedVideo
from tests.io.test_video_structure import COUNT, picture, write_clip

ASPECT = Fraction(16, 11)  # of PAL's pixels, of a wide picture
WIDTH = 48


def write(path: Path, codec: str) -> None:
    """Writes a film with sound and a title as restoring does."""
    source = write_clip(path.with_name("sound.mkv"), sound=("libopus", "mono"), metadata={"title": "A film"})
    folder = path.with_suffix(".segments")
    folder.mkdir()
    options = {
        "settings": VideoSettings(codec),
        "rate": Fraction(25),
        "time_base": Fraction(1, 25),
        "pixel_aspect": ASPECT,
    }
    video = SegmentedVideo(folder, path.suffix, options)
    for number in range(COUNT):
        video.write(picture(number, 32, WIDTH), Fraction(number, 25))
    video.join(path, sound_of=source)


def check_layout(content: bytes) -> None:
    """Asserts that places lead to what they name, and that checksums are true."""
    elements = list(matroska_shape._elements(content, 0, len(content)))
    segment = next(element for element in elements if element.id == matroska_shape._SEGMENT)
    assert segment.end == elements[-1].end == len(content)
    inside = list(matroska_shape._elements(content, segment.body, segment.end))
    starts = {element.start: element.id for element in inside}
    (seek_head,) = (element for element in inside if element.id == matroska_shape._SEEK_HEAD)
    places = 0
    for seek in matroska_shape._elements(content, seek_head.body, seek_head.end):
        if seek.id == matroska_shape._SEEK:
            name, position = (
                int.from_bytes(content[field.body : field.end], "big")
                for field in matroska_shape._elements(content, seek.body, seek.end)
            )
            assert starts[segment.body + position] == name
            places += 1
    assert places >= 3
    for element in inside:
        body = content[element.body : element.end]
        if body.startswith(b"\xbf\x84"):
            assert body[2:6] == zlib.crc32(body[6:]).to_bytes(4, "little"), hex(element.id)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mkv", "ffv1"), ("mkv", "vp9"), ("webm", "vp9"), ("mkv", "h264"), ("mp4", "h264")]
)
def test_pixels_keep_their_shape(tmp_path: Path, suffix: str, codec: str) -> None:
    """Catches a wide film that comes out narrow, and a file whose parts are not where it says."""
    path = tmp_path / f"a.{suffix}"
    write(path, codec)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # What FFV1 and VP9 are shown at is whole pixels; H.264 says the shape itself.
        worst = 0.5 / WIDTH if codec != "h264" else 0
        assert abs(stream.sample_aspect_ratio - ASPECT) <= worst
        assert [frame.pts * frame.time_base for frame in container.decode(video=0)] == [
            pytest.approx(number / 25, abs=0.001) for number in range(COUNT)
        ]
        container.seek(0)
        assert sum(frame.samples for frame in container.decode(audio=0)) > 20_000
        assert container.metadata["title"] == "A film"
    if suffix != "mp4":
        check_layout(path.read_bytes())


def test_a_file_of_another_layout_is_left_as_it_is(tmp_path: Path) -> None:
    """Catches a file that is spoilt because it is not laid out as FFmpeg does it."""
    path = tmp_path / "a.mkv"
    write(path, "ffv1")
    whole = path.read_bytes()
    void = whole.index(b"\xec\x01")
    for content in (b"", b"\0" * 100, whole[:60], whole.replace(whole[void : void + 1], b"\xed", 1)):
        path.write_bytes(content)
        assert not say_pixel_shape(path, ASPECT)
        assert path.read_bytes() == content
