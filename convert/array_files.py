"""Files of arrays, whatever program wrote them, as {key: array}."""

import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write

from .adapters import merge_adapters
from .pickles import Unpickled, load_pickle
from .state_dicts import Note, StateDict, find_state_dict, silent
from .stored_arrays import StoredArray, damaged_file
from .torch_files import is_legacy, read_legacy, read_zip, write_torch

WRITTEN_SUFFIXES = (".pth", ".pt", ".safetensors", ".npz")
_LISTED_NAMES = 12
_DESCRIPTION = "spikejax_description"  # in the metadata of .safetensors files
# Arrays may claim so many times the bytes of their file, as views of few numbers and compressed ones do, and some more.
_LARGEST_RATIO, _LARGEST_SURPLUS = 16, 64 * 2**20
_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip


def read_arrays(path: Path, *, prefix: str | None = None, note: Note = silent) -> dict[str, StoredArray]:
    """The arrays of a `.pth`, `.pt`, `.ckpt`, `.safetensors` or `.npz` file, which is known by its content.

    Keys of nested dicts are joined by "."; wrappers and known prefixes are removed (see `state_dicts`).

    Args:
        path: the file.
        prefix: what the keys that are taken begin with; None = as programs are known to do it.
        note: is told what was taken and what was left, a line each.

    Raises:
        InputError: there is no such file, it is damaged, holds no arrays, or asks to run something that they need.
    """
    return _read_state_dict(path, prefix, note).arrays


def read_all(
    paths: Sequence[Path], *, prefix: str | None = None, lora_alpha: float | None = None, note: Note = silent
) -> StateDict:
    """What several files hold together, low-rank adapters merged into the weights that they adapt.

    Args:
        paths: the files.
        prefix: see `read_arrays`.
        lora_alpha: the scale of adapters times their rank; None = as the files say.
        note: see `read_arrays`.

    Raises:
        InputError: as `read_arrays`, two files have the same key, or adapters do not fit.
    """
    arrays: dict[str, StoredArray] = {}
    numbers: dict[str, float] = {}
    descriptions: list[str | None] = []
    for path in paths:
        more = _read_state_dict(path, prefix, note)
        if both := sorted(arrays.keys() & more.arrays.keys()):
            others = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise InputError(f"expected other arrays than in the files before it, found {both[0]}{others}: {path}")
        arrays |= more.arrays
        numbers |= more.numbers
        descriptions.append(more.description)
    try:
        merged = merge_adapters(arrays, numbers, alpha=lora_alpha, note=note)
    except InputError as error:
        error.args = (f"{error}: {' and '.join(map(str, paths))}",)
        raise
    # Of several files none describes the network that they make together.
    return StateDict(merged, numbers, descriptions[0] if len(descriptions) == 1 else None)


def write_arrays(
    path: Path,
    arrays: Mapping[str, Any],
    *,
    wrapper: str | None = None,
    description: Mapping[str, Any] | None = None,
) -> None:
    """Writes arrays to the kind of file that the suffix of `path` names, one of `WRITTEN_SUFFIXES`.

    Args:
        path: appears when it is whole; what was there is replaced.
        arrays: {key: array}.
        wrapper: see `write_torch`; other kinds of files have none.
        description: of the network, kept where a state dict does not see it; .npz files have no such place.
    """
    text = None if description is None else json.dumps(description)
    with atomic_write(path) as temporary:
        if path.suffix in (".pth", ".pt"):
            write_torch(temporary, arrays, wrapper=wrapper, description=text)
        elif path.suffix == ".npz":
            with zipfile.ZipFile(temporary, "w") as archive:
                for key, array in arrays.items():
                    with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        else:
            # "pt" is what other programs ask for before they take a file for PyTorch's.
            metadata = {"format": "pt"} | ({} if text is None else {_DESCRIPTION: text})
            contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
            save_file(contiguous, temporary, metadata=metadata)


