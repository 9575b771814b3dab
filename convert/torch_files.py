"""Files of `torch.save`, read and written without PyTorch.

Since PyTorch 1.6 they are zip archives: NAME/data.pkl is a pickle whose tensors refer to the storages NAME/data/KEY,
uncompressed. Before, they were pickles in a row (a magic number, a version, what the machine is like, the object, the
keys of its storages), then the storages: for each its number of elements, then these.
"""

import os
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from spikejax.errors import InputError

from .pickles import STORAGE_DTYPES, Storage, StorageType, Unpickled, load_pickle
from .stored_arrays import damaged_file

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_LOCAL_HEADER = 30  # bytes, of an entry of a zip archive
_ALIGNMENT = 64  # bytes; PyTorch aligns storages so that they can be mapped
# A record of ours, beside those that PyTorch reads: the state dict itself stays as its network wants it.
_DESCRIPTION = ".spikejax/description.json"


def read_zip(path: Path) -> Unpickled:
    """What a zip archive of `torch.save` holds, tensors as `StoredArray`.

    Raises:
        InputError: it is damaged, or no file of `torch.save`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise InputError(f"expected a file of torch.save, found a zip archive without NAME/data.pkl: {path}")
            folder = pickles[0].removesuffix("data.pkl")
            if folder + "constants.pkl" in entries:
                raise InputError(f"expected weights, found a program (TorchScript); save its state_dict(): {path}")
            if entries[pickles[0]].compress_type != zipfile.ZIP_STORED:
                raise InputError(f"expected a file of torch.save, found a compressed pickle in it: {path}")
            if folder + "byteorder" in entries and archive.read(folder + "byteorder") != b"little":
                raise InputError(
                    f"expected a file of a little-endian machine, found one of a big-endian machine: {path}"
                )
            with archive.open(pickles[0]) as file:
                unpickled = load_pickle(file, path, partial(_storage_of_zip, path, folder, entries))
            if folder + _DESCRIPTION not in entries:
                return unpickled
            return replace(unpickled, description=archive.read(folder + _DESCRIPTION).decode(errors="replace"))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise damaged_file(path, error) from error


def _storage_of_zip(path: Path, folder: str, entries: Mapping[str, zipfile.ZipInfo], pid: tuple[Any, ...]) -> Storage:
    dtype, key = _storage_id(pid)
    entry = entries.get(f"{folder}data/{key}")
    if entry is None or entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"it has no storage {key}, or a compressed one")
    return Storage(dtype, entry.file_size // dtype.itemsize, partial(_read_zipped, path, entry, key, dtype))


def _read_zipped(path: Path, entry: zipfile.ZipInfo, key: str, dtype: np.dtype, start: int, stop: int) -> np.ndarray:
    """The numbers from `start` to `stop` of a storage, whose checksum is compared where all are read."""
    with open(path, "rb") as file:
        file.seek(entry.header_offset)
        header = file.read(_LOCAL_HEADER)
        # Behind the header come the entry's name and extra field, whose lengths end it.
        lengths = sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        position = entry.header_offset + _LOCAL_HEADER + lengths
        numbers = _read_numbers(file, position + start * dtype.itemsize, dtype, stop - start)
    whole = (start, stop) == (0, entry.file_size // dtype.itemsize)
    if whole and zlib.crc32(numbers.view(np.uint8).data) != entry.CRC:
        raise damaged_file(path, f"the checksum of storage {key} is wrong")
    return numbers


def _read_numbers(file: IO[bytes], position: int, dtype: np.dtype, count: int) -> np.ndarray:
    file.seek(position)
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise damaged_file(file.name, "it ends within a tensor")
    return np.frombuffer(data, dtype)


def _storage_id(pid: tuple[Any, ...]) -> tuple[np.dtype, str]:
    if not isinstance(pid[1], StorageType):
        raise ValueError("it holds a storage of no type")
    return pid[1].dtype, str(pid[2])


def is_legacy(file: IO[bytes]) -> bool:
    """Whether the file begins as `torch.save` began before PyTorch 1.6; its position is left where it was."""
    start = pickle.dumps(LEGACY_MAGIC, protocol=2)
    return file.peek(len(start)).startswith(start)  # type: ignore[attr-defined]


def read_legacy(path: Path) -> Unpickled:
    """What a file of `torch.save` from before PyTorch 1.6 holds, tensors as `StoredArray`.

    Raises:
        InputError: it is damaged.
    """
    positions: dict[str, int] = {}
    types: dict[str, np.dtype] = {}

    def find(pid: tuple[Any, ...]) -> Storage:
        (dtype, key), size, view = _storage_id(pid), int(pid[4]), pid[5]
        types[key] = dtype
        # A storage may be a part of another one: (its key, where the part begins, how long it is).
        first, part = (0, size) if view is None else (int(view[1]), int(view[2]))
        if min(first, part, size - first - part) < 0:
            raise ValueError(f"it holds a part of storage {key} that reaches beyond it")

        def read(start: int, stop: int) -> np.ndarray:
            with open(path, "rb") as file:
                return _read_numbers(file, positions[key] + (first + start) * dtype.itemsize, dtype, stop - start)

        return Storage(dtype, part, read)

    with open(path, "rb") as file:
        load_pickle(file, path)  # the magic number
        version = load_pickle(file, path).value
        if version != _LEGACY_PROTOCOL:
            raise InputError(f"expected version {_LEGACY_PROTOCOL} of torch.save, found {version}: {path}")
        machine = load_pickle(file, path).value
        if isinstance(machine, dict) and machine.get("little_endian") is False:
            raise InputError(f"expected little-endian numbers, found big-endian ones: {path}")
        unpickled = load_pickle(file, path, find)
        keys = load_pickle(file, path).value
        _locate(file, path, keys, types, positions)
    return unpickled


def _locate(file: IO[bytes], path: Path, keys: Any, types: Mapping[str, np.dtype], positions: dict[str, int]) -> None:
    """Fills in where the numbers of each storage begin."""
    end = os.fstat(file.fileno()).st_size
    for key in keys if isinstance(keys, list) else ():
        size_field = file.read(8)
        size = int.from_bytes(size_field, "little", signed=True)
        dtype = types.get(str(key))
        if dtype is None or len(size_field) < 8 or size < 0 or file.tell() + size * dtype.itemsize > end:
            raise damaged_file(path, f"storage {key} is cut off or unknown")
        positions[str(key)] = file.tell()
        file.seek(size * dtype.itemsize, os.SEEK_CUR)
    if missing := types.keys() - positions.keys():
        raise damaged_file(path, f"the storages {', '.join(sorted(missing))} are missing")


def write_torch(
    path: Path, state_dict: Mapping[str, Any], *, wrapper: str | None = None, description: str | None = None
) -> None:
    """Writes a file that `torch.load(path, weights_only=True)` reads.

    Args:
        path: the file.
        state_dict: {key: array}; each is read once, when it is written.
        wrapper: puts the state dict under this key of a dict.
        description: of the network, in a record that PyTorch does not read.
    """
    names = {dtype: name for name, dtype in STORAGE_DTYPES.items()}
    with zipfile.ZipFile(path, "w") as archive:
        entries = [
            _tensor_opcodes(str(number), names[array.dtype], array.shape)
            for number, array in enumerate(state_dict.values())
        ]
        tensors = [_opcodes(key) + entry for key, entry in zip(state_dict, entries, strict=True)]
        value = _ORDERED_DICT + pickle.MARK + b"".join(tensors) + pickle.SETITEMS
        if wrapper is not None:
            value = pickle.EMPTY_DICT + _opcodes(wrapper) + value + pickle.SETITEM
        _write_record(archive, "archive/data.pkl", pickle.PROTO + b"\x02" + value + pickle.STOP)
        _write_record(archive, "archive/byteorder", b"little")
        for number, array in enumerate(state_dict.values()):
            _write_record(archive, f"archive/data/{number}", np.ascontiguousarray(array).tobytes())
        _write_record(archive, "archive/version", b"3\n")
        if description is not None:
            _write_record(archive, f"archive/{_DESCRIPTION}", description.encode())


def _write_record(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    # An extra field of the header, as long as it takes for the data to begin at a multiple.
    assert archive.fp is not None
    padding = -(archive.fp.tell() + _LOCAL_HEADER + len(name) + 4) % _ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(info, data)


def _opcodes(value: Any) -> bytes:
    """The part of a pickle that puts `value` on the stack."""
    return pickle.dumps(value, protocol=2)[2:-1]


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


_ORDERED_DICT = _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE


def _tensor_opcodes(key: str, storage: str, shape: tuple[int, ...]) -> bytes:
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    storage_id = (
        pickle.MARK + _opcodes("storage") + _global("torch", storage) + _opcodes(key) + _opcodes("cpu")
        + _opcodes(int(np.prod(shape))) + pickle.TUPLE + pickle.BINPERSID
    )  # fmt: skip
    arguments = storage_id + _opcodes(0) + _opcodes(shape) + _opcodes(tuple(strides[: len(shape)]))
    arguments += pickle.NEWFALSE + _ORDERED_DICT  # needs no gradient, has no hooks
    return _global("torch._utils", "_rebuild_tensor_v2") + pickle.MARK + arguments + pickle.TUPLE + pickle.REDUCE
