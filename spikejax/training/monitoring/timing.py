"""Where the time of a run goes, and how well the chips are used."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax

from spikejax.hardware.chips import chip_of
from spikejax.hardware.flops import BACKWARD_AND_FORWARD, count_flops


class TimeSplit:
    """How the time since the last look was spent."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        also: Callable[[str, float], None] = lambda part, seconds: None,
    ) -> None:
        """Begins with now.

        Args:
            clock: says seconds.
            also: told of each block its part and its seconds.
        """
        self._clock, self._also = clock, also
        self._begin = clock()
        self._spent: dict[str, float] = {"data": 0.0, "saving": 0.0, "validation": 0.0}
        self._updates = 0

    @contextmanager
    def spent_on(self, part: str) -> Iterator[None]:
        """Counts the block's time for `part`: "data" (waiting for it), "saving" or "validation"."""
        begin = self._clock()
        yield
        seconds = self._clock() - begin
        self._spent[part] += seconds
        self._also(part, seconds)

    def count(self) -> None:
        """Counts an update."""
        self._updates += 1

    def pop_means(self) -> dict[str, float]:
        """Seconds an update by part, if there was one, and begins anew; what is left over is "computing".

        Updates run in the background: time that the host waits for data while the devices compute counts as waiting.
        """
        now = self._clock()
        computing = now - self._begin - sum(self._spent.values())
        parts, updates = self._spent | {"computing": computing}, self._updates
        self._begin, self._spent, self._updates = now, dict.fromkeys(self._spent, 0.0), 0
        return {part: seconds / updates for part, seconds in parts.items()} if updates else {}


class Utilisation:
    """Which part of the chips' bfloat16 peak the training uses, where that peak is known.

    Counted are the products and convolutions of a forward pass, three times, for the backward pass. What is computed
    again to save memory does not count: this is the work to be done, not the work that is done.
    """

    def __init__(self, forward_flops: float | None, devices: Sequence[jax.Device]) -> None:
        """Knows what it divides by.

        Args:
            forward_flops: see `flops_of_forward`.
            devices: all of them.
        """
        chip = chip_of(devices[0])
        self._least_seconds = None  # of an update, at the peak
        if chip is not None and forward_flops is not None:
            self._least_seconds = BACKWARD_AND_FORWARD * forward_flops / (chip.bfloat16_flops * len(devices))

    def __call__(self, spent: Mapping[str, float]) -> dict[str, float]:
        """{"model_flop_utilisation": 0 to 1}, or nothing, for what `TimeSplit.pop_means` returns."""
        if self._least_seconds is None:
            return {}
        return {"model_flop_utilisation": self._least_seconds / (spent["computing"] + spent["data"])}


def flops_of_forward(
    forward: Callable[..., Any], params: Any, batch: Mapping[str, jax.ShapeDtypeStruct], device: jax.Device
) -> float | None:
    """Operations of a forward pass over all devices; None, and nothing is traced, where a device's peak is not known.

    Args:
        forward: (params, input, voxels or None) -> restored clips.
        params: or their shapes.
        batch: shapes of a batch, over all devices.
        device: one of them.
    """
    chip = chip_of(device)
    if chip is None:
        return None
    traced = jax.make_jaxpr(forward)(params, batch["input"], batch.get("voxels"))
    return count_flops(traced, platform=chip.platform)
