"""How attention over time knows when: what it is told of the frames of its queries and keys (docs/spike.md, 1.8).

Without it the frames of a clip are a set, and a frame cannot tell its own spikes from its neighbours'.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jaxtyping import Float

from spikejax.models.layers import accumulation_dtype

TimeKind = Literal["none", "relative", "local", "sine"]


@dataclass(frozen=True)
class TimePositions:
    """What attention over time is told of time.

    Attributes:
        kind: "none": nothing. "relative": a learned bias per head and time difference is added to the logits. "local":
            the same, and frames further away than `reach` are not attended to. "sine": sines and cosines of a frame's
            number (Vaswani et al. 2017) are added to queries and keys.
        reach: frames, the largest difference with a bias of its own; further ones share it ("relative").
        own_frame: the bias of a frame's own spikes at the beginning, of all others 0.
    """

    kind: TimeKind = "none"
    reach: int = 4
    own_frame: float = 2.0

    def __post_init__(self) -> None:
        if self.reach < 1:
            raise ValueError(f"spike.time_reach must be at least 1 frame, not {self.reach}")

    @property
    def has_bias(self) -> bool:
        """Whether there are biases to learn."""
        return self.kind in ("relative", "local")


UNTOLD = TimePositions()


class TimeBias(nnx.Module):
    """A learned bias for every head and time difference, a row of `table` for each of -reach .. reach frames."""

    def __init__(self, heads: int, positions: TimePositions):
        self.reach, self.local = positions.reach, positions.kind == "local"
        table = np.zeros((2 * positions.reach + 1, heads), np.float32)
        table[positions.reach] = positions.own_frame
        self.table = nnx.Param(jnp.asarray(table), axes=("offsets", "heads"))

    def __call__(self, queries: int, keys: int, dtype: Any) -> Float[Array, "heads t s"]:
        """What is added to the logits of so many frames; frames out of reach have the least number of `dtype`."""
        chosen = _chosen_rows(queries, keys, self.reach)
        # A product with ones and zeros rather than a gather, whose gradient would be a scatter.
        exact = lax.Precision.HIGHEST
        bias = jnp.einsum("tsr,rh->hts", chosen.astype(dtype), self.table[...].astype(dtype), precision=exact)
        if not self.local:
            return bias
        return jnp.where(np.abs(_differences(queries, keys)) > self.reach, jnp.finfo(dtype).min, bias)


def _differences(queries: int, keys: int) -> np.ndarray:
    """Frames from each query to each key, [t, s]: positive for later keys."""
    return np.arange(keys)[None] - np.arange(queries)[:, None]


@lru_cache
def _chosen_rows(queries: int, keys: int, reach: int) -> np.ndarray:
    """The row of the table for each query and key, one of [t, s, rows] is True."""
    rows = np.clip(_differences(queries, keys), -reach, reach) + reach
    return rows[..., None] == np.arange(2 * reach + 1)


@lru_cache
def sine_of_frames(frames: int, features: int) -> np.ndarray:
    """Sines (even features) and cosines (odd ones) of the frames' numbers, float64 [frames, features]."""
    frequency = 10000.0 ** (-2 * (np.arange(features) // 2) / features)
    angle = np.arange(frames)[:, None] * frequency
    return np.where(np.arange(features) % 2 == 0, np.sin(angle), np.cos(angle))


def add_sine(x: Float[Array, "p t c"]) -> Float[Array, "p t c"]:
    """The sequences with their frames' encoding added."""
    return x + jnp.asarray(sine_of_frames(x.shape[1], x.shape[2]), x.dtype)[None]


def softmax_over_time(logits: Float[Array, "p heads t s"], bias: TimeBias | None) -> Float[Array, "p heads t s"]:
    """The weights of attention, float32 at least."""
    if bias is not None:
        logits = logits + bias(logits.shape[2], logits.shape[3], accumulation_dtype(logits.dtype))[None]
    return jax.nn.softmax(logits)
