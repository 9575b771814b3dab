"""Files of other programs to weights of ours: read, recognized, and checked to fit."""

from collections.abc import Sequence
from pathlib import Path

from spikejax.errors import InputError
from spikejax.io.weights import Weights

from .array_files import read_all
from .convertible_networks import get_network, network_of
from .kept import described_weights, keep_beside
from .recognize import recognize
from .state_dicts import Note, silent


def convert_files(
    paths: Sequence[Path],
    *,
    network: str | None = None,
    prefix: str | None = None,
    lora_alpha: float | None = None,
    note: Note = silent,
) -> tuple[Weights, int]:
    """The weights in files of other programs, and how many arrays they were made of.

    Args:
        paths: files that are taken together, see `read_all`.
        network: its name; None = the one that the file says it is of, or that keys and shapes are those of. Of
            several that are alike it is the one that the first file's name begins with, as published files do
            ("006_VRT_...").
        prefix: see `read_all`.
        lora_alpha: see `read_all`.
        note: is told what was taken and recognized, a line each.

    Raises:
        InputError: a file is damaged, or they do not hold the weights of a network that is known, or of this one.
    """
    contents = read_all(paths, prefix=prefix, lora_alpha=lora_alpha, note=note)
    source = " and ".join(map(str, paths))
    described = described_weights(contents, source)
    try:
        if network is not None:
            chosen = get_network(network)
        elif described is not None:
            chosen = network_of(described)
            note(f"network: the one that the file says it is of, {described.kind}")
        else:
            chosen, description = recognize(contents.arrays, file_name=paths[0].name)
            note(f"network: {description}")
        weights = chosen.from_torch(contents.arrays)
    except InputError as error:
        error.args = (f"{error}: {source}",)
        raise
    return keep_beside(weights, described, contents, source, note), len(contents.arrays)
