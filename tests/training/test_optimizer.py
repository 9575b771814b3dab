"""The schedule, the decay mask and the update against their formulas."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from spikejax.training.optimizer import decay_mask, make_optimizer, make_schedule

NOTHING = {"kernel": False, "bias": False}


def test_schedule_values(config: ConfigDict) -> None:
    """Catches a first update at rate 0, a jump where warm-up meets cosine, a cosine that ends early or elsewhere."""
    optimizer = config.optimizer
    optimizer.peak_learning_rate, optimizer.final_learning_rate, optimizer.warmup_steps = 1e-3, 1e-5, 10
    schedule = make_schedule(optimizer, steps=110)
    middle = (1e-3 + 1e-5) / 2
    quarter = 1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi / 4)) / 2
    expected = {0: 1e-4, 4: 5e-4, 9: 1e-3, 10: 1e-3, 35: quarter, 60: middle, 110: 1e-5, 500: 1e-5}
    for step, rate in expected.items():
        assert float(schedule(jnp.int32(step))) == pytest.approx(rate, rel=1e-5), step


def test_schedule_without_warm_up(config: ConfigDict) -> None:
    """Catches a division by a warm-up of 0 updates."""
    config.optimizer.warmup_steps = 0
    assert float(make_schedule(config.optimizer, steps=10)(0)) == pytest.approx(config.optimizer.peak_learning_rate)


def test_decay_mask() -> None:
    """Catches stacked norms and biases, of shape (layers, channels), that count as matrices."""
    axes = {
        "kernel": ("features_in", "features_out"),
        "bias": ("features_out",),
        "blocks": {"kernel": ("layers", "embed", "mlp"), "scale": ("layers", "embed")},
    }
    without_vectors = {"kernel": True, "bias": False, "blocks": {"kernel": True, "scale": False}}
    everything = {"kernel": True, "bias": True, "blocks": {"kernel": True, "scale": True}}
    assert decay_mask(axes, decay_vectors=False) == without_vectors
    assert decay_mask(axes, decay_vectors=True) == everything


def updates(config: ConfigDict, *, slow: dict, count: int) -> list[dict]:
    """What the optimizer makes of one gradient, again and again."""
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 5.0)}
    axes = {"kernel": ("features_in", "features_out"), "bias": ("features_out",)}
    gradient = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 4.0)}
    optimizer = make_optimizer(config.optimizer, lambda step: 0.01, axes, frozen=NOTHING, slow=slow)
    state, found = optimizer.init(params), []
    for _ in range(count):
        update, state = optimizer.update(gradient, state, params)
        found.append(update)
    return found


@pytest.mark.slow
def test_slow_parts_are_frozen_then_trained_at_a_fraction(config: ConfigDict) -> None:
    """Catches a part that moves or decays while frozen, counts to the norm, or thaws with stale bias corrections."""
    config.optimizer.kind, config.optimizer.weight_decay = "adam", 0.0
    config.optimizer.slow_steps, config.optimizer.slow_factor, config.optimizer.epsilon = 3, 0.125, 1.0
    config.optimizer.clip_norm = 1.0
    found = updates(config, slow={"kernel": False, "bias": True}, count=5)
    for update in found[:3]:
        np.testing.assert_array_equal(update["bias"], 0.0)
        # Of norm 6, clipped to 1 without the frozen part: 0.5 each, and Adam's first update is g / (|g| + epsilon).
        np.testing.assert_allclose(update["kernel"], -0.01 * 0.5 / 1.5, rtol=1e-5)
    clipped = 4 / np.hypot(6.0, 4 * 2**0.5)
    np.testing.assert_allclose(found[3]["bias"], -0.01 * 0.125 * clipped / (clipped + 1.0), rtol=1e-5)


def test_slow_parts_that_are_never_frozen(config: ConfigDict) -> None:
    """Catches a factor that is only applied to what was frozen first."""
    config.optimizer.slow_factor, config.optimizer.weight_decay = 0.5, 0.0
    (found,) = updates(config, slow={"kernel": False, "bias": True}, count=1)
    np.testing.assert_allclose(found["bias"], 0.5 * found["kernel"][0], rtol=1e-4)


def test_clipping_can_be_off(config: ConfigDict) -> None:
    """Catches 0 taken as the largest norm, which would stop all training."""
    config.optimizer.clip_norm, config.optimizer.epsilon, config.optimizer.weight_decay = 0.0, 1.0, 0.0
    (found,) = updates(config, slow=NOTHING, count=1)
    np.testing.assert_allclose(found["kernel"], -0.01 * 3.0 / 4.0, rtol=1e-5)


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_first_update_is_adamw(config: ConfigDict, decay_vectors: bool) -> None:
    """Catches clipping after the moments, decay that is not decoupled, and a mask that is not applied."""
    config.optimizer.decay_vectors = decay_vectors
    config.optimizer.weight_decay = 0.1
    config.optimizer.epsilon = 0.5  # large, so that the size of the clipped gradient shows in Adam's first update
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 5.0)}
    axes = {"kernel": ("features_in", "features_out"), "bias": ("features_out",)}
    gradient = {"kernel": jnp.full((2, 2), 4.0), "bias": jnp.zeros(2)}  # of norm 8, clipped to 1: 0.5 each
    optimizer = make_optimizer(config.optimizer, lambda step: 0.01, axes, frozen=NOTHING, slow=NOTHING)
    update, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(update["kernel"], -0.01 * (0.5 / (0.5 + 0.5) + 0.1 * 3.0), rtol=1e-5)
    np.testing.assert_allclose(update["bias"], -0.01 * 0.1 * 5.0 * decay_vectors, rtol=1e-5)
