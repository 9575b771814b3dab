"""Tests of who says how large spikes are: the nearest config.yaml, else the user; nobody guesses."""

import os
from pathlib import Path

import numpy as np
import pytest

from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import (
    StreamConfig,
    StreamSize,
    find_stream_size,
    nearest_config,
    read_config,
    size_notes,
    write_config,
)
from spikejax.errors import InputError
from spikejax.io.bucket_listing import listed
from tests.fake_bucket import FakeBucket


def test_config_says_the_size(tmp_path: Path) -> None:
    """Catches height and width exchanged, and configs that are accepted without them."""
    write_config(tmp_path, StreamConfig(height=6, width=8, filename="stream.dat"))
    assert read_config(tmp_path) == StreamConfig(6, 8, "stream.dat")
    size = "spike_h: 6\nspike_w: 8"
    for text in (
        "spike_h: 6",
        "spike_h: 6\nspike_w: wide",
        "- 1",
        "a: [",
        "spike_h: 0\nspike_w: 8",
        f"{size}\nfilename: 3",
    ):
        (tmp_path / "config.yaml").write_text(text)
        for ask in (read_config, nearest_config):
            with pytest.raises(InputError, match=r"config\.yaml"):
                ask(tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(InputError, match="found none"):
        read_config(tmp_path)


def test_the_nearest_config_counts(tmp_path: Path) -> None:
    """Catches a folder above that is not looked at, a farther one that is, and a name that is another folder's file."""
    stream = tmp_path / "set" / "test" / "s" / "spike" / "0.dat"
    write_dat(stream, np.ones((4, 8, 8), np.uint8))
    write_config(tmp_path, StreamConfig(2, 4, "far.dat"))
    assert find_stream_size(stream) == StreamSize(2, 4, str(tmp_path / "config.yaml"))
    write_config(tmp_path / "set" / "test", StreamConfig(4, 4))
    assert find_stream_size(stream).shape == find_stream_size(stream.parent).shape == (4, 4)
    write_config(stream.parent, StreamConfig(8, 8, "near.dat"))
    assert find_stream_size(stream) == StreamSize(8, 8, str(stream.parent / "config.yaml"), "near.dat")


@pytest.mark.parametrize("text", ["a: [", "data: {root: here}", "- 1", "", "\x00\xff"])
def test_config_files_of_other_programs_are_passed_over(tmp_path: Path, text: str) -> None:
    """Catches a training's configuration in a folder above that stops every command, or hides the right one."""
    folder = tmp_path / "project" / "spike"
    folder.mkdir(parents=True)
    (tmp_path / "project" / "config.yaml").write_text(text, encoding="latin-1")
    assert nearest_config(folder) is None
    write_config(tmp_path, StreamConfig(4, 8))
    assert find_stream_size(folder).shape == (4, 8)
    (tmp_path / "project" / "config.yaml").write_text("spike_h: 4")
    with pytest.raises(InputError, match=r"expected spike_w to be a positive whole number, found None: .*project"):
        find_stream_size(folder)


def test_links_lead_to_the_folders_above_their_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a folder that is linked out of a data set, or named from within, and loses the data set's size."""
    (tmp_path / "set" / "spike").mkdir(parents=True)
    write_config(tmp_path / "set", StreamConfig(4, 8))
    (tmp_path / "own").mkdir()
    os.symlink(tmp_path / "set" / "spike", tmp_path / "own" / "spike")
    assert find_stream_size(tmp_path / "own" / "spike").shape == (4, 8)
    write_config(tmp_path / "own", StreamConfig(8, 8))
    assert find_stream_size(tmp_path / "own" / "spike").shape == (8, 8)
    monkeypatch.chdir(tmp_path / "set" / "spike")
    assert find_stream_size(Path(".")).shape == (4, 8)


def test_two_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """Catches an option that is passed over without a word, or one that overrules the data."""
    write_config(tmp_path, StreamConfig(4, 8))
    assert find_stream_size(tmp_path, given=(4, 8)).shape == (4, 8)
    with pytest.raises(InputError, match=r"expected --size 4x8, as config\.yaml says .*, found 8x4: .*config\.yaml"):
        find_stream_size(tmp_path, given=(8, 4), option="--size")


def test_a_refusal_names_the_sizes_that_divide(tmp_path: Path) -> None:
    """Catches a guess; sizes that do not divide, padded cameras left out, a folder's files not looked at."""
    path = tmp_path / "a.dat"
    path.write_bytes(bytes(56 * 360 * 640 // 8))
    with pytest.raises(InputError) as caught:
        find_stream_size(path, option="--spike-size", pictures=(720, 1280))
    message = str(caught.value)
    assert message.startswith(
        "expected the size of the spikes (--spike-size HEIGHTxWIDTH, or a config.yaml with spike_h "
    )
    assert "1612800 bytes are 14 frames of 720x1280 or 56 frames of 360x640 or 224 frames of 180x320" in message
    assert "256x256" not in message and message.endswith(f": {path}")
    path.write_bytes(bytes(250 * 416 // 8))
    with pytest.raises(InputError, match=r"\(a config\.yaml .*13000 bytes are 1 frame of 250x400\): "):
        find_stream_size(tmp_path)
    path.write_bytes(bytes(7))
    with pytest.raises(InputError, match=r"found none \(7 bytes\): "):
        find_stream_size(path)
    path.unlink()
    with pytest.raises(InputError, match=f"found none: {tmp_path}"):
        find_stream_size(tmp_path)
    assert find_stream_size(tmp_path, otherwise=StreamSize(1, 8, "the name")).shape == (1, 8)


def test_sizes_of_many_sequences_are_said_once(tmp_path: Path) -> None:
    """Catches a line for each of a thousand sequences, and one size of several that is not said."""
    sizes = [StreamSize(4, 8, "a"), StreamSize(4, 8, "a"), StreamSize(2, 2, "b"), StreamSize(4, 8, "c")]
    assert size_notes(sizes) == (
        "spikes of 4x8 (height x width), as a and 1 more say",
        "spikes of 2x2 (height x width), as b says",
    )
    assert sizes[0].note == "spikes of 4x8 (height x width), as a says"


def test_buckets(bucket: FakeBucket) -> None:
    """Catches a config.yaml above a split, which is not among the files that were listed, left out of account."""
    stream = bucket.folder / "set" / "train" / "s" / "spike" / "0.dat"
    write_dat(stream, np.ones((4, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"found none \(32 bytes.*: gs://bucket/set/train/s/spike"):
        find_stream_size(listed("gs://bucket/set/train") / "s" / "spike")
    write_config(bucket.folder / "set", StreamConfig(8, 8))
    found = find_stream_size(listed("gs://bucket/set/train") / "s" / "spike")
    assert found == StreamSize(8, 8, "gs://bucket/set/config.yaml")
    write_config(bucket.folder / "set" / "train", StreamConfig(4, 8))
    found = find_stream_size(listed("gs://bucket/set/train") / "s" / "spike")
    assert found == StreamSize(4, 8, "gs://bucket/set/train/config.yaml")
