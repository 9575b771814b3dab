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
from spikejax.installed import load_module
from spikejax.io.paths import AnyPath, UserPath, as_local_file, scheme_of, user_path
from spikejax.io.weights import Weights
from spikejax.progress import say
from spikejax.training.measure_split import load_trained

# Of what `torch.save` writes; other programs' .safetensors and .npz take `spikejax convert`.
TORCH_SUFFIXES = (".pth", ".pt", ".ckpt")


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
            `spikejax convert` wrote; a file of PyTorch's (`.pth`, `.pt`, `.ckpt`), see `converted_weights`; or "demo",
            the network that comes with the package, "vrt:006", a published one, or "hf://USER/NAME[@REVISION][/FILE]",
            one in the Hugging Face Hub.
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
        weights=converted_weights(path),
    )
    return trained.restorer


def converted_weights(path: UserPath) -> Weights | None:
    """What a file of PyTorch's holds, converted in memory; None for any other path.

    Nothing that the file names is imported or run, see `convert.pickles`. What was taken of it is said.

    Raises:
        InputError: it is damaged, or of no network that is known.
    """
    if path.suffix.lower() not in TORCH_SUFFIXES or not path.is_file():
        return None
    conversion = load_module("convert.conversion")
    with as_local_file(path) as local:
        weights: Weights = conversion.convert_files([local], note=say)[0]
    return weights


def _hint(path: UserPath) -> str:
    """Where weights come from, for a path that is rather the name of a published network."""
    name = str(path)
    if name not in PUBLISHED:
        return ""
    return f" (vrt:{name} is the published network, see docs/weights.md)"
