"""Outputs that appear whole, are never lost and go on where they stopped."""

import errno
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from spikejax.errors import InputError
from spikejax.inference import disk_room, resumable_output
from spikejax.inference.output_target import OutputTarget, VideoSource
from spikejax.inference.resumable_output import open_output
from spikejax.io import video_segments
from spikejax.io.frame_source import open_frames

FRAMES = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)
DESCRIPTION = {"input": "a", "tile": "4,24,32"}


class StopForNow(Exception):
    """What stops a run in these tests."""


def write(
    target: OutputTarget, *, stop_at: int | None = None, resume: bool = False, description: dict[str, str] = DESCRIPTION
) -> None:
    """A run that writes all frames, or stops before one of them."""
    source = VideoSource(Fraction(25), Fraction(1, 1000))
    with open_output(target, source, names=None, description=description, resume=resume) as output:
        for number in range(output.done, len(FRAMES)):
            if number == stop_at:
                raise StopForNow
            output.write(FRAMES[number], Fraction(number * number, 100), {"psnr": float(number)})
        output.finish({"frames": output.done, "scores": output.scores})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("segment", [1, 2, 3, 48])
@pytest.mark.parametrize("name", ["out", "out.mkv", "out.mp4"])
def test_going_on_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, segment: int
) -> None:
    """Catches frames lost or doubled where a run stopped, other times, figures lost, and remains of the work."""
    monkeypatch.setattr(video_segments, "segment_length", lambda frame: segment)
    video = "also.mkv" if name == "out" else None
    for run in ("whole", "stopped"):
        (tmp_path / run).mkdir()
    whole, stopped = (
        OutputTarget(tmp_path / run / name, None if video is None else tmp_path / run / video)
        for run in ("whole", "stopped")
    )
    write(whole)
    for stop_at in (2, 2, 5):
        with pytest.raises(StopForNow):
            write(stopped, stop_at=stop_at, resume=True)
        assert not stopped.path.exists()
    write(stopped, resume=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert len(list(open_frames(stopped.path))) == len(FRAMES)
    assert json.loads(stopped.metrics.read_text())["scores"] == [{"psnr": float(number)} for number in range(6)]


def test_what_was_cut_by_a_crash_is_made_again(tmp_path: Path) -> None:
    """Catches a half-written line of figures, or a frame without figures, taken for whole."""
    target = OutputTarget(tmp_path / "out")
    with pytest.raises(StopForNow):
        write(target, stop_at=4)
    log = target.work / "scores.jsonl"
    log.write_bytes(log.read_bytes()[:-5])
    (target.work / "frames" / "000001.png").unlink()
    with open_output(target, VideoSource(), names=None, description=DESCRIPTION, resume=True) as output:
        assert output.done == 1
        assert output.scores == [{"psnr": 0.0}]


def test_another_run_does_not_go_on(tmp_path: Path) -> None:
    """Catches frames of two different runs in one output; and neither run is lost unasked."""
    target = OutputTarget(tmp_path / "out")
    with pytest.raises(StopForNow):
        write(target, stop_at=3)
    with pytest.raises(InputError, match="--resume"):
        write(target)
    with pytest.raises(InputError, match="tile was '4,24,32', is now '4,16,16'"):
        write(target, resume=True, description={**DESCRIPTION, "tile": "4,16,16"})
    assert len(list((target.work / "frames").iterdir())) == 3
    write(OutputTarget(target.path, overwrite=True))
    assert len(list(open_frames(target.path))) == 6


@pytest.mark.parametrize("left", [[], [".lock"], [".lock", "frames/"]])
def test_a_run_that_ended_before_it_began(tmp_path: Path, left: list[str]) -> None:
    """Catches an empty folder of a run that was killed at once, which no --resume gets past."""
    target = OutputTarget(tmp_path / "out")
    for folder in target.all_work:
        folder.mkdir(parents=True, exist_ok=True)
        for name in left:
            (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()
    write(target, resume=True)
    assert len(list((tmp_path / "out").glob("*.png"))) == len(FRAMES)


@pytest.mark.parametrize("name", ["out", "out.mp4"])
def test_an_output_replaces_another_only_if_asked(tmp_path: Path, name: str) -> None:
    """Catches a lost earlier result; asked for, the new one takes its place as a whole."""
    write(OutputTarget(tmp_path / name))
    with pytest.raises(InputError, match="--overwrite"):
        write(OutputTarget(tmp_path / name))
    write(OutputTarget(tmp_path / name, overwrite=True))
    assert len(list(open_frames(tmp_path / name))) == 6


@pytest.mark.parametrize("name", ["out", "out.mp4"])
def test_a_failure_before_the_first_frame_leaves_nothing(tmp_path: Path, name: str) -> None:
    """Catches half-written output, under its own name or a temporary one."""
    with pytest.raises(StopForNow):
        write(OutputTarget(tmp_path / name), stop_at=0)
    assert list(tmp_path.iterdir()) == []


def test_frames_keep_their_names(tmp_path: Path) -> None:
    """Catches frames that are renamed, or given a suffix that says another format."""
    names = tuple(f"left_{number}.jpg" for number in range(6))
    target = OutputTarget(tmp_path / "out")
    with open_output(target, VideoSource(), names=names, description=DESCRIPTION) as output:
        for frame in FRAMES:
            output.write(frame, None, {})
        output.finish({})
    assert sorted(os.listdir(tmp_path / "out")) == [*(f"left_{number}.png" for number in range(6)), "metrics.json"]
    np.testing.assert_array_equal(np.stack(list(open_frames(tmp_path / "out"))), FRAMES)


# Names that a shell, a URL, a pattern, JSON or an encoding may take for something else.
NAMES = (
    "a:b",
    "c d",
    "'q\"",
    "new\nline",
    "\N{GRINNING FACE}",
    b"bytes \xff\xfe",
    "100%d",
    "br[1]",
    "2026.01.05",
    "-v",
    "x" * 240,
)


@pytest.mark.parametrize("suffix", ["", ".mkv", ".MP4"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | bytes, suffix: str) -> None:
    """Catches a name that is read as a protocol, a pattern or text, in a relative or an absolute path."""
    name = os.fsdecode(name) + suffix
    monkeypatch.chdir(tmp_path)
    for path in (Path(name), tmp_path / "new" / name):
        write_and_stop(OutputTarget(path))
        write(OutputTarget(path), resume=True)
        assert len(list(open_frames(path))) == len(FRAMES)
        assert OutputTarget(path).metrics.is_file()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("suffix", ["", ".mkv"])
@pytest.mark.parametrize("name", ["x" * 260, "y" * 256, "file/out"])
def test_names_that_cannot_be(tmp_path: Path, name: str, suffix: str) -> None:
    """Catches a traceback, or work of hours before the disk refuses a name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a place to write to, found (File name too long|Not a directory)"):
        write(OutputTarget(tmp_path / (name + suffix)), stop_at=0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def write_and_stop(target: OutputTarget) -> None:
    """A run that stops in the middle."""
    with pytest.raises(StopForNow):
        write(target, stop_at=3)


@pytest.mark.parametrize("name", ["out", "out.mkv"])
@pytest.mark.parametrize("dangling", [True, False])
def test_links_are_followed(tmp_path: Path, name: str, dangling: bool) -> None:
    """Catches a link that is replaced, with the disk that it leads to left empty."""
    (tmp_path / "disk").mkdir()
    place, link = tmp_path / "disk" / name, tmp_path / name
    if not dangling and name == "out":
        place.mkdir()
    link.symlink_to(place)
    write_and_stop(OutputTarget(link))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    write(OutputTarget(link), resume=True)
    write(OutputTarget(link, overwrite=True))
    assert link.is_symlink() and link.resolve() == place
    assert len(list(open_frames(place))) == len(FRAMES)


def test_links_in_a_circle(tmp_path: Path) -> None:
    """Catches a traceback of the system."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="found Too many levels of symbolic links"):
        write(OutputTarget(tmp_path / "a"))


@pytest.mark.parametrize("kind", ["empty", "mount", "working folder", "hidden files"])
def test_a_folder_is_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Catches a mount point, or the folder that one is in, that is renamed, and files of others that go with it."""
    place = tmp_path / "out"
    place.mkdir()
    kept = {"empty": (), "hidden files": (".keep",)}.get(kind, ("lost+found", ".keep"))
    for file in kept:
        (place / file).write_text(file)
    mine = place.stat().st_ino
    if kind == "mount":
        monkeypatch.setattr("spikejax.io.places.is_mount_point", lambda folder: folder == place)
    if kind == "working folder":
        monkeypatch.chdir(place)
    target = OutputTarget(Path() if kind == "working folder" else place)
    write_and_stop(target)
    assert sorted(path.name for path in place.iterdir()) == sorted((*kept, ".partial"))
    write(OutputTarget(place), resume=True)
    expected = sorted((*kept, *(f"{number:06d}.png" for number in range(6)), "metrics.json"))
    assert sorted(path.name for path in place.iterdir()) == expected
    if kind in ("mount", "working folder"):
        (place / "old.png").write_text("of an earlier run")
        write(OutputTarget(place, overwrite=True))
        assert sorted(path.name for path in place.iterdir()) == expected
    assert place.stat().st_ino == mine
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("moved", range(8))
def test_a_move_that_was_cut_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int) -> None:
    """Catches frames that a run which was killed at its very end takes for somebody else's."""
    (tmp_path / "out").mkdir()
    target, left = OutputTarget(tmp_path / "out"), iter(range(moved))
    move = os.replace

    def replace(source: Path, goal: Path) -> None:
        if Path(goal).parent == target.place and Path(source).parent == target.frames and next(left, None) is None:
            raise StopForNow
        move(source, goal)

    with monkeypatch.context() as killed:
        killed.setattr(os, "replace", replace)
        killed.setattr("spikejax.inference.resumable_output.WrittenHere.abandon", lambda self: None)
        if moved < 7:
            with pytest.raises(StopForNow):
                write(target)
        else:
            write(target)
    if moved < 7:
        with pytest.raises(InputError, match="--resume"):
            write(OutputTarget(target.path))
        write(OutputTarget(target.path), resume=True)
    np.testing.assert_array_equal(np.stack(list(open_frames(target.path))), FRAMES)
    assert target.metrics.is_file() and not target.work.exists()


@pytest.mark.parametrize("output", ["out", "out.mkv"])
def test_a_rename_that_cannot_be_shows_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    """Catches a disk that refuses what is done at the end, after hours of work."""

    def replace(source: Path, goal: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(InputError, match="expected a place to write to, found Invalid cross-device link"):
        with open_output(OutputTarget(tmp_path / output), VideoSource(), names=None, description={}):
            pytest.fail("it began")


def test_a_video_lies_beside_its_own_target(tmp_path: Path) -> None:
    """Catches a video that is made on the disk of the frames, and a folder that is not made for it."""
    target = OutputTarget(tmp_path / "one" / "out", tmp_path / "two" / "deep" / "v.mkv")
    write_and_stop(target)
    assert target.movie_work == tmp_path / "two" / "deep" / ".v.mkv.partial"
    write(target, resume=True)
    assert open_frames(target.movie).count == len(FRAMES)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(("segment", "pictures"), [(2, 1), (3, 2), (48, 5)])
def test_a_video_keeps_the_pictures_of_its_open_segment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segment: int, pictures: int
) -> None:
    """Catches a disk full of pictures where a video is wanted."""
    monkeypatch.setattr(video_segments, "segment_length", lambda frame: segment)
    target = OutputTarget(tmp_path / "out.mkv")
    with pytest.raises(StopForNow):
        write(target, stop_at=5)
    assert len(list(target.frames.iterdir())) == pictures
    assert len(list(target.work.glob("*.segment"))) == 5 // segment
    assert {path.suffix for path in target.work.iterdir()} <= {"", ".json", ".jsonl", ".segment"}


@pytest.mark.parametrize(("free", "segment"), [(2 * 5 * FRAMES[0].nbytes, 5), (10, 4)])
def test_the_open_segment_fits_on_a_small_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, segment: int
) -> None:
    """Catches a run that a small disk stops for its pictures alone, and another video where there is room later."""
    monkeypatch.setattr(resumable_output, "free_bytes", lambda folder: free)
    whole, stopped = OutputTarget(tmp_path / "whole" / "out.mkv"), OutputTarget(tmp_path / "stopped" / "out.mkv")
    write(whole)
    for stop_at in (2, 5):
        with pytest.raises(StopForNow):
            write(stopped, stop_at=stop_at, resume=True)
        monkeypatch.setattr(resumable_output, "free_bytes", lambda folder: 2**40)
    assert len(list(stopped.frames.iterdir())) == 5 % segment
    write(stopped, resume=True)
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["cut", "bit", "gone", "scores", "picture"])
@pytest.mark.parametrize("name", ["out", "out.mkv"])
def test_what_is_damaged_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, name: str) -> None:
    """Catches a video with a hole, or other frames, where a file of the work is not whole; and a traceback."""
    monkeypatch.setattr(video_segments, "segment_length", lambda frame: 2)
    video = tmp_path / "also.mkv" if name == "out" else None
    whole = OutputTarget(tmp_path / "whole" / name, video and tmp_path / "whole" / "also.mkv")
    write(whole)
    target = OutputTarget(tmp_path / "hurt" / name, video and tmp_path / "hurt" / "also.mkv")
    with pytest.raises(StopForNow):
        write(target, stop_at=5)
    assert target.movie_work is not None
    second, log = target.movie_work / "000001.segment", target.work / "scores.jsonl"
    content = second.read_bytes()
    if damage == "cut":
        second.write_bytes(content[:-1])
    elif damage == "bit":
        second.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "gone":
        second.unlink()
    elif damage == "scores":
        log.write_text("".join(log.read_text().splitlines(keepends=True)[:3]))
    else:
        (target.frames / "000004.png").unlink()
    write(target, resume=True)
    assert contents(tmp_path / "hurt") == contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["out", "out.mkv"])
