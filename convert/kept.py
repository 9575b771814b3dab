"""What a file brings of its network beside the arrays, and what of it the converted weights keep."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spikejax.data.datasets.voxel_statistics import statistics_from
from spikejax.errors import InputError
from spikejax.io.weights import Weights, read_description
from spikejax.training.trained_params import spike_bins

from .state_dicts import Note, StateDict

# Where other programs keep what standardises spikes, beside a state dict: the mean and standard deviation of log1p of
# the counts.
_STATISTICS = re.compile(r"(?:spike_|voxel_)?statistics\.(bins|mean|std|windows)")


def described_weights(contents: StateDict, source: str) -> Weights | None:
    """The network that a file of `to-torch` or `export` says it is of, without parameters; None if it says nothing.

    Raises:
        InputError: what it says makes no sense.
    """
    if contents.description is None:
        return None
    try:
        description = json.loads(contents.description)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected a description of weights in JSON, found damage ({error}): {source}") from error
    return Weights(params={}, **read_description(description, source))


def keep_beside(weights: Weights, described: Weights | None, contents: StateDict, source: str, note: Note) -> Weights:
    """`weights` with the statistics, the tiles and the training that the file says they have.

    Args:
        weights: converted.
        described: what the file says of its network.
        contents: of the file.
        source: the file, for messages.
        note: is told what was kept that other programs wrote.

    Raises:
        InputError: statistics that make no sense.
    """
    if described is not None and described.kind == weights.kind:
        kept = {name: getattr(described, name) for name in ("statistics", "restore", "training")}
        weights = replace(weights, **{name: value for name, value in kept.items() if value is not None})
    foreign = _statistics_among(contents.numbers)
    if weights.statistics is not None or not {"mean", "std"} <= foreign.keys():
        return weights
    bins = spike_bins(weights)
    if bins is None:
        return weights
    statistics = statistics_from({"bins": bins, **foreign}, bins=bins, source=source)
    taken = {"bins": bins, "mean": statistics.mean, "std": statistics.std}
    note(f"taken: statistics of log1p of the spikes' counts, mean {taken['mean']:g}, std {taken['std']:g}: {source}")
    return replace(weights, statistics=taken)


def _statistics_among(numbers: Mapping[str, float]) -> dict[str, Any]:
    matches = ((_STATISTICS.fullmatch(key), number) for key, number in numbers.items())
    return {match[1]: number for match, number in matches if match}
