"""Tests of streams in files of any kind."""

from pathlib import Path

import numpy as np
import pytest

from spikejax.data.spikes.any_stream import read_spikes, size_of
from spikejax.data.spikes.stream_files import write_dat
from spikejax.data.spikes.stream_size import StreamConfig, write_config
from spikejax.errors import InputError
from tests.data.spikes.test_stream_files import random_spikes


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_numpy_files(tmp_path: Path, kind: type) -> None:
    """Catches arrays that are flipped as if they were `.dat`, and types that are not converted."""
    spikes = random_spikes(3, 4, 5)
    np.save(tmp_path / "a.npy", spikes.astype(kind))
    np.savez_compressed(tmp_path / "a.npz", spikes.astype(kind))
    for name in ("a.npy", "a.npz"):
        read = read_spikes(tmp_path / name, height=4, width=5)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, spikes)
        turned = read_spikes(tmp_path / name, upside_down=True)
        np.testing.assert_array_equal(turned, spikes[:, ::-1])
        assert size_of(tmp_path / name).shape == (4, 5)


def test_bad_numpy_files(tmp_path: Path) -> None:
    """Catches other sizes, other values, several arrays and damage that pass silently or end in a traceback."""
    np.save(tmp_path / "size.npy", random_spikes(3, 4, 5))
    np.save(tmp_path / "flat.npy", random_spikes(4, 5))
    np.save(tmp_path / "values.npy", np.full((2, 4, 4), 3))
    np.savez(tmp_path / "two.npz", a=random_spikes(1, 2, 2), b=random_spikes(1, 2, 2))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut")
    (tmp_path / "a.txt").write_text("")
    for name, message in {
        "size.npy": "of 4x4, found 4x5",
        "flat.npy": r"\(steps, height, width\), found \(4, 5\)",
        "values.npy": "other values",
        "two.npz": r"one array of spikes, found 2 \(a, b\)",
        "text.npy": "damaged",
        "cut.npz": "damaged",
        "absent.npy": "found none",
        "a.txt": "found .txt",
    }.items():
        with pytest.raises(InputError, match=message + ".*" + name):
            read_spikes(tmp_path / name, height=4, width=4)
    with pytest.raises(InputError, match="expected height and width of the spikes, or neither, found 4 and None"):
        read_spikes(tmp_path / "size.npy", height=4)


def test_dat_files_are_read_at_the_size_that_config_says(tmp_path: Path) -> None:
    """Catches a size that is asked for although it is known, rows turned twice, and a size that is guessed."""
    spikes = random_spikes(2, 6, 8)
    write_dat(tmp_path / "stream.dat", spikes)
    with pytest.raises(InputError, match=r"expected the size of the spikes .*, found none .*stream\.dat"):
        read_spikes(tmp_path / "stream.dat")
    write_config(tmp_path, StreamConfig(6, 8))
    np.testing.assert_array_equal(read_spikes(tmp_path / "stream.dat"), spikes)
    np.testing.assert_array_equal(read_spikes(tmp_path / "stream.dat", upside_down=True), spikes[:, ::-1])
