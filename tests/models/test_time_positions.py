"""What attention over time is told of time, by loops over frames."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from spikejax.models.temporal import SpikeTemporalSA, TemporalAttention, TemporalCrossAttnFuse
from spikejax.models.time_positions import TimeBias, TimePositions
from tests.models import loops
from tests.models.parameters import build_random, linear, normal, values

FEATURES, HEADS = 8, 2


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def make_attention(time: TimePositions) -> TemporalAttention:
    """Attention with random numbers in all parameters."""
    return build_random(lambda rngs: TemporalAttention(FEATURES, heads=HEADS, time=time, rngs=rngs))


def encoded(x: np.ndarray) -> np.ndarray:
    """[t, c] and the sines and cosines of each frame's number, from the paper's formula."""
    result = x.copy()
    for t, i in np.ndindex(x.shape):
        angle = t / 10000.0 ** (2 * (i // 2) / x.shape[1])
        result[t, i] += np.cos(angle) if i % 2 else np.sin(angle)
    return result


def attended_by_loops(
    attention: TemporalAttention, time: TimePositions, queries: np.ndarray, keys: np.ndarray
) -> np.ndarray:
    """One pixel: queries [t, c], keys [s, c]."""
    if time.kind == "sine":
        queries, keys = encoded(queries), encoded(keys)
    channels = queries.shape[1]
    width = channels // HEADS
    q = linear(attention.in_projection, queries)[:, :channels]
    k, v = np.split(linear(attention.in_projection, keys)[:, channels:], 2, axis=-1)
    table = values(attention.time_bias.table)[0] if time.has_bias else None
    result = np.zeros_like(q)
    for head, t in np.ndindex(HEADS, len(queries)):
        of_head = slice(head * width, (head + 1) * width)
        in_reach = [s for s in range(len(keys)) if time.kind != "local" or abs(s - t) <= time.reach]
        logits = np.array([q[t, of_head] @ k[s, of_head] for s in in_reach]) / np.sqrt(width)
        if table is not None:
            logits += [table[min(max(s - t, -time.reach), time.reach) + time.reach, head] for s in in_reach]
        result[t, of_head] = loops.softmax(logits) @ v[in_reach, of_head]
    return linear(attention.out_projection, result)


@pytest.mark.parametrize("kind", ("none", "relative", "local", "sine"))
@pytest.mark.parametrize("reach", (1, 2, 7))
def test_attention_by_loops(kind: str, reach: int) -> None:
    """Catches a difference of the wrong sign, heads mixed up, frames out of reach attended to or with a wrong bias.

    More frames than the table has differences, and fewer.
    """
    time = TimePositions(kind, reach)
    attention = make_attention(time)
    queries, keys = normal(2, 6, FEATURES), normal(2, 6, FEATURES, seed=1)
    answer = jax.jit(attention)(jnp.asarray(queries), jnp.asarray(keys))
    for pixel in range(2):
        expected = attended_by_loops(attention, time, queries[pixel], keys[pixel])
        np.testing.assert_allclose(answer[pixel], expected, atol=1e-12)


@pytest.mark.parametrize("kind", ("relative", "local"))
def test_the_beginning_favours_a_frames_own_spikes(kind: str) -> None:
    """Catches a start in another row of the table: 2 for the own frame, 0 elsewhere."""
    bias = TimeBias(3, TimePositions(kind, 2))(4, 4, jnp.float32)
    within = np.abs(np.subtract.outer(np.arange(4), np.arange(4))) <= 2
    np.testing.assert_array_equal(np.where(within, bias, 0), np.broadcast_to(2 * np.eye(4), (3, 4, 4)))
    assert np.all(np.asarray(bias)[:, ~within] == (0 if kind == "relative" else np.finfo(np.float32).min))


@pytest.mark.parametrize("kind", ("relative", "local", "sine"))
def test_blocks_hand_time_to_their_attention(kind: str) -> None:
    """Catches a block that forgets what its attention is told: exchanging two frames must exchange more than rows."""
    time = TimePositions(kind, 1)
    features, spikes = normal(1, 3, 1, 2, FEATURES), normal(1, 3, 1, 2, FEATURES, seed=1)
    order = [1, 0, 2]
    alone = build_random(lambda rngs: SpikeTemporalSA(FEATURES, heads=HEADS, time=time, rngs=rngs))
    fuse = build_random(
        lambda rngs: TemporalCrossAttnFuse(FEATURES, heads=HEADS, residual="features", time=time, rngs=rngs)
    )
    for block, clips in ((alone, (spikes,)), (fuse, (features, spikes))):
        straight = block(*map(jnp.asarray, clips))
        exchanged = block(*(jnp.asarray(clip[:, order]) for clip in clips))
        assert np.abs(straight[:, order] - exchanged).max() > 1e-3


def test_every_difference_is_learned() -> None:
    """Catches a table whose rows get no gradient, which a sum without a scatter could lose."""
    definition, parameters = nnx.split(make_attention(TimePositions("relative", 3)))
    x = jnp.asarray(normal(2, 4, FEATURES))
    gradient = jax.grad(lambda parameters: jnp.square(nnx.merge(definition, parameters)(x, x)).sum())(parameters)
    assert np.all(np.abs(gradient["time_bias"]["table"].get_value()) > 0)


def test_no_reach_is_refused() -> None:
    """Catches a table without a row for neighbours."""
    with pytest.raises(ValueError, match="at least 1 frame"):
        TimePositions(reach=0)
