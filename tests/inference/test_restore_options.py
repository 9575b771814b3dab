"""What restoring is asked to do: what fits together, and what a run that resumes must share."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from spikejax.errors import InputError
from spikejax.inference.restore_options import AutoTile, RestoreOptions
from spikejax.inference.tiling import Extent

PLAIN = RestoreOptions(network="n", input="in", output="out")
# Every option with another value than PLAIN's, and whether a run that resumes may have it.
OTHER: dict[str, tuple[Any, bool]] = {
    "network": ("m", True),  # what counts is its parameters' checksum, which is described beside the options
    "input": ("in2", False),
    "output": ("out2", True),
    "video": ("a.mkv", False),
    "spikes": ("s", False),
    "spike_windows": ("w.csv", False),
    "spike_size": ((4, 8), False),
    "sharp": ("sharp", False),
    "metrics": (("psnr",), False),
    "overwrite": (True, True),
    "resume": (True, True),
    "tile": (Extent(4, 24, 32), False),
    "overlap": (Extent(1, 8, 8), False),
    "sigma": (3.0, False),
    "rate": (2, False),
    "ensemble": ("flips", False),
    "dtype": ("bfloat16", False),
    "codec": ("ffv1", False),
    "quality": (3, False),
    "pixel_format": ("yuv444p", False),
    "devices": (2, True),
    "space": (2, False),
    "compile_cache": ("c", True),
    "trust_code": (True, True),
}


def test_what_a_resumed_run_must_share() -> None:
    """Catches an option, also one that is new, with which frames of two different runs would meet in one output."""
    apart = {"lpips", "memory"}  # which need other options
    assert OTHER.keys() | apart == {field.name for field in dataclasses.fields(RestoreOptions)}
    for name, (value, free) in OTHER.items():
        assert (dataclasses.replace(PLAIN, **{name: value}).decisive == PLAIN.decisive) == free, name
    sharp = dataclasses.replace(PLAIN, sharp="sharp")
    assert dataclasses.replace(sharp, lpips="l").decisive != sharp.decisive
    auto = dataclasses.replace(PLAIN, tile=AutoTile())
    assert dataclasses.replace(auto, memory=2**30).decisive == auto.decisive
    assert dataclasses.replace(PLAIN, tile=AutoTile(6)).decisive["tile"] == "6,auto"
    two, four = (dataclasses.replace(PLAIN, space=count) for count in (2, 4))
    assert two.decisive == four.decisive


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overwrite": True, "resume": True}, "--overwrite .* or --resume .*, found both"),
        ({"lpips": "a.safetensors"}, "expected --sharp"),
        ({"memory": 2**31}, "expected --tile auto with --memory"),
        ({"memory": 2**31, "tile": Extent(4, 24, 32)}, "expected --tile auto with --memory"),
        ({"tile": Extent(4, 24, 32), "overlap": Extent(1, 24, 8)}, "smaller than --tile 4,24,32, found 1,24,8"),
        ({"codec": "gif"}, "--codec: expected one of h264"),
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
    options = dataclasses.replace(PLAIN, **{"sharp": "sharp"} | {name: str(source)})
    options.check_apart()
    for output in (source, tmp_path / "data"):
        for changes in ({"output": str(output)}, {"video": str(output)}):
            with pytest.raises(InputError, match="expected an output apart from what is read"):
                dataclasses.replace(options, **changes).check_apart()
    dataclasses.replace(options, output=str(source / "inside")).check_apart()
