"""Recording some updates of a run with JAX's profiler."""

from pathlib import Path
from typing import Any

import jax


class Profiler:
    """Records some updates with JAX's profiler, into a folder that TensorBoard shows."""

    def __init__(self, folder: Path, *, at: int, updates: int) -> None:
        """Records updates `at` to `at + updates - 1`; never if `at` is 0."""
        self._folder = folder
        self._at, self._updates = at, updates
        self._running = False

    def before_update(self, step: int) -> None:
        """To be called with the number of the update that comes, from 1."""
        if self._at and step == self._at:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after_update(self, step: int, metrics: Any) -> None:
        """To be called with the number of the update that was started, from 1, and what it returns."""
        if self._running and step >= self._at + self._updates - 1:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Ends a recording that has not ended yet."""
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
