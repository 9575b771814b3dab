"""Tests of contact sheets and videos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.spikes.stream_files import write_dat
from spikejax.errors import InputError
from spikejax.io.frame_source import open_frames
from spikejax.io.pictures import read_picture, write_picture
from spikejax.view import build_parser, main
from tests.reports.conftest import root as root


def name_of(split: Path) -> str:
    """Its first sequence."""
    return sorted(folder.name for folder in split.iterdir() if folder.is_dir())[0]


def view(*options: str | Path | Sequence[str]) -> None:
    """Calls the entry point."""
    main([str(option) for option in options])


def test_sheets_and_videos(root: Path, tmp_path: Path) -> None:
    """Catches outputs that are not written, of another size, or that destroy what is there."""
    name = name_of(root / "train")
    recon = tmp_path / "recon"
    recon.mkdir()
    for number in range(3):
        write_picture(recon / f"00000{number}.png", np.full((64, 80, 3), 9, np.uint8))
    sheet = tmp_path / "sheet.png"
    view("--input", root, "--sequence", name, "--recon", recon, "--output", sheet)
    picture = read_picture(sheet)
    assert picture.shape[1] == 6 + 7 * 86 and picture.shape[0] % 3 == 0
    assert (picture == 9).all(axis=-1).sum() >= 3 * 64 * 80
    view("--input", root, "--output", tmp_path / "all.png", "--panel-width", "40")
    assert read_picture(tmp_path / "all.png").shape[0] % 3 == 0
    video = tmp_path / "walk.mp4"
    view("--input", root / "train" / name, "--output", video, "--panel-width", "40")
    assert open_frames(video).count == 3
    with pytest.raises(InputError, match=r"exists already.*walk\.mp4"):
        view("--input", root / "train" / name, "--output", video)
    stream = tmp_path / "a.dat"
    write_dat(stream, np.ones((40, 8, 16), np.uint8))
    view("--input", stream, "--spike-size", "8x16", "--half-width", "4", "--output", tmp_path / "a.mp4")
    assert open_frames(tmp_path / "a.mp4").count == 32


def test_bad_input_is_one_line(root: Path, tmp_path: Path) -> None:
    """Catches tracebacks, and half-written outputs."""
    cut = tmp_path / "cut.dat"
    cut.write_bytes(bytes(17))
    empty = tmp_path / "recon"
    empty.mkdir()
    write_picture(empty / "other.png", np.zeros((8, 8, 3), np.uint8))
    name = name_of(root / "val")
    output = tmp_path / "out.png"
    for message, options in {
        "whole number of spike frames": ["--input", cut, "--spike-size", "8,16"],
        "--spike-size": ["--input", cut],
        "found none": ["--input", tmp_path / "absent.dat", "--spike-size", "8,16"],
        "expected a data set": ["--input", tmp_path / "absent"],
        "train or val": ["--input", tmp_path],
        "found no 'absent'": ["--input", root, "--sequence", "absent"],
        "restored picture 000000": ["--input", root, "--sequence", name, "--recon", empty],
        "one sequence .* for --recon": ["--input", root, "--recon", empty],
    }.items():
        with pytest.raises(InputError, match=message):
            view(*options, "--output", output)
    with pytest.raises(InputError, match="one sequence for a video"):
        view("--input", root, "--output", tmp_path / "out.mp4")
    with pytest.raises(InputError, match="found .*out.txt"):
        view("--input", root, "--output", tmp_path / "out.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.dat", "recon"]


@pytest.mark.parametrize(
    ("option", "needed"),
    [
        (["--half-width", "16"], "a file of spikes"),
        (["--spike-size", "8x16"], "a file of spikes"),
        (["--flip-spikes"], "a file of spikes"),
        (["--sequence", "s"], "a data set"),
        (["--recon", "r"], "a data set"),
        (["--fps", "10"], "a video"),
    ],
)
def test_an_option_without_effect_is_refused(option: list[str], needed: str, root: Path, tmp_path: Path) -> None:
    """Catches an option, also a new one or one with its default's value, that is accepted and does nothing."""
    stream = tmp_path / "a.dat"
    write_dat(stream, np.ones((40, 8, 16), np.uint8))
    source = stream if needed == "a data set" else root
    size = ["--spike-size", "8x16"] if source == stream else []
    with pytest.raises(InputError, match=f"expected {needed}, as --.*put, with {option[0]}, found none"):
        view("--input", source, *size, *option, "--output", tmp_path / "out.png")
    always = {"--help", "--input", "--output", "--frames", "--panel-width", "--overwrite", "--progress"}
    always |= {"--quiet", "--verbose"}
    tested = {"--half-width", "--spike-size", "--flip-spikes", "--sequence", "--recon", "--fps"}
    assert {action.option_strings[-1] for action in build_parser()._actions} == always | tested


def test_a_sequence_of_a_sequence_is_refused(root: Path, tmp_path: Path) -> None:
    """Catches a name that is overruled by the folder's."""
    folder = root / "train" / name_of(root / "train")
    with pytest.raises(InputError, match="expected a data set with --sequence, found a sequence: "):
        view("--input", folder, "--sequence", "other", "--output", tmp_path / "out.png")
