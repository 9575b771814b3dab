"""Files of arrays, whatever program wrote them, as {key: array}."""

import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from spikejax.errors import InputError
from spikejax.io.atomic import atomic_write

from .pickles import load_pickle, unwrap
from .stored_arrays import StoredArray, damaged_file
from .torch_files import is_legacy, read_legacy, read_zip, write_torch

# Where programs put a state dict beside other things; of several, the first of these. "params_ema" is the average over
# training, which is what gets published.
WRAPPERS = ("params_ema", "params", "state_dict", "model")
WRITTEN_SUFFIXES = (".pth", ".pt", ".safetensors", ".npz")
_PARALLEL = "module."  # what torch.nn.DataParallel puts before every key
_DEEPEST = 20  # dicts within dicts
_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip


def read_arrays(path: Path) -> dict[str, StoredArray]:
    """The arrays of a `.pth`, `.pt`, `.ckpt`, `.safetensors` or `.npz` file, which is known by its content.

    Keys of nested dicts are joined by "."; a wrapper (`WRAPPERS`) and a prefix "module." that all keys have are
    removed.

    Raises:
        InputError: there is no such file, it is damaged, holds no arrays, or is a pickle that asks for more.
    """
    try:
        value = _read(path)
    except FileNotFoundError:
        raise InputError(f"expected a file of weights, found nothing: {path}") from None
    except OSError as error:
        raise InputError(f"expected a file that can be read, found {error.strerror or error}: {path}") from error
    arrays = _flatten(_unwrap(value, path))
    if not arrays:
        keys = f", but a dict of {', '.join(map(str, list(value)[:8])) or 'nothing'}" if isinstance(value, dict) else ""
        raise InputError(f"expected a file of weights, found no arrays in it{keys}: {path}")
    if all(key.startswith(_PARALLEL) for key in arrays):
        arrays = {key.removeprefix(_PARALLEL): array for key, array in arrays.items()}
    return arrays


def read_all(paths: Sequence[Path]) -> dict[str, StoredArray]:
    """The arrays of several files together.

    Raises:
        InputError: as `read_arrays`, or two files have the same key.
    """
    arrays: dict[str, StoredArray] = {}
    for path in paths:
        more_arrays = read_arrays(path)
        if both := sorted(arrays.keys() & more_arrays.keys()):
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise InputError(f"expected other arrays than in the files before it, found {both[0]}{more}: {path}")
        arrays |= more_arrays
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, Any], *, wrapper: str | None = None) -> None:
    """Writes arrays to the kind of file that the suffix of `path` names, one of `WRITTEN_SUFFIXES`.

    Args:
        path: appears when it is whole; what was there is replaced.
        arrays: {key: array}.
        wrapper: see `write_torch`; other kinds of files have none.
    """
    with atomic_write(path) as temporary:
        if path.suffix in (".pth", ".pt"):
            write_torch(temporary, arrays, wrapper=wrapper)
        elif path.suffix == ".npz":
            with zipfile.ZipFile(temporary, "w") as archive:
                for key, array in arrays.items():
                    with archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        else:
            save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, temporary)


def _read(path: Path) -> Any:
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
        if start[0] == 0x80 and start[1] <= 5:
            return load_pickle(file, path)
    raise InputError(f"expected weights (.pth, .pt, .ckpt, .safetensors or .npz), found something else: {path}")


def _read_zip(path: Path) -> Any:
    try:
        archive = zipfile.ZipFile(path)  # not closed: its arrays are read when they are asked for
        names = archive.namelist()
        if all(name.endswith(".npy") for name in names):
            return {name.removesuffix(".npy"): _array_of_npz(path, archive, name) for name in names}
    except InputError:
        raise
    except (zipfile.BadZipFile, ValueError) as error:
        raise damaged_file(path, error) from error
    archive.close()
    return read_zip(path)


def _array_of_npz(path: Path, archive: zipfile.ZipFile, name: str) -> StoredArray:
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    if dtype.kind not in "biuf":
        raise InputError(f"expected arrays of numbers, found {name} of {dtype}: {path}")

    def read() -> np.ndarray:
        try:
            with archive.open(name) as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
            raise damaged_file(path, f"{name}: {error}") from error

    return StoredArray(shape, dtype, read)


def _read_safetensors(path: Path) -> dict[str, StoredArray]:
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
        return arrays
    except SafetensorError as error:
        raise damaged_file(path, error) from error


def _unwrap(value: Any, path: Path) -> Any:
    """The state dict within `value`; what training keeps beside it is left aside."""
    for _ in range(_DEEPEST):
        if not isinstance(value, Mapping):
            raise InputError(f"expected a dict of arrays, found a {type(value).__name__}: {path}")
        inner = [value[key] for key in WRAPPERS if isinstance(value.get(key), Mapping)]
        if not inner or any(isinstance(entry, StoredArray) for entry in value.values()):
            return value
        value = inner[0]
    raise InputError(f"expected a dict of arrays, found dicts within dicts: {path}")


def _flatten(value: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, StoredArray]:
    arrays: dict[str, StoredArray] = {}
    for key, entry in value.items():
        entry = unwrap(entry)
        if isinstance(entry, StoredArray):
            arrays[f"{prefix}{key}"] = entry
        elif isinstance(entry, Mapping) and depth < _DEEPEST:
            arrays |= _flatten(entry, f"{prefix}{key}.", depth + 1)
    return arrays
