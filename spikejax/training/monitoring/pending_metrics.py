"""Metrics of updates, which stay on the device until somebody reads them: reading waits for the device."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_TERM = "loss/"


def loss_terms(metrics: Mapping[str, float]) -> dict[str, float]:
    """The terms of the loss by their names, of an update's metrics."""
    return {name.removeprefix(_TERM): value for name, value in metrics.items() if name.startswith(_TERM)}


@dataclasses.dataclass(frozen=True)
class NotFinite:
    """An update whose loss or gradient was not finite, and which therefore changed nothing.

    Attributes:
        update: its number, from 1.
        metrics: "loss", "loss/NAME" of each of its terms, "gradient_norm", and whatever else an update measures.
        data_state: of the iterator before its batch was taken.
    """

    update: int
    metrics: Mapping[str, float]
    data_state: Any

    @property
    def skipped(self) -> int:
        """The updates that changed nothing, up to and including this one."""
        return int(self.metrics["skipped"])

    @property
    def terms(self) -> dict[str, float]:
        """The terms of the loss that are not finite."""
        return {name: value for name, value in loss_terms(self.metrics).items() if not math.isfinite(value)}

    def __str__(self) -> str:
        named = ", ".join(f"{name} {value}" for name, value in self.terms.items())
        loss = f"the loss is {self.metrics['loss']}{f' ({named})' if named else ''}"
        return f"{loss}, the gradient's norm {self.metrics['gradient_norm']} at step {self.update}"

    def to_json(self) -> dict[str, Any]:
        """What happened, for a file; JSON knows neither NaN nor infinity, so numbers are texts."""
        measured = {name: str(value) for name, value in self.metrics.items() if name != "skipped"}
        return {"update": self.update} | measured


class PendingMetrics:
    """The metrics of the updates since their means were taken last."""

    def __init__(self) -> None:
        self._on_device: dict[int, tuple[Mapping[str, jax.Array], Any]] = {}
        self._read: list[dict[str, float]] = []

    def add(self, update: int, metrics: Mapping[str, jax.Array], data_state: Any) -> None:
        """Keeps what an update measured ("loss", "gradient_norm", "skipped", ...) and where its batch began."""
        self._on_device[update] = metrics, data_state

    def read_not_finite(self) -> list[NotFinite]:
        """Waits for the updates that were not read yet; those of them whose loss or gradient is not finite."""
        failed = []
        for update, (on_device, data_state) in self._on_device.items():
            metrics = {name: value.item() for name, value in jax.device_get(on_device).items()}
            self._read.append(metrics)
            if not (math.isfinite(metrics["loss"]) and math.isfinite(metrics["gradient_norm"])):
                failed.append(NotFinite(update, metrics, data_state))
        self._on_device.clear()
        return failed

    def pop_means(self) -> dict[str, float]:
        """The means over the updates that were read, of `skipped` the last value; the next ones begin anew."""
        means = {name: float(np.mean([metrics[name] for metrics in self._read])) for name in self._read[-1]}
        skipped = self._read[-1]["skipped"]
        self._read.clear()
        return means | {"skipped": skipped}
