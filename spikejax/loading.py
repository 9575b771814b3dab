"""Trained networks by their path, ready to restore: `spikejax.load`."""

from __future__ import annotations

import os
from pathlib import Path

from spikejax.config.networks import PUBLISHED
from spikejax.errors import InputError
from spikejax.hub.resolving import resolve_network
from spikejax.inference.exported_network import SUFFIX as EXPORTED
from spikejax.inference.exported_network import load_exported
from spikejax.inference.precision import check_precision
from spikejax.inference.video_restorer import VideoRestorer
from spikejax.io.paths import AnyPath, UserPath, scheme_of, user_path
from spikejax.training.measure_split import load_trained


def load(
    path: AnyPath,
    *,
    dtype: str | None = None,
    precision: str | None = None,
    statistics: AnyPath | None = None,
    trust_code: bool = False,
    accept_license: bool = False,
) -> VideoRestorer:
    """A trained network.

    Args:
        path: the folder that training wrote to (its best parameters are taken); a `.safetensors` file or a folder that
            `spikejax convert` or `export` wrote; a file of PyTorch's (`.pth`, `.pt`, `.ckpt`), which is converted in
            memory; or "demo", the network that comes with the package, "vrt:006", a published one, or
            "hf://USER/NAME[@REVISION][/FILE]", one in the Hugging Face Hub.
        dtype: "float32" or "bfloat16", what features are computed in; None = as the network was trained.
        precision: of float32 products, "highest" (as None), "high" or "default"; of a network in bfloat16 few are.
        statistics: statistics.json of the spikes that the network was trained on, or the data set or workdir that has
            it; for a network of other programs, which comes without.
        trust_code: whether code that the network's configuration names (FILE.py:NAME) is run; whoever made the folder
            or the file chose it.
        accept_license: whether the licence of published weights ("vrt:006") that have to be downloaded is accepted.

    Raises:
        InputError: there is no such network, it is damaged, or it does not restore pictures.
    """
    path = resolve_network(path, accept_license=accept_license)
    path = user_path(path) if scheme_of(path) else Path(path)
    if not (os.path.lexists(path) if isinstance(path, Path) else path.exists()):
        raise InputError(f"expected a folder of training, or weights, found no {path}{_hint(path)}")
    if isinstance(path, Path) and path.suffix == EXPORTED:
        if dtype is not None:
            raise InputError(f"expected no dtype with an exported network, which has its own, found {dtype}: {path}")
        if precision is not None:
            raise InputError(
                f"expected no precision with an exported network, which has its own, found {precision}: {path}"
            )
        if statistics is not None:
            raise InputError(
                f"expected no statistics with an exported network, which has its own, found {statistics}: {path}"
            )
        return load_exported(path)
    trained = load_trained(
        path,
        dtype=dtype,
        precision=check_precision(precision),
        statistics=statistics,
        trust_code=trust_code,
    )
    return trained.restorer


def _hint(path: UserPath) -> str:
    """Where weights come from, for a path that is rather the name of a published network."""
    name = str(path)
    if name not in PUBLISHED:
        return ""
    return f" (vrt:{name} is the published network, see docs/weights.md)"
