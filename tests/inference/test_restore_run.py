"""A run from options to files; tests/test_restore.py has the whole command."""

import dataclasses
import errno
import json
from pathlib import Path

import jax
import pytest

from spikejax.errors import InputError
from spikejax.inference import restore_run
from spikejax.inference.restore_options import RestoreOptions
from spikejax.inference.restore_run import describe_run, make_job, restore_to_files
from spikejax.inference.tiling import AutoTile, Extent
from spikejax.io.contents import contents_of
from spikejax.io.frame_range import part_of
from spikejax.io.frame_source import FrameSource, open_frames
from spikejax.io.positions import Position
from tests.inference.small_input import BINS, FRAMES, HEIGHT, WIDTH, Brighten, restorer_of
from tests.io.test_video_structure import write_clip


def options_for(inputs: Path, **changes: object) -> RestoreOptions:
    """Restores the frames in `inputs` to the folder out."""
    options = RestoreOptions(network="n", input=str(inputs / "blur"), output=str(inputs / "out"))
    return dataclasses.replace(options, **changes)  # type: ignore[arg-type]


def frames_of(inputs: Path) -> FrameSource:
    """The blurred frames."""
    return open_frames(inputs / "blur", own_depth=True)


@pytest.mark.parametrize(
    ("changes", "tile", "auto"),
    [
        ({}, (4, 24, 32), False),
        ({"tile": Extent(3, 16, 16)}, (3, 16, 16), False),
        ({"tile": AutoTile()}, (4, 24, 32), True),
        ({"tile": AutoTile(6)}, (6, 24, 32), True),
        ({"space": 1}, (4, 0, 0), False),
        ({"space": 1, "tile": Extent(3, 0, 0)}, (3, 0, 0), False),
    ],
)
def test_tiles(inputs: Path, changes: dict[str, object], tile: tuple[int, int, int], auto: bool) -> None:
    """Catches an option that does not reach the network, and tiles in space where devices share whole frames."""
    options, restorer = options_for(inputs, **changes), restorer_of(Brighten(None))
    settings = make_job(options, restorer, frames_of(inputs), sharp=None, measures={}).settings
    assert (settings.tile, settings.auto) == (Extent(*tile), auto)
    assert settings.overlap == restorer.overlap_of(Extent(*tile))
    assert settings.devices is not None and settings.devices.space == ("space" in changes)


def test_spikes_belong_to_the_frames(inputs: Path) -> None:
    """Catches spikes that are not found, and those that a network does not take."""
    options = options_for(inputs, spikes=str(inputs / "spike"))
    job = make_job(options, restorer_of(Brighten(BINS)), frames_of(inputs), sharp=None, measures={})
    assert job.spikes is not None and job.spikes.shape == (HEIGHT, WIDTH, BINS)
    with pytest.raises(InputError, match="takes none"):
        make_job(options, restorer_of(Brighten(None)), frames_of(inputs), sharp=None, measures={})
    with pytest.raises(InputError, match="needs them"):
        make_job(options_for(inputs), restorer_of(Brighten(BINS)), frames_of(inputs), sharp=None, measures={})


def test_what_decides_a_run(inputs: Path) -> None:
    """Catches another network or another length of the input that goes on where this one stopped."""
    options, restorer = options_for(inputs), restorer_of(Brighten(None))
    description = json.loads(describe_run(options, restorer, frames_of(inputs)))
    assert description["size"] == f"{HEIGHT}x{WIDTH}, {FRAMES} frames"
    assert description["input"] == contents_of(options.input)
    other = restorer_of(Brighten(None))
    other.network.model.factor[...] *= 2  # type: ignore[attr-defined]
    assert json.loads(describe_run(options, other, frames_of(inputs)))["network"] != description["network"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 bytes.\nBuffers: ..."), r"--tile auto .*: .* 9 bytes\.$"),
        (OSError(errno.ENOSPC, "No space left on device"), "expected more room on the disk of .*out: No space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "expected more room on the disk"),
    ],
)
def test_what_stops_a_run_is_one_line(
    inputs: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """Catches pages of buffers, or a traceback, for what the user can mend."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(restore_run, "restore_job", fail)
    options, restorer = options_for(inputs), restorer_of(Brighten(None))
    job = make_job(options, restorer, frames_of(inputs), sharp=None, measures={})
    with pytest.raises(InputError, match=message):
        restore_to_files(options, options.target, restorer, job, describe_run(options, restorer, job.frames))
    assert not options.target.work.exists()


def test_a_size_that_changes_is_said_before_compiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a change that is said when the rest is left out, after hours, and said to those who have it resized."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(restore_run, "restore_job", fail)
    parts = [write_clip(tmp_path / f"{size[0]}.ts", size=size).read_bytes() for size in ((32, 48), (48, 64))]
    (tmp_path / "in.ts").write_bytes(b"".join(parts))
    restorer = restorer_of(Brighten(None))
    for resize_changes, part, said in (
        (False, {}, True),
        (True, {}, False),
        (False, {"end": Position(frame=5)}, False),
    ):
        changes = {"input": str(tmp_path / "in.ts"), "resize_changes": resize_changes} | part
        options = options_for(tmp_path, **changes)
        opened = open_frames(options.input, own_depth=True, reading=options.reading)
        frames = part_of(opened, options.start, options.end, rate=None)
        job = make_job(options, restorer, frames, sharp=None, measures={})
        with pytest.raises(InputError, match="No space left"):
            restore_to_files(options, options.target, restorer, job, describe_run(options, restorer, frames))
        error = capsys.readouterr().err
        assert ("on are 64x48 and not 48x32, and will be left out (--resize-changes" in error) == said


def test_a_run_is_known_by_what_it_reads(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches another film behind the same name that is taken for the first, and ./blur refused for blur."""
    monkeypatch.chdir(inputs)
    restorer = restorer_of(Brighten(None))

    def describe(path: str, **more: str) -> str:
        options = RestoreOptions(network="n", input=path, output="out", **more)
        return describe_run(options, restorer, frames_of(inputs))

    before = describe("blur", sharp="sharp", video="out.mkv")
    assert describe("./blur", sharp=str(inputs / "sharp"), video="./out.mkv") == before
    for name in ("sharp", "blur"):
        path = inputs / name / "000003.png"
        path.write_bytes(path.read_bytes() + b"0")
        after = describe("blur", sharp="sharp", video="out.mkv")
        assert after != before
        before = after
