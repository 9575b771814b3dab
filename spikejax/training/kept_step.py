"""The compiled training step, kept in a file: a run that starts again neither traces nor compiles it.

A file is a line that says what it is, a line of JSON (`_Header`), and the program as JAX serialises it. Nothing of the
program is read before the line of JSON says that it is this run's and that every byte is as it was written: what lies
there is native code, and loading it runs it. So files are kept where compiled programs are (`spikejax.compile_cache`),
or are named by the user, and count only where nobody else may write to them.

A run knows its step by `identity`: versions, source, devices, flags, the configuration as far as it decides what is
computed, and the arrays that the step takes. What a configuration names of the user's own code may change without its
name, so a step of such a run is not kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

from spikejax.compile_cache import check_only_the_user_writes
from spikejax.errors import InputError, one_line
from spikejax.io.atomic import atomic_write
from spikejax.io.disk_space import is_full_disk

_MAGIC = b"spikejax compiled step 1\n"
_LONGEST_HEADER = 2**20
# Of an identity, what changes with an installation: a newer one's step takes the place of the older one's.
_OF_INSTALLATION = ("jax", "jaxlib", "flax", "optax", "libtpu", "cuda", "source")
_MOST_DIFFERENCES = 3


@dataclasses.dataclass(frozen=True)
class KeptStep:
    """A step that can be called.

    Attributes:
        call: (state, batch, loss) -> (state, metrics).
        forward_flops: operations of a forward pass over a batch, if somebody counted them.
    """

    call: jax.stages.Compiled
    forward_flops: float | None


@dataclasses.dataclass(frozen=True)
class _Header:
    """What a file says of its program.

    Attributes:
        identity: see `spikejax.training.step_identity`.
        metrics: names of what an update measures.
        forward_flops: see `KeptStep`.
        size: bytes of the program.
        sha256: of them.
    """

    identity: Mapping[str, str]
    metrics: list[str]
    forward_flops: float | None
    size: int
    sha256: str

    @classmethod
    def from_line(cls, line: bytes) -> _Header:
        """The header of a line; raises ValueError for what is none."""
        try:
            header = cls(**json.loads(line))
        except (TypeError, RecursionError) as error:
            raise ValueError("expected the fields of a header") from error
        texts = isinstance(header.metrics, list) and all(isinstance(name, str) for name in header.metrics)
        numbers = type(header.size) is int and isinstance(header.sha256, str)
        identity = isinstance(header.identity, dict) and all(isinstance(v, str) for v in header.identity.values())
        flops = header.forward_flops is None or (
            isinstance(header.forward_flops, int | float) and math.isfinite(header.forward_flops)
        )
        if not (texts and numbers and identity and flops):
            raise ValueError("expected other values of a header")
        return header


def kept_file(folder: Path, identity: Mapping[str, str]) -> Path:
    """The file in a folder of compiled programs that has the step of a run, if it is kept."""
    lasting = {name: value for name, value in identity.items() if name not in _OF_INSTALLATION}
    key = hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()
    return folder / f"spikejax-step-{key[:32]}.bin"


def write_step(
    path: Path, compiled: jax.stages.Compiled, identity: Mapping[str, str], state: Any, *, forward_flops: float | None
) -> None:
    """Writes a step, whole or not at all.

    Args:
        path: the file.
        compiled: the step; it may be for devices that are not here.
        identity: of the run.
        state: that it takes, or its shapes.
        forward_flops: see `KeptStep`.

    Raises:
        ValueError: the program cannot be serialised on this platform.
        OSError: the file cannot be written.
    """
    try:
        program, _, tree = serialize_executable.serialize(compiled)
    except (ValueError, NotImplementedError, jax.errors.JaxRuntimeError) as error:
        raise ValueError(f"this program cannot be serialised: {one_line(error)}") from error
    names = sorted(tree.unflatten(range(tree.num_leaves))[1])
    if tree != _returned(state, names):
        raise ValueError("this step returns something else than a state and its metrics")
    header = _Header(dict(identity), names, forward_flops, len(program), hashlib.sha256(program).hexdigest())
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(_MAGIC + json.dumps(dataclasses.asdict(header)).encode() + b"\n")
        file.write(program)


def save_step(
    path: Path, compiled: jax.stages.Compiled, identity: Mapping[str, str], state: Any, *, forward_flops: float | None
) -> None:
    """As `write_step`; raises InputError for a step that cannot be kept, or a file that cannot be written."""
    try:
        write_step(path, compiled, identity, state, forward_flops=forward_flops)
    except ValueError as error:
        raise InputError(f"expected a step that can be kept, found that {error}: {path}") from error
    except OSError as error:
        if is_full_disk(error):
            raise
        raise InputError(f"expected a file to write to, found {error.strerror}: {path}") from error


def check_step(path: Path, identity: Mapping[str, str]) -> None:
    """Raises InputError unless a file has this run's step, as far as its header and its length say."""
    with _opened(path) as file:
        header = _read_header(path, file)
        _refuse_another(path, header, identity)
        if os.fstat(file.fileno()).st_size - file.tell() != header.size:
            raise _damaged(path)


