"""Tables from which exact Poisson numbers are drawn by a few look-ups, for the light's shot noise."""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import Float64, UInt32

from spikejax.data.simulation.camera_kernels import MAX_SLOTS, PoissonTables, fill_alias_tables

_COARSE_LEVELS, _FINE_LEVELS = 256, 64


@functools.lru_cache(maxsize=8)
def poisson_tables(mean: float) -> PoissonTables:
    """Tables for means up to `mean`, at most `camera_settings.LARGEST_MEAN`; see `camera_kernels.expose`."""
    fine_mean = mean / _COARSE_LEVELS / _FINE_LEVELS
    coarse, first = _alias_tables(np.arange(_COARSE_LEVELS + 1) * (mean / _COARSE_LEVELS))
    fine, zeros = _alias_tables(np.arange(_FINE_LEVELS) * fine_mean, from_zero=True)
    return PoissonTables(coarse, first, fine, fine_mean)


def _alias_tables(
    means: Float64[np.ndarray, " l"], *, from_zero: bool = False
) -> tuple[UInt32[np.ndarray, "l n"], UInt32[np.ndarray, " l"]]:
    """The tables, and the outcome that each one's first slot stands for."""
    reach = 6 * np.sqrt(means) + 8  # beyond it there is less than 1e-9
    first = np.maximum(0, np.floor(means - reach)).astype(np.int64) * (not from_zero)
    slots = int(np.ceil(means + reach - first).max()) + 1
    assert slots <= MAX_SLOTS
    outcomes = first[:, None] + np.arange(slots)
    log_factorials = np.array([math.lgamma(n + 1) for n in range(int(outcomes.max()) + 1)])
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 log 0
        powers = np.where(outcomes == 0, 0.0, outcomes * np.log(means)[:, None])
    shares = np.exp(powers - means[:, None] - log_factorials[outcomes])
    tables = np.empty(shares.shape, np.uint32)
    fill_alias_tables(shares / shares.sum(axis=1, keepdims=True), tables)
    return tables, first.astype(np.uint32)
