"""Files of arrays: every format, and files that are not what they should be."""

import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from convert.array_files import read_all, read_arrays, write_arrays
from spikejax.errors import InputError
from tests.convert.arrays import FILES, SMALL, assert_same
from tests.io.test_weights import LIES


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors", ".npz"])
def test_written_files_are_read(tmp_path: Path, suffix: str) -> None:
    """Catches a writer and a reader that disagree, and arrays written in the order of their memory."""
    path = tmp_path / f"weights{suffix}"
    write_arrays(path, SMALL)
    found = read_arrays(path)
    assert_same({key: found[key] for key in SMALL}, SMALL)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_written_dtypes(tmp_path: Path, dtype: type, suffix: str) -> None:
    """Catches a dtype that a format stores as another one."""
    arrays = {"a": np.arange(4).astype(dtype)}
    write_arrays(tmp_path / f"a{suffix}", arrays)
    assert_same(read_arrays(tmp_path / f"a{suffix}"), arrays)


@pytest.mark.parametrize("wrapper", ["params", "params_ema", "state_dict", "model"])
def test_wrapped(tmp_path: Path, wrapper: str) -> None:
    """Catches a wrapper that stays in the keys."""
    write_arrays(tmp_path / "a.pth", SMALL, wrapper=wrapper)
    assert_same(read_arrays(tmp_path / "a.pth"), SMALL)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "arrays.npz", "arrays.safetensors", "arrays.ckpt"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.999])
def test_truncated(tmp_path: Path, name: str, part: float) -> None:
    """Catches a file that was cut off anywhere and is read all the same, or ends in a traceback."""
    path = tmp_path / name
    if name.startswith("arrays"):
        arrays = {key: SMALL[key] for key in ("a.weight", "b")}
        if name == "arrays.ckpt":
            path.write_bytes(pickle.dumps(arrays, protocol=3))
        else:
            write_arrays(path, arrays)
    else:
        path.write_bytes((FILES / name).read_bytes())
    assert read_arrays(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(InputError, match=str(path)):
        for array in read_arrays(path).values():
            np.asarray(array)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "an empty one"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "found something else"),
        (b"hello, this is text", "found something else"),
        (pickle.dumps([1, 2], protocol=2), "expected a dict of arrays, found a list"),
        (pickle.dumps({"epoch": 3, "best": {"psnr": 1.0}}, protocol=2), "no arrays in it, but a dict of epoch, best"),
        (
            pickle.dumps({"a": np.array(["text"], dtype=object)}, protocol=2),
            "no arrays in it, but a, which needs an array of O8 ",
        ),
    ],
    ids=["empty", "picture", "text", "list", "numbers", "objects"],
)
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, told: str) -> None:
    """Catches a traceback, or a message that does not say what was found."""
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        read_arrays(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [name for name in LIES if name != "a deep description"])
def test_safetensors_that_lie(tmp_path: Path, name: str) -> None:
    """Catches offsets that reach over each other or out of the file, here as where our own weights are read."""
    path = tmp_path / "a.pth"
    path.write_bytes(LIES[name])
    with pytest.raises(InputError, match=f": {path}"):
        for array in read_arrays(path).values():
            np.asarray(array)


def test_npz_of_objects(tmp_path: Path) -> None:
    """Catches an archive of arrays that is unpickled, or read beyond what it claims."""
    np.savez(tmp_path / "a.npz", a=np.array([{"a": print}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"expected arrays of numbers, found a.npy of object: .*a.npz"):
        read_arrays(tmp_path / "a.npz")
    header = np.lib.format.magic(1, 0) + (70).to_bytes(2, "little")
    header += b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000,), }".ljust(70)
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("b.npy", header + bytes(16))
    with pytest.raises(InputError, match=r"b.npy has shape \(10000000000,\) in 96 bytes.*b.npz"):
        read_arrays(tmp_path / "b.npz")


def test_an_archive_with_a_file_twice(tmp_path: Path) -> None:
    """Catches a file whose checker and whose reader see another one of two entries."""
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for _ in range(2):
            archive.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(InputError, match="expected every file once in the archive, found one twice: .*a.pth"):
        read_arrays(tmp_path / "a.pth")


def test_nothing_there(tmp_path: Path) -> None:
    """Catches a traceback for a mistyped name and for a folder."""
    with pytest.raises(InputError, match="found nothing: .*weights.pth"):
        read_arrays(tmp_path / "weights.pth")
    with pytest.raises(InputError, match="Is a directory"):
        read_arrays(tmp_path)


def test_several_files(tmp_path: Path) -> None:
    """Catches a file that silently replaces another one's arrays."""
    for name, keys in (("one", "ab"), ("two", "cd"), ("three", "be")):
        save_file({key: np.zeros(1) for key in keys}, tmp_path / f"{name}.safetensors")
    one, two, three = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "three"))
    assert set(read_all([one, two]).arrays) == set("abcd")
    with pytest.raises(InputError, match="than in the files before it, found b: .*three.safetensors"):
        read_all([one, two, three])
