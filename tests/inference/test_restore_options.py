"""What restoring is asked to do: what fits together, and what a run that resumes must share."""

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from spikejax.errors import InputError
from spikejax.inference.restore_options import RestoreOptions
from spikejax.inference.tiling import AutoTile, Extent
from spikejax.io.positions import Position
from spikejax.quality.metrics import OF_FRAMES

PLAIN = RestoreOptions(network="n", input="in", output="out")
# What some options have to have beside them.
NEEDED: dict[str, dict[str, Any]] = {
    "spike_windows": {"spikes": "s"},
    "spike_size": {"spikes": "s"},
    "flip_spikes": {"spikes": "s"},
    "metrics": {"sharp": "sharp"},
    "lpips": {"sharp": "sharp"},
    "memory": {"tile": AutoTile()},
    "codec": {"video": "a.mkv"},
    "quality": {"video": "a.mkv"},
    "pixel_format": {"video": "a.mkv"},
    "fps": {"video": "a.mkv"},
    "raw_size": {"input": "-"},
    "raw_format": {"input": "-", "raw_size": (4, 8)},
    "format": {"output": "-"},
}
# Every option with another value than PLAIN's, and whether a run that resumes may have it.
OTHER: dict[str, tuple[Any, bool]] = {
    "network": ("m", True),  # what counts is its parameters' checksum, which is described beside the options
    "input": ("in2", False),
    "output": ("out2", True),
    "video": ("a.mkv", False),
    "spikes": ("s", False),
    "spike_windows": ("w.csv", False),
    "spike_size": ((4, 8), False),
    "flip_spikes": (True, False),
    "sharp": ("sharp", False),
    "metrics": (("psnr",), False),
    "lpips": ("l", False),
    "overwrite": (True, True),
    "resume": (True, True),
    "tile": (Extent(4, 24, 32), False),
    "overlap": (Extent(1, 8, 8), False),
    "memory": (2**30, True),
    "sigma": (3.0, False),
    "times": (2, False),
    "start": (Position(frame=2), False),
    "end": (Position(frame=9), False),
    "fps": (Fraction(24), False),
    "precision": ("high", False),
    "statistics": ("statistics.json", False),
    "ensemble": ("flips", False),
    "dtype": ("bfloat16", False),
    "protocol": ("published", False),
    "codec": ("ffv1", False),
    "quality": (3, False),
    "pixel_format": ("yuv444p", False),
    "devices": (2, True),
    "space": (2, False),
    "stream": (1, False),
    "deinterlace": ("kept", False),
    "as_progressive": (True, False),
    "resize_changes": (True, True),
    "raw_size": ((4, 8), False),
    "raw_format": ("nv12", False),
    "format": ("raw", False),
    "compile_cache": ("c", True),
    "trust_code": (True, True),
}


def test_what_a_resumed_run_must_share() -> None:
    """Catches an option, also one that is new, with which frames of two different runs would meet in one output."""
    assert OTHER.keys() == {field.name for field in dataclasses.fields(RestoreOptions)}
    for name, (value, free) in OTHER.items():
        before = dataclasses.replace(PLAIN, **NEEDED.get(name, {}))
        assert (dataclasses.replace(before, **{name: value}).decisive == before.decisive) == free, name
    assert dataclasses.replace(PLAIN, tile=AutoTile(6)).decisive["tile"] == "6,auto"
    two, four = (dataclasses.replace(PLAIN, space=count) for count in (2, 4))
    assert two.decisive == four.decisive
    usual = dataclasses.replace(PLAIN, video="a.mkv", sharp="sharp")
    assert dataclasses.replace(usual, codec="h264", metrics=OF_FRAMES).decisive == usual.decisive


@pytest.mark.parametrize("name", OTHER)
def test_an_option_without_effect_is_refused(name: str) -> None:
    """Catches an option that is accepted and does nothing, and one that is refused though nothing is missing."""
    value, _ = OTHER[name]
    if name in NEEDED:
        with pytest.raises(InputError, match=f"expected .* with --{name.replace('_', '-')}, found none"):
            dataclasses.replace(PLAIN, **{name: value})
    dataclasses.replace(PLAIN, **NEEDED.get(name, {}) | {name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overwrite": True, "resume": True}, "--overwrite .* or --resume .*, found both"),
        ({"lpips": "a.safetensors"}, "expected --sharp.* with --lpips"),
        ({"memory": 2**31}, "expected --tile auto, .* with --memory"),
        ({"memory": 2**31, "tile": Extent(4, 24, 32)}, "expected --tile auto, .* with --memory"),
        ({"tile": Extent(4, 24, 32), "overlap": Extent(1, 24, 8)}, "smaller than --tile 4,24,32, found 1,24,8"),
        ({"codec": "gif", "output": "a.mkv"}, "--codec: expected one of h264"),
        ({"metrics": ("psnr",), "sharp": "sharp", "lpips": "l"}, "expected lpips among --metrics with --lpips, found"),
        ({"space": 2, "tile": Extent(4, 24, 0)}, "expected --tile FRAMES,0,0 with --space, .*, found 4,24,0"),
        ({"space": 2, "tile": AutoTile(4)}, "expected --tile FRAMES,0,0 with --space, .*, found 4,auto"),
        ({"space": 2, "overlap": Extent(1, 0, 8)}, "expected --overlap FRAMES,0,0 with --space, .*, found 1,0,8"),
    ],
)
def test_options_that_do_not_fit_together(changes: dict[str, Any], message: str) -> None:
    """Catches an overlap with which tiling never ends, a limit that nothing keeps, a mistake that shows after hours."""
    with pytest.raises(InputError, match=message):
        dataclasses.replace(PLAIN, **changes)


def test_a_tile_of_all_there_are_takes_any_overlap() -> None:
    """Catches a 0, which stands for the whole frame, compared as if it were a number."""
    assert dataclasses.replace(PLAIN, tile=Extent(4, 0, 0), overlap=Extent(1, 24, 8)).overlap == Extent(1, 24, 8)


@pytest.mark.parametrize("name", ["input", "spikes", "sharp", "network", "lpips", "spike_windows"])
def test_what_is_read_is_not_written_to(tmp_path: Path, name: str) -> None:
    """Catches an output that is, or contains, what the run reads: --overwrite would destroy it."""
    source = tmp_path / "data" / "source"
    options = dataclasses.replace(PLAIN, **NEEDED.get(name, {}) | {name: str(source)})
    options.check_apart()
    for output in (source, tmp_path / "data"):
        for changes in ({"output": str(output)}, {"video": str(output)}):
            with pytest.raises(InputError, match="expected an output apart from what is read"):
                dataclasses.replace(options, **changes).check_apart()
    dataclasses.replace(options, output=str(source / "inside")).check_apart()
