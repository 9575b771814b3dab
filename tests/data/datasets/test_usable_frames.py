"""Tests of finding the usable frames of a data set: what is dropped, and how sequences are cut there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.datasets.usable_frames import Scan, consecutive_runs
from spikejax.errors import InputError
from spikejax.io.pictures import write_picture

MakeRoot = Callable[..., Path]


@pytest.mark.parametrize(
    ("numbers", "runs"),
    [
        ([], []),
        ([5], [(5,)]),
        ([0, 1, 2], [(0, 1, 2)]),
        ([0, 2, 3, 7], [(0,), (2, 3), (7,)]),
        ([3, 1, 2, -1], [(-1,), (1, 2, 3)]),
    ],
)
def test_runs_end_at_gaps(numbers: list[int], runs: list[tuple[int, ...]]) -> None:
    """Catches a clip across a gap, a frame that is lost beside one, and an order that is not that of the numbers."""
    assert list(consecutive_runs({number: number for number in numbers})) == runs


def scan(root: Path, *, frames: int = 1, spikes: bool = True, smallest_side: int = 1) -> Scan:
    """The training split."""
    return Scan(root, "train", frames=frames, spikes=spikes, smallest_side=smallest_side)


def test_a_whole_split(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches frames, sizes or names that are not those of the files."""
    found = scan(make_root(tmp_path, lengths=(4, 2), ratio=2))
    assert [(run.name, run.stems, run.ratio) for run in found.runs] == [
        ("s00", tuple(f"{n:06d}" for n in range(4)), 2),
        ("s01", ("000000", "000001"), 2),
    ]
    run = found.runs[0]
    assert (run.height, run.width, found.dropped) == (16, 24, [])
    assert [frame.number for frame in run.frames] == [0, 1, 2, 3]
    assert run.arrays.blur is run.arrays.sharp is run.arrays.voxels is None


@pytest.mark.parametrize("part", ["sharp", "spike"])
def test_a_missing_file_cuts_a_sequence(make_root: MakeRoot, tmp_path: Path, part: str) -> None:
    """Catches a frame without its partner in a clip, and one that is dropped without a reason."""
    root = make_root(tmp_path, lengths=(5,))
    (lost,) = (root / "train" / "s00" / part).glob("000001.*")
    lost.unlink()
    found = scan(root, frames=2)
    assert [(run.name, run.stems) for run in found.runs] == [("s00@000002", ("000002", "000003", "000004"))]
    missing, short = found.dropped
    assert (missing.sequence, missing.frame) == ("s00", "000001") and str(lost) in missing.reason
    assert (short.frame, short.reason) == ("000000", "1 consecutive usable frames from here, fewer than 2")
    assert len(scan(root, frames=2, spikes=False).dropped) == (2 if part == "sharp" else 0)


def test_pictures_that_disagree_or_are_too_small(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches sequences that fail in the middle of a training because of their size."""
    root = make_root(tmp_path, lengths=(2, 2))
    for stem in ("000000", "000001"):
        write_picture(root / "train/s01/sharp" / f"{stem}.png", np.zeros((8, 8, 3), np.uint8))
    found = scan(root)
    assert [run.name for run in found.runs] == ["s00"]
    assert found.dropped[0].reason == "blurry pictures of 16x24, sharp ones of 8x8"
    with pytest.raises(InputError, match=r"found none in .*: 2 dropped, the first \(s00, \*\) because: short side 16"):
        scan(root, smallest_side=17)


def test_unfinished_and_empty_data_sets(make_root: MakeRoot, tmp_path: Path) -> None:
    """Catches a training on the half of a data set that an interrupted preparation has left."""
    root = make_root(tmp_path / "root")
    (root / "UNFINISHED").touch()
    with pytest.raises(InputError, match="preparation was interrupted"):
        scan(root)
    with pytest.raises(InputError, match="expected sequences as .*train/SEQUENCE/blur, found none"):
        scan(tmp_path / "nowhere")
