"""Trained networks by their path, ready to restore: `spikejax.load`."""

from __future__ import annotations

import os
from pathlib import Path

from spikejax.config.networks import PUBLISHED
from spikejax.errors import InputError
from spikejax.inference.exported_network import SUFFIX as EXPORTED
from spikejax.inference.exported_network import load_exported
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.paths import AnyPath, UserPath, scheme_of, user_path
from spikejax.packaged import DEMO, resolve_network
from spikejax.training.measure_split import load_trained


def load(path: AnyPath, *, dtype: str | None = None, trust_code: bool = False) -> VideoRestorer:
    """A trained network.

    Args:
        path: the folder that training wrote to (its best parameters are taken), or a `.safetensors` file or a folder
            that `spikejax convert` wrote; or "demo", the network that comes with the package.
        dtype: "float32" or "bfloat16", what features are computed in; None = as the network was trained.
        trust_code: whether code that the network's configuration names (FILE.py:NAME) is run; whoever made the folder
            or the file chose it.

    Raises:
        InputError: there is no such network, it is damaged, or it does not restore pictures.
    """
    if path == DEMO:
        path = resolve_network(DEMO)
    path = user_path(path) if scheme_of(path) else Path(path)
    if not (os.path.lexists(path) if isinstance(path, Path) else path.exists()):
        raise InputError(f"expected a folder of training, or weights of spikejax convert, found no {path}{_hint(path)}")
    if isinstance(path, Path) and path.suffix == EXPORTED:
        if dtype is not None:
            raise InputError(f"expected no dtype with an exported network, which has its own, found {dtype}: {path}")
        return load_exported(path)
    return load_trained(path, dtype=dtype, trust_code=trust_code).restorer


def _hint(path: UserPath) -> str:
    """Where weights come from, for a path that is rather the name of a published network."""
    name = str(path)
    if name not in PUBLISHED:
        return ""
    return f" (spikejax convert to-jax --network {name} makes it of published weights, see docs/weights.md)"
