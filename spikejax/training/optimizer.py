"""The optimizer of the recipe: AdamW, linear warm-up and cosine, clipping of the gradient's global norm (optax).

Weight decay. The recipe's AdamW (PyTorch's) decays every parameter, and so does ours by default. Many recipes leave
norms and biases out; `decay_vectors = False` does that. "Vector" then means one dimension in the layer itself: the
dimension named "layers", along which repeated blocks are stacked, does not count.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from spikejax.errors import InputError


def make_schedule(config: ConfigDict, *, steps: int) -> optax.Schedule:
    """Returns the learning rate as a function of the update's number, which starts at 0.

    peak * (n + 1) / warmup during the warm-up, so that the first update is not wasted on a rate of 0 and update
    `warmup - 1` has the peak; then half a cosine from the peak to the final rate at update `steps`.

    Args:
        config: the `optimizer` section.
        steps: updates of the whole run, warm-up included.

    Raises:
        InputError: the warm-up does not end before the run.
    """
    peak, warmup = config.peak_learning_rate, config.warmup_steps
    if not 0 <= warmup < steps:
        raise InputError(f"optimizer.warmup_steps: expected 0 to training.steps - 1 = {steps - 1}, got {warmup}")
    if peak <= 0:
        raise InputError(f"optimizer.peak_learning_rate: expected a positive number, got {peak}")
    cosine = optax.cosine_decay_schedule(peak, steps - warmup, alpha=config.final_learning_rate / peak)
    rise = optax.linear_schedule(peak / max(warmup, 1), peak * (warmup + 1) / max(warmup, 1), max(warmup, 1))
    joined = optax.join_schedules([rise, cosine], boundaries=[warmup])
    return lambda count: joined(jnp.asarray(count, jnp.float32))


def decay_mask(axes: Any, *, decay_vectors: bool) -> Any:
    """Returns a tree of bools: which parameters decay.

    Args:
        axes: tree of parameters' logical dimension names (tuples).
        decay_vectors: whether parameters of a single dimension (norms, biases) decay too.
    """
    return jax.tree.map(
        lambda names: decay_vectors or sum(name != "layers" for name in names) > 1,
        axes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def make_optimizer(
    config: ConfigDict, schedule: optax.Schedule, axes: Any, *, frozen: Any
) -> optax.GradientTransformation:
    """Returns clipping by the global norm, then AdamW, then nothing for what is frozen.

    Args:
        config: the `optimizer` section.
        schedule: learning rate by update.
        axes: tree of the parameters' logical dimension names.
        frozen: tree of bools: which parameters are not trained.
    """
    chain = optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.adamw(
            schedule,
            b1=config.beta1,
            b2=config.beta2,
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            mask=decay_mask(axes, decay_vectors=config.decay_vectors),
        ),
        optax.masked(optax.set_to_zero(), frozen),  # their gradient is 0 already, but not their decay
    )

    def update(gradient: Any, state: optax.OptState, params: Any = None) -> tuple[Any, optax.OptState]:
        # Adam raises floats to the power of its int32 counter, which strict promotion (on in the tests) would refuse.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(gradient, state, params)

    return optax.GradientTransformation(chain.init, update)
