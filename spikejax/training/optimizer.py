"""The optimizer: Adam or AdamW, linear warm-up and cosine, clipping of the gradient's global norm, parts (optax).

Parts of the network are named by patterns: frozen for good, or frozen for a while and then trained at a fraction of the
learning rate, as the published recipe does with its optical flow and deformable offsets.

Weight decay. The recipe's AdamW (PyTorch's) decays every parameter, and so does ours by default. Many recipes leave
norms and biases out; `decay_vectors = False` does that. "Vector" then means one dimension in the layer itself: the
dimension named "layers", along which repeated blocks are stacked, does not count.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict


def make_schedule(config: ConfigDict, *, steps: int) -> optax.Schedule:
    """The learning rate as a function of the update's number, which starts at 0.

    peak * (n + 1) / warmup during the warm-up, so that the first update is not wasted on a rate of 0 and update
    `warmup - 1` has the peak; then half a cosine from the peak to the final rate at update `steps`.

    Args:
        config: the `optimizer` section.
        steps: updates of the whole run, warm-up included: more than that takes.
    """
    peak, warmup = config.peak_learning_rate, config.warmup_steps
    cosine = optax.cosine_decay_schedule(peak, steps - warmup, alpha=config.final_learning_rate / peak)
    rise = optax.linear_schedule(peak / max(warmup, 1), peak * (warmup + 1) / max(warmup, 1), max(warmup, 1))
    joined = optax.join_schedules([rise, cosine], boundaries=[warmup])
    return lambda count: joined(jnp.asarray(count, jnp.float32))


def decay_mask(axes: Any, *, decay_vectors: bool) -> Any:
    """A tree of bools: which parameters decay.

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
    config: ConfigDict, schedule: optax.Schedule, axes: Any, *, frozen: Any, slow: Any
) -> optax.GradientTransformation:
    """Clipping by the global norm, then Adam or AdamW for each part of the network.

    What is frozen, for now or for good, adds nothing to the norm; its moments and their bias correction begin when
    it begins to be trained.

    Args:
        config: the `optimizer` section.
        schedule: learning rate by update.
        axes: tree of the parameters' logical dimension names.
        frozen: tree of bools: which parameters are not trained.
        slow: tree of bools: which parameters are frozen for `slow_steps`, then trained at `slow_factor` of the rate.
    """
    slow = jax.tree.map(lambda late, still: late and not still, slow, frozen)
    part = jax.tree.map(lambda still, late: "frozen" if still else "slow" if late else "trained", frozen, slow)
    decay = config.weight_decay if config.kind == "adamw" else 0.0
    direction = optax.chain(
        optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon),
        optax.add_decayed_weights(decay, mask=decay_mask(axes, decay_vectors=config.decay_vectors))
        if decay
        else optax.identity(),
    )

    def when_thawed(inner: optax.GradientTransformation) -> optax.GradientTransformation:
        return optax.conditionally_mask(inner, lambda count: count >= config.slow_steps)

    chain = optax.chain(
        optax.masked(when_thawed(optax.identity()), slow) if config.slow_steps else optax.identity(),
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        optax.partition(
            {
                "trained": direction,
                "slow": optax.chain(
                    when_thawed(direction) if config.slow_steps else direction, optax.scale(config.slow_factor)
                ),
                "frozen": optax.set_to_zero(),
            },
            part,
        ),
        optax.scale_by_learning_rate(schedule),
    )

    def update(gradient: Any, state: optax.OptState, params: Any = None) -> tuple[Any, optax.OptState]:
        # Adam raises floats to the power of its int32 counter, which strict promotion (on in the tests) would refuse.
        with jax.numpy_dtype_promotion("standard"):
            return chain.update(gradient, state, params)

    return optax.GradientTransformation(chain.init, update)
