"""Spikes as a camera with a higher threshold would have given them, made of those that there are.

A pixel that integrates light fires for the m-th time when its charge passes m thresholds. With a threshold `factor`
times as high it passes the m-th one when the first camera passes m * factor of its own: of the counted spikes every
`factor`-th stays, beginning anywhere. That is exact for whole factors and late by less than one of the old intervals
for others. Keeping each spike with probability 1/factor (binomial thinning) has the same mean, but gives irregular
intervals that no integrating pixel has. Lower thresholds cannot be had: they would need spikes that were never there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer


def raise_threshold(
    counts: Integer[np.ndarray, "t h w k"], factor: float, *, rng: np.random.Generator
) -> Integer[np.ndarray, "t h w k"]:
    """The counts that a threshold `factor` times as high would have left.

    Every pixel counts on from bin to bin and from frame to frame, from a charge of its own at the beginning.

    Args:
        counts: spikes per frame, pixel and time bin, before standardising; time runs forward.
        factor: new threshold / old threshold, at least 1.
        rng: of the charges at the beginning, uniform below the new threshold.

    Raises:
        ValueError: a factor below 1.
    """
    if not factor >= 1:
        raise ValueError(f"expected a factor of at least 1, found {factor}")
    frames, height, width, bins = counts.shape
    before = rng.uniform(0, factor, (height, width, 1)).astype(np.float32)
    fired = np.zeros((height, width, 1), np.int32)
    raised = np.empty_like(counts)
    for frame in range(frames):
        charge = np.cumsum(counts[frame], axis=-1, dtype=np.float32)
        charge += before
        passed = np.floor(charge / np.float32(factor)).astype(np.int32)
        raised[frame] = np.diff(passed, axis=-1, prepend=fired)
        # What has been counted is taken off again, so that the sums of a long clip stay small and exact. Rounding may
        # leave a little less than nothing, and then one that has been counted already.
        before = charge[..., -1:] - passed[..., -1:] * np.float32(factor)
        fired = np.floor(before / np.float32(factor)).astype(np.int32)
    return raised