@pytest.mark.parametrize("free", [70_000, 70_001])
def test_a_run_stops_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, free: int
) -> None:
    """Catches a disk that is filled to the last byte, a frame half-written, and a run that cannot go on."""
    target = OutputTarget(tmp_path / name)
    with monkeypatch.context() as small:
        small.setattr(disk_room, "free_bytes", lambda folder: free - size_of(tmp_path))
        with pytest.raises(InputError, match="expected more room on the disk, .* are needed next, .* are free: "):
            write(target)
    assert size_of(tmp_path) < free
    write(target, resume=True)
    np.testing.assert_allclose(np.stack(list(open_frames(target.path))), FRAMES, atol=0 if name == "out" else 255)


@pytest.mark.parametrize("name", ["out", "out.mkv"])
@pytest.mark.parametrize("at", range(6))
def test_a_disk_that_is_full_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """Catches files that are half-written, under whatever name, where others fill the disk meanwhile."""
    monkeypatch.setattr(video_segments, "segment_length", lambda frame: 2)
    target, calls = OutputTarget(tmp_path / name), iter(range(at))
    move = os.replace

    def replace(source: Path, goal: Path) -> None:
        if Path(goal).suffix in (".png", ".segment") and next(calls, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        move(source, goal)

    with monkeypatch.context() as full:
        full.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="No space left"):
            write(target)
            raise OSError("No space left was never said")
    kept = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [file for file in kept if "tmp" in file or file.startswith("open")]
    write(target, resume=True)
    assert len(list(open_frames(target.path))) == len(FRAMES)


