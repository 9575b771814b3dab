"""A folder of a network for a hub: its weights, what describes it, and a model card.

FOLDER/model.safetensors  the weights, complete in themselves: `spikejax.load` takes the file or the folder
FOLDER/config.json        what the weights' metadata say, for people and programs that read no weights
FOLDER/README.md          the card: what it is for, what it was trained on, what it scores, its licence
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spikejax.errors import InputError
from spikejax.hub.model_card import ModelCard
from spikejax.io.atomic import atomic_directory, refuse_existing
from spikejax.io.places import PARTIAL, entries
from spikejax.io.weights import MODEL_FILE, Weights, describe_weights, write_weights

CARD, CONFIG = "README.md", "config.json"
FILES = (MODEL_FILE, CONFIG, CARD)


def check_model_folder(path: Path, *, replace: bool) -> None:
    """Raises InputError, before any work, if the folder would destroy something else than an earlier one."""
    refuse_existing(path, replace=replace)
    if path.is_dir() and entries(path):
        # What a killed run has left of a file is nobody's; a clone of a repository, with its .git, is somebody's.
        names = [entry.name for entry in path.iterdir() if not (entry.name.startswith(".") and PARTIAL in entry.name)]
        others = sorted(set(names) - set(FILES))
        if others or not (path / MODEL_FILE).is_file():
            found = ", ".join(map(ascii, others[:3])) or f"no {MODEL_FILE}"
            raise InputError(f"expected a folder with {', '.join(FILES)} to replace, found {found}: {path}")


def write_model_folder(path: Path, weights: Weights, card: ModelCard, *, replace: bool = False) -> None:
    """Writes the folder, whole or not at all.

    Args:
        path: new, empty, or with `replace` an earlier one.
        weights: of the network.
        card: about it.
        replace: whether a folder of an earlier export gives way.

    Raises:
        InputError: something is there already, or something else than a folder of a network.
    """
    check_model_folder(path, replace=replace)
    config: dict[str, Any] = {"library_name": "spikejax", **describe_weights(weights)}
    with atomic_directory(path, replace=replace) as folder:
        write_weights(folder / MODEL_FILE, weights)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        (folder / CARD).write_text(card.text(), encoding="utf-8")
