"""Figures of updates, which stay on the device until somebody reads them: reading waits for the device."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class NotFinite:
    """An update whose loss or gradient was not finite, and which therefore changed nothing."""

    update: int  # its number, from 1
    loss: float
    gradient_norm: float
    skipped: int  # such updates up to and including this one
    data_state: Any  # of the iterator before its batch was taken

    def __str__(self) -> str:
        return f"the loss is {self.loss}, the gradient's norm {self.gradient_norm} at step {self.update}"


class Figures:
    """The figures of the updates since they were read last."""

    def __init__(self) -> None:
        self._unread: dict[int, tuple[Mapping[str, jax.Array], Any]] = {}

    def __len__(self) -> int:
        """Number of updates."""
        return len(self._unread)

    def add(self, update: int, figures: Mapping[str, jax.Array], data_state: Any) -> None:
        """Takes an update's {"loss", "gradient_norm", "skipped"}, and where the iterator was before its batch."""
        self._unread[update] = figures, data_state

    def read(self) -> tuple[dict[str, float], list[NotFinite]]:
        """Returns their means (of `skipped` the last), nothing if there are none, and those that are not finite."""
        found = {update: jax.device_get(figures) for update, (figures, _) in self._unread.items()}
        bad = [
            NotFinite(update, data_state=self._unread[update][1], **{name: entry.item() for name, entry in of.items()})
            for update, of in found.items()
            if not (math.isfinite(of["loss"]) and math.isfinite(of["gradient_norm"]))
        ]
        self._unread.clear()
        if not found:
            return {}, []
        last = found[max(found)]
        means = {name: float(np.mean([of[name] for of in found.values()])) for name in last}
        return means | {"skipped": float(last["skipped"])}, bad
