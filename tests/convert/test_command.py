"""`python -m convert`: what it prints, what it writes, and what it refuses."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from convert.__main__ import main
from convert.array_files import read_arrays, write_arrays
from convert.convertible_networks import ConvertibleNetwork
from convert.transfer import MismatchError
from spikejax.cli import run
from spikejax.errors import InputError
from spikejax.io.weights import read_weights
from tests.convert.arrays import FILES, assert_same


@pytest.fixture
def theirs(tmp_path: Path, flow_weights: dict[str, np.ndarray]) -> Path:
    """A file of SpyNet, as its authors' program writes it."""
    write_arrays(tmp_path / "spynet.pth", flow_weights, wrapper="params")
    return tmp_path / "spynet.pth"


@pytest.mark.parametrize("ours", ["weights.safetensors", "weights"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_there_and_back(
    tmp_path: Path,
    theirs: Path,
    spynet: ConvertibleNetwork,
    flow_weights: dict[str, np.ndarray],
    ours: str,
    suffix: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Catches a bit that changes on the way, a buffer that is missing, and a command that does not say what it did."""
    again = tmp_path / f"again{suffix}"
    main(["to-jax", "--network", "auto", "--input", str(theirs), "--output", str(tmp_path / ours)])
    told = capsys.readouterr().out
    assert told.startswith("network: spynet\n")
    assert "1,440,300 parameters, float32" in told
    assert read_weights(tmp_path / ours).kind == "spynet"
    main(["to-torch", "--input", str(tmp_path / ours), "--output", str(again)])
    assert "62 arrays, 1,440,306 numbers" in capsys.readouterr().out
    found = read_arrays(again)
    assert_same({key: found[key] for key in flow_weights}, flow_weights)
    assert found.keys() - flow_weights.keys() == {"mean", "std"}


def test_dtype_and_wrapper(tmp_path: Path, theirs: Path) -> None:
    """Catches options that do nothing."""
    ours, again = tmp_path / "weights.safetensors", tmp_path / "again.pth"
    main(["to-jax", "--network", "spynet", "--input", str(theirs), "--output", str(ours)])
    main(["to-torch", "--input", str(ours), "--output", str(again), "--dtype", "bfloat16", "--wrap", "params"])
    assert b"params" in again.read_bytes()[:200]
    assert {str(array.dtype) for key, array in read_arrays(again).items() if key not in ("mean", "std")} == {"bfloat16"}
    with pytest.raises(InputError, match="--wrap: expected an output of the kind .pth or .pt, found "):
        main(["to-torch", "--input", str(ours), "--output", str(tmp_path / "a.npz"), "--wrap", "params"])


def test_outputs_are_kept(tmp_path: Path, theirs: Path, flow_weights: dict[str, np.ndarray]) -> None:
    """Catches weights overwritten without having been asked to, in either direction."""
    ours, again = tmp_path / "weights.safetensors", tmp_path / "again.pth"
    to_jax = ["to-jax", "--input", str(theirs), "--output", str(ours)]
    to_torch = ["to-torch", "--input", str(ours), "--output", str(again)]
    for command, output in ((to_jax, ours), (to_torch, again)):
        output.write_text("mine")
        with pytest.raises(InputError, match="exists already"):
            main(command)
        assert output.read_text() == "mine"
        main([*command, "--overwrite"])
    assert read_arrays(again).keys() > flow_weights.keys()


def test_nothing_is_written_for_weights_that_do_not_fit(
    tmp_path: Path,
    flow_weights: dict[str, np.ndarray],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Catches a half-filled network on disk, and a report without the file, or cut off."""
    path, output = tmp_path / "half.npz", tmp_path / "weights"
    write_arrays(path, dict(list(flow_weights.items())[::2]))
    arguments = ["to-jax", "--network", "spynet", "--input", str(path), "--output", str(output)]
    with pytest.raises(MismatchError, match="expected the weights of spynet, found 30 missing: .*half.npz"):
        main(arguments)
    monkeypatch.setattr("sys.argv", ["convert", *arguments])
    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert lines[0].startswith("spikejax: error: ")
    assert all(line.startswith("  basic_module.") for line in lines[1:19])
    more, _, rest = lines[19].partition(": ")
    assert more == "  and 12 more"
    every = Path(rest).read_text().splitlines()
    assert [f"  {line}" for line in every[1:19]] == lines[1:19]
    assert (len(every), f"spikejax: error: {every[0]}") == (31, lines[0])
    Path(rest).unlink()
    assert [file.name for file in tmp_path.iterdir()] == ["half.npz"]


def test_wrong_network(tmp_path: Path, theirs: Path) -> None:
    """Catches weights taken for what the command line says, and a name that does not exist."""
    with pytest.raises(MismatchError, match="expected the weights of vgg16, found 60 unexpected, 26 missing: "):
        main(["to-jax", "--network", "vgg16", "--input", str(theirs), "--output", str(tmp_path / "weights")])
    with pytest.raises(SystemExit) as caught:
        main(["to-jax", "--network", "010", "--input", str(theirs), "--output", str(tmp_path / "weights")])
    assert caught.value.code == 2
    assert not (tmp_path / "weights").exists()


@contextmanager
def no_rights() -> Iterator[None]:
    """The rights of nobody; root may write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_without_permission(flow_weights: dict[str, np.ndarray]) -> None:
    """Catches a traceback where nothing may be written."""
    with tempfile.TemporaryDirectory() as folder:
        path, closed = Path(folder) / "spynet.pth", Path(folder) / "closed"
        path.parent.chmod(0o755)
        closed.mkdir(mode=0o555)
        write_arrays(path, flow_weights)

        def convert(output: Path) -> None:
            main(["to-jax", "--network", "spynet", "--input", str(path), "--output", str(output)])

        for name in ("weights.safetensors", "weights"):
            # What is imported late is imported here: nobody may not read root's Python.
            convert(path.with_name(name))
            told = f"cannot write weights to {closed / name}: Permission denied"
            with no_rights(), pytest.raises(InputError, match=told):
                convert(closed / name)


def test_to_torch_writes_what_it_is_asked_for(tmp_path: Path, theirs: Path) -> None:
    """Catches outputs that are written under a misleading name, and a file of PyTorch's that is changed on its way."""
    main(["to-torch", "--input", str(theirs), "--output", str(tmp_path / "again.pth")])
    assert (tmp_path / "again.pth").stat().st_size > 0.9 * theirs.stat().st_size
    with pytest.raises(
        InputError, match="expected an output of the kind .pth, .pt, .safetensors, .npz, found .*again.h5"
    ):
        main(["to-torch", "--input", str(theirs), "--output", str(tmp_path / "again.h5")])


def test_info(tmp_path: Path, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a table without its totals, or wider than a terminal, of their files and of ours."""
    main(["info", str(FILES / "zip.pth")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "shape", "dtype"]
    assert lines[1].split() == ["float32", "2x3x4", "float32"]
    assert lines[8].split() == ["scalar", "scalar", "float32"]
    assert lines[-1] == "14 arrays, 97 numbers, 0.0 MB"
    main(["to-jax", "--input", str(theirs), "--output", str(tmp_path / "weights")])
    capsys.readouterr()
    main(["info", str(tmp_path / "weights")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "60 arrays, 1,440,300 numbers, 5.8 MB"
    assert ["levels.0.convolutions.0.kernel", "7x7x8x32", "float32"] in [line.split() for line in lines]
