"""Attention over time, of the spikes and of the features to them, by loops over pixels."""

from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.models import temporal as module
from spikejax.models.rngs import make_rngs
from spikejax.models.temporal import SpikeTemporalSA, TemporalAttention, TemporalCrossAttnFuse, over_pixels
from tests.models import loops
from tests.models.parameters import build_random, linear, normal, values

FEATURES, HEADS = 8, 2


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def make_fuse(
    residual: Literal["features", "normalized_query"] = "features",
) -> TemporalCrossAttnFuse:
    """A fusion block with random numbers in all its parameters."""
    return build_random(lambda rngs: TemporalCrossAttnFuse(FEATURES, heads=HEADS, residual=residual, rngs=rngs))


def normed(layer: nnx.Module, x: np.ndarray) -> np.ndarray:
    """What a LayerNorm computes."""
    return loops.layer_norm(x, *values(layer.scale, layer.bias))


def attended_by_loops(attention: TemporalAttention, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """One pixel: queries [t, c], keys [s, c]."""
    frames, channels = queries.shape
    width = channels // attention.heads
    q = linear(attention.in_projection, queries)[:, :channels]
    k, v = np.split(linear(attention.in_projection, keys)[:, channels:], 2, axis=-1)
    result = np.zeros((frames, channels))
    for head, t in np.ndindex(attention.heads, frames):
        of_head = slice(head * width, (head + 1) * width)
        logits = np.array([q[t, of_head] @ key[of_head] for key in k]) / np.sqrt(width)
        result[t, of_head] = loops.softmax(logits) @ v[:, of_head]
    return linear(attention.out_projection, result)


def test_attention_over_time_by_loops() -> None:
    """Catches projections in another order than q, k, v, a missing scale, heads that are mixed."""
    attention = build_random(lambda rngs: TemporalAttention(FEATURES, heads=HEADS, rngs=rngs))
    queries, keys = normal(3, 4, FEATURES), normal(3, 5, FEATURES, seed=1)
    answer = jax.jit(attention)(jnp.asarray(queries), jnp.asarray(keys))
    for pixel in range(3):
        np.testing.assert_allclose(answer[pixel], attended_by_loops(attention, queries[pixel], keys[pixel]), atol=1e-12)


def test_spike_attention_by_loops() -> None:
    """Catches a norm after instead of before, a missing residual, another activation."""
    block = build_random(lambda rngs: SpikeTemporalSA(FEATURES, heads=HEADS, rngs=rngs))
    x = normal(2, 3, 2, 3, FEATURES)
    answer = jax.jit(block)(jnp.asarray(x))
    for b, row, column in np.ndindex(2, 2, 3):
        of_pixel = x[b, :, row, column]
        middle = normed(block.norm1, of_pixel)
        middle = of_pixel + attended_by_loops(block.attention, middle, middle)
        hidden = loops.gelu(linear(block.mlp.linear1, normed(block.norm2, middle)))
        np.testing.assert_allclose(answer[b, :, row, column], middle + linear(block.mlp.linear2, hidden), atol=1e-11)


@pytest.mark.parametrize("residual", ("features", "normalized_query"))
def test_fusion_by_loops(residual: Literal["features", "normalized_query"]) -> None:
    """Catches queries and keys exchanged, one norm for both, and the wrong one of the two residuals."""
    fuse = make_fuse(residual)
    features, spikes = normal(2, 3, 2, 3, FEATURES), normal(2, 3, 2, 3, FEATURES, seed=1)
    answer = jax.jit(fuse)(jnp.asarray(features), jnp.asarray(spikes))
    for b, row, column in np.ndindex(2, 2, 3):
        of_pixel = features[b, :, row, column]
        query = normed(fuse.norm_query, of_pixel)
        keys = normed(fuse.norm_spikes, spikes[b, :, row, column])
        middle = of_pixel if residual == "features" else query
        middle = middle + attended_by_loops(fuse.attention, query, keys)
        hidden = loops.gelu(linear(fuse.mlp.linear1, normed(fuse.norm_mlp, middle)))
        np.testing.assert_allclose(answer[b, :, row, column], middle + linear(fuse.mlp.linear2, hidden), atol=1e-11)


def test_a_pixel_depends_on_itself_alone() -> None:
    """Catches pixels, clips or times that are mixed when clips become sequences. Bitwise."""
    fuse = jax.jit(make_fuse())
    features, spikes = normal(2, 3, 4, 5, FEATURES), normal(2, 3, 4, 5, FEATURES, seed=1)
    before = np.asarray(fuse(jnp.asarray(features), jnp.asarray(spikes)))
    # At one time of one pixel, not by the same amount in all channels: the norm would take that away.
    spikes[1, 0, 2, 3, :3] += 1
    after = np.asarray(fuse(jnp.asarray(features), jnp.asarray(spikes)))
    changed = (before != after).any(-1)
    assert changed[1, :, 2, 3].all()
    assert changed.sum() == 3


@pytest.mark.slow
@pytest.mark.parametrize("limit", (10, 7, 1))
def test_chunks_are_the_whole(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Catches chunks in the wrong order, pixels left out where the chunks do not divide them, lost gradients."""
    definition, parameters = nnx.split(make_fuse())
    features, spikes = (jnp.asarray(normal(2, 3, 2, 5, FEATURES, seed=seed)) for seed in (0, 1))

    def answers() -> tuple:
        def loss(parameters: nnx.State, features: Array, spikes: Array) -> tuple[Array, Array]:
            fused = nnx.merge(definition, parameters)(features, spikes)
            return jnp.sin(fused).sum(), fused

        return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(parameters, features, spikes)

    whole = answers()
    monkeypatch.setattr(module, "SEQUENCES_AT_ONCE", limit)
    for a, b in zip(jax.tree.leaves(answers()), jax.tree.leaves(whole), strict=True):
        # The gradients of parameters are float32.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_no_chunk_is_larger_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a full frame that is worked on at once: memory would grow with the picture."""
    monkeypatch.setattr(module, "SEQUENCES_AT_ONCE", 7)
    shapes = []

    def note(sequences: Array) -> Array:
        shapes.append(sequences.shape)
        return sequences

    clip = jnp.asarray(normal(2, 3, 2, 5, 4))
    np.testing.assert_array_equal(over_pixels(note, clip), clip)
    # 5 of the 10 pixels of both clips.
    assert set(shapes) == {(10, 3, 4)}


def test_fusion_that_begins_as_zero_is_the_identity() -> None:
    """Catches a last projection, weight or bias, that is not zero at first. Bitwise."""
    fuse = TemporalCrossAttnFuse(FEATURES, heads=HEADS, residual="features", zero_init=True, rngs=make_rngs(0))
    features, spikes = (jnp.asarray(normal(1, 2, 3, 3, FEATURES, seed=seed), jnp.float32) for seed in (0, 1))
    assert jnp.array_equal(jax.jit(fuse)(features, spikes), features)


def test_what_does_not_exist_is_refused() -> None:
    """Catches heads that do not divide the features, with no word of which."""
    with pytest.raises(ValueError, match="8 features do not divide into 3 heads"):
        TemporalAttention(8, heads=3, rngs=make_rngs(0))
