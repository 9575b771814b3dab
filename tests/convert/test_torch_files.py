"""Files of torch.save: what PyTorch wrote is read, and what is not whole is refused."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from convert.array_files import read_arrays, write_arrays
from spikejax.errors import InputError
from tests.convert.arrays import EXPECTED, FILES, assert_same


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
