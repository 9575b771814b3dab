"""Operations of functions that are counted by hand."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from spikejax.hardware.flops import count_flops

A, B = jnp.ones((3, 4)), jnp.ones((4, 5))


def count(function: Callable, *arguments: jax.Array, platform: str = "cpu") -> int:
    """Operations of a call."""
    return count_flops(jax.make_jaxpr(function)(*arguments), platform=platform)


def test_products_and_their_gradients() -> None:
    """Catches a product that counts half or twice, and gradients that are left out."""
    assert count(jnp.matmul, A, B) == 2 * 3 * 4 * 5
    assert count(jax.grad(lambda a, b: jnp.sum(jnp.sin(a @ b)), argnums=(0, 1)), A, B) == 3 * 2 * 3 * 4 * 5
    batched = jnp.ones((7, 3, 4)), jnp.ones((7, 4, 5))
    assert count(jnp.matmul, *batched) == 7 * 2 * 3 * 4 * 5


def test_loops_count_in_full() -> None:
    """Catches a loop whose body counts once, as in XLA's own analysis, within what else is called."""
    square = jnp.ones((4, 4))

    @jax.jit
    def power(x: jax.Array) -> jax.Array:
        return lax.scan(lambda y, _: (jax.checkpoint(lambda z: z @ square)(y), None), x, None, length=6)[0]

    assert count(power, square) == 6 * 2 * 4**3


def test_branches() -> None:
    """Catches another platform's branch, or all branches of which one runs."""

    def function(x: jax.Array) -> jax.Array:
        return lax.platform_dependent(x, cpu=lambda x: x @ x, default=lambda x: x @ x @ x)

    square = jnp.ones((4, 4))
    assert [count(function, square, platform=platform) for platform in ("cpu", "tpu", "cuda")] == [128, 256, 256]
    assert count(lambda x: lax.cond(x[0, 0] > 0, lambda: x @ x, lambda: x), square) == 128


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (2, 1), (1, 2)])
def test_convolutions(groups: int, stride: int) -> None:
    """Catches groups that count as if they saw every channel, and zeros between the elements that count."""
    x, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4 // groups, 6))

    def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions, feature_group_count=groups
        )

    outputs = 2 * (8 // stride) ** 2 * 6
    forward = 2 * outputs * 9 * 4 // groups
    assert count(convolve, x, kernel) == forward
    both = count(jax.grad(lambda x, kernel: jnp.sum(jnp.sin(convolve(x, kernel))), argnums=(0, 1)), x, kernel)
    assert both == 3 * forward
