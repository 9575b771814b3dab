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
    """The figures of the updates since their means were taken last."""

    def __init__(self) -> None:
        self._on_device: dict[int, tuple[Mapping[str, jax.Array], Any]] = {}
        self._read: list[dict[str, float]] = []

    def add(self, update: int, figures: Mapping[str, jax.Array], data_state: Any) -> None:
        """Takes an update's {"loss", "gradient_norm", "skipped"}, and where the iterator was before its batch."""
        self._on_device[update] = figures, data_state

    def look(self) -> list[NotFinite]:
        """Returns those that are not finite, of the updates that nobody has looked at yet."""
        bad = []
        for update, (figures, data_state) in self._on_device.items():
            found = {name: figure.item() for name, figure in jax.device_get(figures).items()}
            self._read.append(found)
            if not (math.isfinite(found["loss"]) and math.isfinite(found["gradient_norm"])):
                bad.append(NotFinite(update, data_state=data_state, **found))
        self._on_device.clear()
        return bad

    def take(self) -> dict[str, float]:
        """Returns the means over the updates looked at (of `skipped` the last); begins anew."""
        means = {name: float(np.mean([found[name] for found in self._read])) for name in self._read[-1]}
        skipped = self._read[-1]["skipped"]
        self._read.clear()
        return means | {"skipped": skipped}