@pytest.mark.parametrize(("name", "video"), [("out", None), ("out.mkv", None), ("out", "disk/also.mkv")])
def test_what_the_whole_will_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, video: str | None
) -> None:
    """Catches an estimate that is far off, for one disk or for two, and one that always fits."""
    monkeypatch.setattr(video_segments, "segment_length", lambda frame: 2)
    target = OutputTarget(tmp_path / name, None if video is None else tmp_path / video)
    with open_output(target, VideoSource(), names=None, description=DESCRIPTION) as output:
        for frame in FRAMES[:4]:
            output.write(frame, None, {})
        for free, enough in ((10**9, True), (1000, False)):
            with monkeypatch.context() as disk:
                disk.setattr(disk_room, "free_bytes", lambda folder, free=free: free)
                text, fits = output.room(6)
            assert fits == enough
        said = float(text.split()[1]) * 1000  # kB
        for frame in FRAMES[4:]:
            output.write(frame, None, {})
        output.finish({})
    pictures = sum(path.stat().st_size for path in tmp_path.glob("out/*.png")) / 3  # two of six are missing
    assert said == pytest.approx(pictures + sum(path.stat().st_size for path in tmp_path.rglob("*.mkv")), rel=0.2)


def size_of(folder: Path) -> int:
    """The bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize(("name", "video"), [("out", None), ("out.mkv", None), ("other", "out.mkv")])
def test_a_second_run_is_refused(tmp_path: Path, options: dict[str, bool], name: str, video: str | None) -> None:
    """Catches two runs that write between each other's frames, or one that removes those of the other."""
    first = OutputTarget(tmp_path / "out", tmp_path / "out.mkv") if video else OutputTarget(tmp_path / name)
    second = OutputTarget(tmp_path / name, video and tmp_path / video, overwrite=options.get("overwrite", False))
    with open_output(first, VideoSource(), names=None, description=DESCRIPTION) as output:
        output.write(FRAMES[0], None, {})
        with pytest.raises(InputError, match="expected to work alone, found another process at work"):
            write(second, resume=options.get("resume", False))
        for frame in FRAMES[1:]:
            output.write(frame, None, {})
        output.finish({})
    assert len(list(open_frames(first.path))) == len(FRAMES)


@pytest.mark.parametrize(
    "error", [NotImplementedError("FileSystem does not appear to support flock"), OSError(37, "No locks")]
)
def test_a_disk_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """Catches a network disk that nothing can be restored to, and one where two runs may meet without a word."""

    def acquire(self: object) -> None:
        raise error

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    write(OutputTarget(tmp_path / "out"))
    assert capsys.readouterr().err.count("no locks on this disk") == 1
    assert len(list(open_frames(tmp_path / "out"))) == len(FRAMES)
