"""The extras: what not everybody needs is installed when it is asked for, `pip install 'spikejax[NAME]'`.

setup.cfg says what each extra installs, `EXTRAS` which modules it is there for. Such a module is imported where it is
needed, not when the package is; a command that needs one that is not there says so in one line.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from spikejax.errors import InputError

# Of a module that several extras install, the first is named.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    # The last two are not there for every Python (see setup.cfg); then a run writes no TensorBoard.
    "train": ("grain", "clu", "tensorboard", "tensorflow"),
    "data": ("skimage",),
    "tfds": ("tensorflow_datasets",),
    "gcs": ("gcsfs", "fsspec"),
    "s3": ("s3fs", "fsspec"),
    "lmdb": ("lmdb",),
    "hub": ("huggingface_hub",),
    "heic": ("pillow_heif",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "plan-tpu": ("libtpu",),
    "plan-gpu": ("jax_plugins.xla_cuda12",),
    "tpu": ("libtpu",),
    "cuda12": ("jax_plugins.xla_cuda12",),
    "cuda13": ("jax_plugins.xla_cuda13",),
}


def missing_module(extra: str) -> str | None:
    """The first module of an extra that cannot be found; None if all of them can. None of them is imported."""
    return next((module for module in EXTRAS[extra] if not _is_there(module)), None)


def require(extra: str, what: str, *, modules: Sequence[str] = ()) -> None:
    """Refuses to begin what an extra is needed for and would fail only after long work.

    Args:
        extra: a name of `EXTRAS`.
        what: needs it, such as "--tfds", for the message.
        modules: those of the extra that it cannot do without; default all.

    Raises:
        InputError: a module of the extra is not installed.
    """
    missing = next((name for name in modules or EXTRAS[extra] if not _is_there(name)), None)
    if missing:
        raise InputError(_line(missing, extra, what))


@contextmanager
def named_when_missing() -> Iterator[None]:
    """Within it, a module of an extra that cannot be found is an InputError which names the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = _extra_of(error.name or "")
        if extra is None:
            raise
        raise InputError(_line(str(error.name), extra)) from error


def _line(module: str, extra: str, what: str = "") -> str:
    needed = f"{what}: " if what else ""
    return f"{needed}expected the extra {extra} (pip install 'spikejax[{extra}]'), found no module {module}"


def _extra_of(module: str) -> str | None:
    """The extra that a module is of; None if it is of none."""
    for extra, roots in EXTRAS.items():
        if any(module == root or module.startswith(f"{root}.") for root in roots):
            return extra
    return None


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is in
        return False
