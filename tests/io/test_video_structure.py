"""Videos as people have them: fields, splices, changes of size, several streams, sound of any kind, words."""

import os
import re
import struct
import types
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.io.copied_streams import planned_streams, stream_notes
from spikejax.io.frame_source import open_frames
from spikejax.io.size_changes import size_change
from spikejax.io.video_codecs import VideoSettings
from spikejax.io.video_reading import VideoReading
from spikejax.io.video_segments import SegmentedVideo
from spikejax.io.video_source import VideoFrames, _stated_duration
from spikejax.io.video_writer import VideoWriter

COUNT = 12
SPAN = ("start", "end")  # of a chapter


def picture(number: int, height: int = 32, width: int = 48) -> np.ndarray:
    """A picture that tells its number by its brightness, and its directions: dark on the left, red on top."""
    frame = np.full((height, width, 3), 100 + 8 * number, np.uint8)
    frame[:, : width // 3] = 30
    frame[: height // 3, :, 0] = 250
    return frame


def write_clip(
    path: Path,
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (32, 48),
    count: int = COUNT,
    sound: tuple[str, str] | None = None,
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A video of 25 frames a second, or with times in milliseconds, with sound of a codec and layout."""
    kind = "mpegts" if path.suffix == ".ts" else None
    with av.open(f"file:{path}", "w", format=kind) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=25, options={"bf": "0"} | (options or {}))
        stream.height, stream.width, stream.pix_fmt = *size, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        tone = (
            None
            if sound is None
            else container.add_stream(sound[0], rate=48000, layout=sound[1], options={"strict": "-2"})
        )
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            channels = len(tone.codec_context.layout.channels)
            resampler = av.AudioResampler(format=tone.codec_context.format.name, layout=sound[1], rate=48000)
            for start in range(0, 48000 * count // 25, 960):
                wave = 0.3 * np.sin(np.arange(start, start + 960) / 20)
                samples = av.AudioFrame.from_ndarray(
                    np.repeat(wave[np.newaxis], channels, 0).astype(np.float32), format="fltp", layout=sound[1]
                )
                samples.sample_rate, samples.pts, samples.time_base = 48000, start, Fraction(1, 48000)
                for ready in resampler.resample(samples):
                    container.mux(tone.encode(ready))
            container.mux(tone.encode(None))
    return path


def through(
    source: Path,
    target: Path,
    reading: VideoReading | None = None,
    settings: VideoSettings = VideoSettings(),  # noqa: B008, it cannot change
) -> VideoFrames:
    """Writes a video as restoring does with a network that changes nothing."""
    frames = open_frames(source, own_depth=True, reading=reading)
    assert isinstance(frames, VideoFrames)
    writer = VideoWriter(
        target, rate=frames.rate, time_base=frames.time_base, pixel_aspect=frames.pixel_aspect, colours=frames.colours,
        sound_of=source, splices=frames.splices, settings=settings,
    )  # fmt: skip
    for frame, time in frames.read():
        writer.write(frame, time)
    writer.close()
    return frames


def times_of(path: Path) -> list[float]:
    """When the frames of a video are shown."""
    return [round(float(time), 3) for _, time in open_frames(path).read() if time is not None]


# ---- Time ----


@pytest.mark.parametrize("sound", [None, ("mp2", "mono"), ("aac", "stereo")])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_files_put_together_last_as_long_as_both(tmp_path: Path, sound: tuple[str, str] | None, suffix: str) -> None:
    """Catches a second half that passes in milliseconds, and sound that a container refuses or that is cut off."""
    part = write_clip(tmp_path / "a.ts", sound=sound).read_bytes()
    (tmp_path / "c.ts").write_bytes(part + part)
    frames = through(tmp_path / "c.ts", tmp_path / f"out{suffix}")
    assert len(frames.splices) == 1
    assert "1 jumps in time were closed" in frames.remarks[0]
    times = times_of(tmp_path / f"out{suffix}")
    assert len(times) == 2 * COUNT
    assert np.diff(times).max() < 0.07 and np.diff(times).min() > 0.03
    if sound is not None:
        with av.open(str(tmp_path / f"out{suffix}")) as container:
            heard = [frame.time for frame in container.decode(audio=0)]
        assert 0.85 < heard[-1] < 1.05
        assert np.diff(heard).min() > 0


def test_a_variable_rate_and_b_frames_keep_their_times(tmp_path: Path) -> None:
    """Catches times made even, or frames in the order of decoding."""
    times = [0, 40, 90, 110, 200, 210, 260, 300, 400, 402, 480, 500]
    for name in ("a.mp4", "a.mkv"):
        write_clip(tmp_path / name, options={"bf": "3"}, times=times)
        through(tmp_path / name, tmp_path / f"out_{name}")
        assert times_of(tmp_path / f"out_{name}") == [time / 1000 for time in times]


@pytest.mark.parametrize("words", [{}, {"DURATION": "?"}, {"DURATION": "00:00:x"}])
def test_the_length_of_a_film_with_longer_sound(tmp_path: Path, words: dict[str, str]) -> None:
    """Catches progress that stops short of its total, since packets of sound do not end with the film."""
    path = write_clip(tmp_path / "a.mkv", count=6, sound=("aac", "mono"))
    with av.open(str(path)) as container:
        assert container.duration > 250_000
        (film,) = container.streams.video
        said = types.SimpleNamespace(metadata={"BPS": "9", **words})
        assert _stated_duration(film) == Fraction(6, 25) and _stated_duration(said) is None
    source = open_frames(path)
    assert source.expected_length == source.count == 6


# ---- Structure ----


def write_interlaced(path: Path) -> Path:
    """A moving edge, of which odd rows are half a frame later."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options={"flags": "+ilme+ildct", "qscale": "2"})
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = 64, 64, "yuv420p", 4000000
        for number in range(5):
            frame = np.full((64, 64, 3), 30, np.uint8)
            for row in range(64):
                frame[row, : 8 + 10 * number + 5 * (row % 2)] = 220
            coded = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            coded.pts = number
            container.mux(stream.encode(coded))
        container.mux(stream.encode(None))
    return path


def test_interlaced_video_is_refused_unless_told_how(tmp_path: Path) -> None:
    """Catches combs that a network sharpens without a word, fields that get lost, and times of them that do not fit."""
    path = write_interlaced(tmp_path / "i.mkv")
    with pytest.raises(InputError, match="--deinterlace .* or --as-progressive, found interlaced frames: .*i.mkv"):
        open_frames(path)

    def combs(source: VideoFrames) -> float:
        frame = list(source)[2].astype(int)
        return np.abs(2 * frame[1:-1] - frame[:-2] - frame[2:]).max() / 2

    as_it_is = open_frames(path, reading=VideoReading(interlaced="progressive"))
    assert combs(as_it_is) > 100
    kept = open_frames(path, reading=VideoReading(interlaced="kept"))
    assert combs(kept) < 60
    assert (kept.count, kept.rate) == (5, 25)
    doubled = open_frames(path, reading=VideoReading(interlaced="doubled"))
    assert (doubled.count, doubled.rate, doubled.expected_length is None) == (10, 50, kept.expected_length is None)
    through(path, tmp_path / "out.mp4", VideoReading(interlaced="doubled"))
    assert np.diff(times_of(tmp_path / "out.mp4")) == pytest.approx(0.02, abs=2e-3)


def test_a_size_that_changes(tmp_path: Path) -> None:
    """Catches hours of work lost at the first frame of another size."""
    first = write_clip(tmp_path / "a.ts").read_bytes()
    (tmp_path / "c.ts").write_bytes(first + write_clip(tmp_path / "b.ts", size=(48, 64), count=6).read_bytes())
    frames = through(tmp_path / "c.ts", tmp_path / "out.mp4")
    assert "frames from number 12 on are 64x48 and not 48x32" in str(frames.damage)
    assert open_frames(tmp_path / "out.mp4").count == COUNT
    frames = through(tmp_path / "c.ts", tmp_path / "all.mp4", VideoReading(resize_changes=True))
    assert not frames.damage
    assert "6 frames of another size were brought to 48x32" in frames.remarks[-1]
    assert open_frames(tmp_path / "all.mp4").count == COUNT + 6


def write_sizes(path: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    """Twelve frames of each (height, width), of which the container knows the first alone; the frames say their own."""
    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *sizes[0], "yuv420p"
        ticks = 0
        for size in sizes:
            encoder = av.CodecContext.create(codec, "w")
            encoder.height, encoder.width, encoder.pix_fmt = *size, "yuv420p"
            encoder.time_base, encoder.framerate, encoder.options = Fraction(1, 25), Fraction(25), {"bf": "0"}
            packets = []
            for number in range(COUNT):
                frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                packets += encoder.encode(frame)
            for packet in packets + encoder.encode(None):
                packet.pts = packet.dts = ticks
                packet.time_base, packet.stream = Fraction(1, 25), stream
                ticks += 1
                container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["webm", "mkv", "mp4", "flv", "avi"])
def test_a_size_that_changes_within_is_known_before(tmp_path: Path, suffix: str) -> None:
    """Catches a call whose change of size shows after hours, one made up, and one said to be far from where it is."""
    sizes = [(32, 48)] * 3 + [(16, 24)] * 2 + [(64, 96)]
    call = write_sizes(tmp_path / f"call.{suffix}", sizes)
    said = re.fullmatch(r"frames from (.*) s on are 24x16 and not 48x32", size_change(call))
    assert said is not None
    # A tenth of a second is shown, and AVI's clock is a frame late.
    assert float(said[1]) == pytest.approx(3 * COUNT / 25, abs=0.05 + 1 / 25)
    assert size_change(write_sizes(tmp_path / f"alike.{suffix}", [(32, 48)] * 2)) == ""


def test_a_size_that_changes_between_parts_is_known_before(tmp_path: Path) -> None:
    """Catches a second clock by which no place of the second part is found, and words about what is no video."""
    small, large = write_clip(tmp_path / "a.ts").read_bytes(), write_clip(tmp_path / "b.ts", size=(48, 64)).read_bytes()
    (tmp_path / "c.ts").write_bytes(small + large)
    said = re.fullmatch(r"frames from (\d+)% of the file on are 64x48 and not 48x32", size_change(tmp_path / "c.ts"))
    assert said is not None
    # The part begins with tables, in three packets of 188 bytes.
    change = (len(small) + 3 * 188) / len(small + large)
    assert int(said[1]) == pytest.approx(100 * change, abs=0.5)
    (tmp_path / "same.ts").write_bytes(small + small)
    (tmp_path / "none.mp4").write_bytes(b"")
    for path in (tmp_path / "same.ts", write_clip(tmp_path / "a.mp4"), tmp_path / "none.mp4"):
        assert size_change(path) == ""


def put_together(target: Path, sources: Sequence[tuple[Path, str]]) -> Path:
    """A file of the video streams of others, each with a disposition."""
    with av.open(str(target), "w") as container:
        opened = [av.open(str(path)) for path, _ in sources]
        streams = [container.add_stream_from_template(source.streams.video[0]) for source in opened]
        for stream, (_, disposition) in zip(streams, sources, strict=True):
            stream.disposition = getattr(av.stream.Disposition, disposition).value
        for stream, source in zip(streams, opened, strict=True):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    container.mux(packet)
            source.close()
    return target


def test_the_film_among_several_streams(tmp_path: Path) -> None:
    """Catches a cover taken for the film, the default not heeded, and a stream that is not there."""
    film = write_clip(tmp_path / "film.mp4")
    small = write_clip(tmp_path / "small.mp4", size=(16, 16), count=5)
    cover = write_clip(tmp_path / "cover.mkv", codec="mjpeg", size=(64, 64), count=1)
    covered = put_together(tmp_path / "a.mp4", [(film, "default"), (cover, "attached_pic")])
    assert open_frames(covered).height == 32
    assert [plan.kept for plan in planned_streams(covered, ".mp4")] == [False]
    unmarked = put_together(tmp_path / "c.mkv", [(cover, "original"), (film, "original")])
    assert open_frames(unmarked).height == 32
    both = put_together(tmp_path / "b.mkv", [(small, "original"), (film, "default")])
    assert open_frames(both).height == 32
    assert open_frames(both, reading=VideoReading(stream=0)).height == 16
    assert stream_notes(both, ".mkv") == ["video (stream 0, h264) is left out"]
    assert stream_notes(both, ".mkv", 0) == ["video (stream 1, h264) is left out"]
    with pytest.raises(InputError, match="--stream from 0 to 1, found 2"):
        open_frames(both, reading=VideoReading(stream=2))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("mirrored", [1, -1])
@pytest.mark.parametrize("flipped", [1, -1])
def test_every_orientation_is_upright(tmp_path: Path, swapped: bool, mirrored: int, flipped: int) -> None:
    """Catches a picture of a front camera shown mirrored, upside down or lying, and pixels shaped the other way."""
    write_clip(tmp_path / "a.mp4", options={"x264-params": "sar=4/3", "crf": "1"}, count=2)
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    at = content.find(b"tkhd") + 44
    across, down = mirrored * 65536, flipped * 65536
    turn = (0, down, 0, across, 0) if swapped else (across, 0, 0, 0, down)
    content[at : at + 36] = struct.pack(">9i", *turn, 0, 0, 0, 1 << 30)
    (tmp_path / "a.mp4").write_bytes(content)
    shown = picture(0).swapaxes(0, 1) if swapped else picture(0)
    shown = shown[::flipped, ::mirrored]
    source = open_frames(tmp_path / "a.mp4")
    assert source.pixel_aspect == (Fraction(3, 4) if swapped else Fraction(4, 3))
    assert np.abs(next(iter(source)).astype(int) - shown).mean() < 10


def test_a_trimmed_file_is_no_damaged_one(tmp_path: Path) -> None:
    """Catches packets that an edit list leaves out counted as lost."""
    write_clip(tmp_path / "a.mp4", options={"g": "4"})
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    at = content.find(b"elst")
    duration, start = struct.unpack(">Ii", content[at + 12 : at + 20])
    content[at + 12 : at + 20] = struct.pack(">Ii", duration * 8 // COUNT, start + 4 * 512)
    (tmp_path / "a.mp4").write_bytes(content)
    source = open_frames(tmp_path / "a.mp4")
    assert source.count == 8
    assert not source.damage


# ---- What is beside the pictures ----

SOUNDS = [
    ("aac", "stereo"), ("aac", "5.1"), ("ac3", "5.1"), ("flac", "mono"), ("libopus", "stereo"), ("libmp3lame", "mono"),
    ("vorbis", "stereo"), ("pcm_s16le", "stereo"), ("pcm_s24le", "5.1"), ("pcm_s16le", "quad"), ("pcm_mulaw", "mono"),
    ("pcm_s32le", "stereo"), ("alac", "stereo"), ("mp2", "stereo"), ("adpcm_ima_wav", "mono"),
]  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("sound", SOUNDS, ids="-".join)
def test_sound_of_any_kind_comes_along(tmp_path: Path, sound: tuple[str, str], suffix: str) -> None:
    """Catches a codec, or an order of channels, that ends a run or is lost without a word, and sound that is late."""
    held_by = {"pcm_mulaw": ".mov", "adpcm_ima_wav": ".avi"}.get(sound[0], ".mkv")
    source = write_clip(tmp_path / f"a{held_by}", codec="mpeg4" if held_by == ".avi" else "libx264", sound=sound)
    through(source, tmp_path / f"out{suffix}")
    (plan,) = planned_streams(source, suffix)
    assert plan.kept
    assert len(stream_notes(source, suffix)) == (plan.encoder is not None)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        heard = list(container.decode(audio=0))
        assert len(container.streams.audio[0].codec_context.layout.channels) == len(av.AudioLayout(sound[1]).channels)
    assert sum(frame.samples for frame in heard) / heard[0].sample_rate == pytest.approx(COUNT / 25, abs=0.1)
    assert abs(float(heard[0].time)) < 0.1


def test_sound_that_nobody_knows_is_left_out_and_said(tmp_path: Path) -> None:
    """Catches a traceback for Apple's spatial sound, which FFmpeg has no decoder for, after compiling."""
    write_clip(tmp_path / "a.mov", sound=("pcm_s16le", "stereo"))
    content = (tmp_path / "a.mov").read_bytes()
    assert content.count(b"sowt") == 1
    (tmp_path / "a.mov").write_bytes(content.replace(b"sowt", b"apac"))
    assert stream_notes(tmp_path / "a.mov", ".mp4") == ["sound (stream 1, unknown) is left out"]
    through(tmp_path / "a.mov", tmp_path / "out.mp4")
    assert open_frames(tmp_path / "out.mp4").count == COUNT


def test_words_chapters_and_subtitles_are_kept(tmp_path: Path) -> None:
    """Catches a title, a creation time, a place, chapters, subtitles or a language that restoring loses."""
    words = {"title": "A film", "creation_time": "2026-01-01T00:00:00.000000Z", "location": "+48.1+011.5/"}
    plain = write_clip(tmp_path / "plain.mkv", sound=("aac", "mono"))
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:00,300\nHello\n\n")
    with (
        av.open(str(plain)) as film,
        av.open(str(tmp_path / "a.srt")) as text,
        av.open(str(tmp_path / "a.mkv"), "w") as target,
    ):
        target.metadata.update(words)
        streams = {stream.index: target.add_stream_from_template(stream) for stream in film.streams}
        streams[1].metadata["language"] = "deu"
        subtitles = target.add_stream_from_template(text.streams[0])
        subtitles.metadata["language"] = "fra"
        target.set_chapters(
            [{"id": 1, "start": 0, "end": 300, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}]
        )
        for packet in film.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
        for packet in text.demux():
            if packet.size:
                packet.stream = subtitles
                target.mux(packet)
    through(tmp_path / "a.mkv", tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio", "subtitle"]
        assert [stream.metadata.get("language") for stream in container.streams][1:] == ["deu", "fra"]
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one"]
        said = {name.lower(): value for name, value in container.metadata.items()}
        assert said.items() >= words.items()
        texts = [bytes(packet) for packet in container.demux(subtitles=0) if packet.size]
    assert texts == [b"Hello"]
    assert stream_notes(tmp_path / "a.mkv", ".mp4") == ["subtitle (stream 2, subrip) is encoded as mov_text"]
    through(tmp_path / "a.mkv", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["title"] == "A film"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one"]
        (said,) = [bytes(packet) for packet in container.demux(subtitles=0) if len(bytes(packet)) > 2]
        assert said == b"\0\5Hello" and container.streams.subtitles[0].metadata["language"] == "fra"
    settings = VideoSettings("vp9")
    through(tmp_path / "a.mkv", tmp_path / "out.webm", settings=settings)
    with av.open(str(tmp_path / "out.webm")) as container:
        names = [stream.codec_context.name for stream in container.streams]
        assert names == ["vp9", "opus", "webvtt"]


@pytest.mark.parametrize("suffix", ["mkv", "mov", "mp4"])
def test_chapters_and_time_code_of_a_part(tmp_path: Path, suffix: str) -> None:
    """Catches chapters that a part loses, that lie where they lay in the whole, or of what it does not show.

    And the time code of the film's first frame on the part's, by which editors would put it in the wrong place.
    """
    source = write_clip(tmp_path / f"whole.{suffix}", metadata={"timecode": "01:02:03:04"})
    spans = {"one": (0, 120), "two": (120, 400), "three": (400, 480)}
    with av.open(str(source)) as film, av.open(str(tmp_path / f"a.{suffix}"), "w") as target:
        stream = target.add_stream_from_template(film.streams.video[0])
        stream.metadata["timecode"] = "01:02:03:04"
        target.set_chapters(
            [
                {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
                for number, (name, (start, end)) in enumerate(spans.items())
            ]
        )
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    (tmp_path / "segments").mkdir()
    video = SegmentedVideo(tmp_path / "segments", f".{suffix}", {"rate": Fraction(25), "time_base": Fraction(1, 25)})
    for number in range(5, 10):
        video.write(picture(number, 32, 48), Fraction(number - 5, 25))
    out = tmp_path / f"part.{suffix}"
    video.join(out, sound_of=tmp_path / f"a.{suffix}", sound_from=Fraction(1, 5), whole_sound=False)
    with av.open(str(out)) as container:
        listed = [
            (chapter["metadata"]["title"], *(round(1000 * chapter[name] * chapter["time_base"]) for name in SPAN))
            for chapter in container.chapters()
        ]
        said = {name.lower(): value for name, value in container.streams.video[0].metadata.items()}
    assert listed == [("two", 0, 200)]
    assert said["timecode"] == "01:02:03:09"


def test_words_of_any_bytes(tmp_path: Path) -> None:
    """Catches a title that is no UTF-8, by which a file does not open, and names with a colon or of other bytes."""
    write_clip(tmp_path / "a.avi", codec="mpeg4", metadata={"title": "cafXX"})
    content = (tmp_path / "a.avi").read_bytes().replace(b"cafXX", b"caf\xe9s")
    for name in ("take:2.avi", os.fsdecode(b"caf\xe9.avi"), "file:x.avi"):
        (tmp_path / name).write_bytes(content)
        target = (tmp_path / name).with_suffix(".mkv")
        through(tmp_path / name, target)
        assert open_frames(target).count == COUNT
