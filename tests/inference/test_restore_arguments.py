"""The command line of restoring."""

from fractions import Fraction
from typing import Any

import pytest

from spikejax.inference.restore_arguments import parse_options
from spikejax.inference.restore_options import RestoreOptions
from spikejax.inference.tiling import AutoTile, Extent

PATHS = ["--network", "n", "--input", "in", "--output", "out"]


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["--tile", "40", "128", "128"], {"tile": Extent(40, 128, 128)}),
        (["--tile", "40,0,0", "--overlap", "2,20,20"], {"tile": Extent(40, 0, 0), "overlap": Extent(2, 20, 20)}),
        (["--tile", "auto", "--memory", "6G"], {"tile": AutoTile(), "memory": 6 * 2**30}),
        (["--tile", "12,auto"], {"tile": AutoTile(12)}),
        (["--tile", "12", "auto"], {"tile": AutoTile(12)}),
        (["--spikes", "s", "--spike-size", "250x400"], {"spikes": "s", "spike_size": (250, 400)}),
        (["--spikes", "s", "--flip-spikes"], {"spikes": "s", "flip_spikes": True}),
        (["--sharp", "s", "--metrics", "psnr", "ssim"], {"sharp": "s", "metrics": ("psnr", "ssim")}),
        (["--sigma", "12.5", "--times", "4", "--space", "2"], {"sigma": 12.5, "times": 4, "space": 2}),
        (["--video", "v.mkv", "--fps", "30000/1001"], {"video": "v.mkv", "fps": Fraction(30000, 1001)}),
    ],
)  # fmt: skip
def test_options(words: list[str], changes: dict[str, Any]) -> None:
    """Catches an option that does not arrive, or that changes another one."""
    (options,), hosts = parse_options([*PATHS, *words, "--num-processes", "1"])
    assert options == RestoreOptions("n", "in", "out", **changes)
    assert hosts.num_processes == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile", "4,24"], "--tile: expected FRAMES,HEIGHT,WIDTH"),
        (["--tile", "auto,12"], "--tile: expected FRAMES,HEIGHT,WIDTH"),
        (["--overlap", "1,24,8", "--tile", "4,24,32"], "expected an --overlap smaller than --tile 4,24,32"),
        (["--spike-size", "a,b"], "--spike-size: expected HEIGHTxWIDTH"),
        (["--memory", "2G"], "expected --tile auto, which chooses a tile that fits, with --memory"),
        (["--tile", "auto", "--memory", "2"], "--memory: expected a number of MiB or GiB"),
        (["--lpips", "a"], "expected --sharp"),
        (["--fps", "24"], "expected a video, as --output or --video, or a pipe, with --fps"),
        (["--video", "a.mkv", "--fps", "0"], "--fps: expected frames a second"),
        (["--devices", "2", "--space", "2"], "not allowed with"),
        (["--video", "a.mkv", "--codec", "gif"], "--codec: expected one of"),
    ],
)
def test_options_that_make_no_sense(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a tile of two numbers, an overlap with which tiling never ends, and a limit that nothing keeps."""
    with pytest.raises(SystemExit) as ended:
        parse_options([*PATHS, *words])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_several_inputs() -> None:
    """Catches a name that is put into one option alone, and a path without it that changes."""
    words = ["-i", "films/a.mp4", "b.mov", "-o", "out/{name}.mkv", "--spikes", "{name}.dat", "--sharp", "sharp"]
    several, _ = parse_options(["--network", "n", *words])
    assert several == [
        RestoreOptions("n", "films/a.mp4", "out/a.mkv", spikes="a.dat", sharp="sharp"),
        RestoreOptions("n", "b.mov", "out/b.mkv", spikes="b.dat", sharp="sharp"),
    ]
    (one,), _ = parse_options(["--network", "n", "-i", "films/a.mp4", "-o", "out/{name}"])
    assert one.output == "out/a"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-i", "a.mp4", "b.mp4", "-o", "out"], "expected {name} in --output with several inputs"),
        (
            ["-i", "x/a.mp4", "y/a.mov", "-o", "{name}.mkv"],
            "expected inputs of different names, found x/a.mp4 and y/a.mov",
        ),
    ],
)
def test_inputs_that_would_share_an_output(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a film that replaces the one restored before it."""
    with pytest.raises(SystemExit):
        parse_options(["--network", "n", *words])
    assert message in capsys.readouterr().err
