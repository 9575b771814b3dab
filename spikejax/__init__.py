"""Video restoration with spike cameras: VRT and its spike branch in JAX and Flax."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from spikejax.version import __version__ as __version__

if TYPE_CHECKING:
    from spikejax.inference.video_restorer import VideoRestorer


def load(
    path: str | os.PathLike[str],
    *,
    dtype: str | None = None,
    precision: str | None = None,
    statistics: str | os.PathLike[str] | None = None,
    trust_code: bool = False,
    accept_license: bool = False,
) -> VideoRestorer:
    """A trained network with `.restore(clip, spikes)`, see `spikejax.loading.load`."""
    # Only now: importing the package must not take the seconds that importing JAX takes.
    from spikejax.loading import load as load_network

    return load_network(
        path,
        dtype=dtype,
        precision=precision,
        statistics=statistics,
        trust_code=trust_code,
        accept_license=accept_license,
    )


def __getattr__(name: str) -> Any:
    """`spikejax.evaluate` and `spikejax.compare`, the commands' modules, which are called like functions."""
    if name in ("evaluate", "compare"):
        return importlib.import_module(f"spikejax.{name}")
    raise AttributeError(f"module 'spikejax' has no attribute {name!r}")