def _read_state_dict(path: Path, prefix: str | None, note: Note) -> StateDict:
    try:
        unpickled = _read(path)
        size = path.stat().st_size
    except FileNotFoundError:
        raise InputError(f"expected a file of weights, found nothing: {path}") from None
    except OSError as error:
        raise InputError(f"expected a file that can be read, found {error.strerror or error}: {path}") from error
    state_dict = find_state_dict(unpickled.value, path, prefix=prefix, note=note)
    state_dict = replace(state_dict, description=unpickled.description)
    if unpickled.unknown:
        note(f"left aside, not run: {_listed(unpickled.unknown)}: {path}")
    claimed = sum(array.nbytes for array in state_dict.arrays.values())
    if claimed > _LARGEST_RATIO * size + _LARGEST_SURPLUS:
        raise InputError(f"expected arrays of about the file's {size:,} bytes, found {claimed:,} bytes of them: {path}")
    return state_dict


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    return ", ".join(names[:_LISTED_NAMES]) + more


def _read(path: Path) -> Unpickled:
    with open(path, "rb") as file:
        start = file.peek(16)[:16]
        if not start:
            raise InputError(f"expected a file of weights, found an empty one: {path}")
        if start.startswith(b"PK\x03\x04"):
            return _read_zip(path)
        if start[8:9] == b"{":  # behind the length of the header
            return _read_safetensors(path)
        if is_legacy(file):
            return read_legacy(path)
        if start[0] == 0x80 and len(start) > 1 and start[1] <= 5:
            return load_pickle(file, path)
    raise InputError(f"expected weights (.pth, .pt, .ckpt, .safetensors or .npz), found something else: {path}")


def _read_zip(path: Path) -> Unpickled:
    try:
        archive = zipfile.ZipFile(path)  # not closed: its arrays are read when they are asked for
        entries = archive.infolist()
        _check_entries(path, entries)
        if all(entry.filename.endswith(".npy") for entry in entries):
            arrays = {entry.filename.removesuffix(".npy"): _array_of_npz(path, archive, entry) for entry in entries}
            return Unpickled(arrays, ())
    except InputError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise damaged_file(path, error) from error
    archive.close()
    return read_zip(path)


def _check_entries(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raises InputError for an archive that no program of weights writes, before anything of it is read."""
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise InputError(f"expected every file once in the archive, found one twice: {path}")
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or ":" in parts[0]:
            raise InputError(f"expected an archive of files below its own folder, found {ascii(name)[:80]}: {path}")
    size, claimed = path.stat().st_size, sum(entry.file_size for entry in entries)
    if claimed > _LARGEST_RATIO * size + _LARGEST_SURPLUS:
        raise InputError(
            f"expected an archive of about the file's {size:,} bytes, found {claimed:,} bytes in it: {path}"
        )


def _array_of_npz(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> StoredArray:
    name = ascii(entry.filename)[1:-1]
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    if dtype.kind not in "biuf":
        raise InputError(f"expected arrays of numbers, found {name} of {dtype}: {path}")
    if math.prod(shape) * dtype.itemsize > entry.file_size:
        raise damaged_file(path, f"{name} has shape {shape} in {entry.file_size} bytes")

    def read() -> np.ndarray:
        try:
            with archive.open(entry) as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError) as error:
            raise damaged_file(path, f"{name}: {error}") from error

    return StoredArray(shape, dtype, read)


def _read_safetensors(path: Path) -> Unpickled:
    try:
        # Not mapped, since what is mapped counts as memory in use.
        file = safe_open(path, framework="numpy", backend="pread")
        arrays = {}
        for name in file.keys():  # noqa: SIM118, it is not a mapping
            view = file.get_slice(name)
            dtype = _SAFETENSORS_DTYPES.get(view.get_dtype())
            if dtype is None:
                known = ", ".join(_SAFETENSORS_DTYPES)
                raise InputError(f"expected arrays of {known}, found {name} of {view.get_dtype()}: {path}")
            read = partial(file.get_tensor, name)
            arrays[name] = StoredArray(tuple(view.get_shape()), np.dtype(dtype), read)
        return Unpickled(arrays, (), (file.metadata() or {}).get(_DESCRIPTION))
    except SafetensorError as error:
        raise damaged_file(path, error) from error