def read_step(path: Path, identity: Mapping[str, str], arguments: tuple[Any, Any, Any]) -> KeptStep:
    """The step of a file.

    Args:
        path: the file.
        identity: of the run.
        arguments: state, batch and loss, as the step will be called with.

    Raises:
        InputError: there is no such file, others may write to it, it is damaged, or it has another run's step.
    """
    with _opened(path) as file:
        header = _read_header(path, file)
        _refuse_another(path, header, identity)
        program = file.read(header.size + 1)
    if len(program) != header.size or hashlib.sha256(program).hexdigest() != header.sha256:
        raise _damaged(path)
    try:
        call = serialize_executable.deserialize_and_load(
            program,
            jax.tree.structure((arguments, {})),
            _returned(arguments[0], header.metrics),
            execution_devices=_devices_of(arguments[0]),
        )
    except Exception as error:  # whatever another runtime makes of it
        raise InputError(
            f"expected a compiled step for these devices, found {one_line(error)[:200]}: {path}"
        ) from error
    return KeptStep(call, header.forward_flops)


def _devices_of(state: Any) -> list[jax.Device]:
    return list(jax.tree.leaves(state)[0].sharding.mesh.devices.flat)


def _returned(state: Any, metrics: list[str]) -> Any:
    """The structure of what a step returns."""
    return jax.tree.structure((state, dict.fromkeys(metrics, 0)))


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    try:
        if not path.is_file():
            raise InputError(
                f"expected a file of plan --save-compiled, found {'a folder' if path.is_dir() else 'none'}: {path}"
            )
        check_only_the_user_writes(path)
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"expected a file that can be read, found {error.strerror or error}: {path}") from error


def _read_header(path: Path, file: Any) -> _Header:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise InputError(f"expected a file of plan --save-compiled, found another: {path}")
    try:
        return _Header.from_line(file.readline(_LONGEST_HEADER))
    except ValueError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError(f"expected a compiled step as it was written, found a damaged one: {path}")


def _refuse_another(path: Path, header: _Header, identity: Mapping[str, str]) -> None:
    names = [*identity, *(header.identity.keys() - identity.keys())]
    different = [name for name in names if identity.get(name) != header.identity.get(name)]
    if not different:
        return
    shown = "; ".join(
        f"{name} {identity.get(name, 'none')}, found {header.identity.get(name, 'none')}"
        for name in different[:_MOST_DIFFERENCES]
    )
    more = f"; and {len(different) - _MOST_DIFFERENCES} more" if len(different) > _MOST_DIFFERENCES else ""
    raise InputError(f"expected this run's compiled step: {shown}{more}: {path}")
