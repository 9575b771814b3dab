"""Kernels against the plain form in float64: what both give, and the gradients of everything that goes in."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Of the largest number of each result: rounding of float32 in sums of hundreds, and of bfloat16 in single products.
TOLERANCES = {"float32": 2e-5, "bfloat16": 2e-2}


def with_gradients(function: Callable[..., Any], *inputs: Any) -> tuple:
    """What `function` of trees of arrays gives, and the gradients of `inputs` for a fixed random gradient of that."""

    def answer(*inputs: Any) -> tuple:
        results, pull = jax.vjp(function, *inputs)
        random = [np.random.default_rng(7 + index).normal(size=x.shape) for index, x in enumerate(_leaves(results))]
        gradient = [jnp.asarray(g, x.dtype) for g, x in zip(random, _leaves(results), strict=True)]
        return results, pull(jax.tree.unflatten(jax.tree.structure(results), gradient))

    return jax.jit(answer)(*inputs)


def cast(tree: Any, dtype: str) -> Any:
    """The tree with its floating-point arrays in another dtype."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def assert_close(ours: Any, plain: Any, dtype: str) -> None:
    """Fails where a result differs by more than the tolerance of its range, or where there is nothing to compare."""
    for (path, expected), result in zip(jax.tree_util.tree_leaves_with_path(plain), _leaves(ours), strict=True):
        if expected.dtype == jax.dtypes.float0:
            continue
        expected, result = (np.asarray(x, np.float64) for x in (expected, result))
        extent = np.abs(expected).max()
        assert extent > 0, f"{path} is zero everywhere"
        error = np.abs(result - expected).max() / extent
        assert error <= TOLERANCES[dtype], f"{path} differs by {error:.1e} of its range"


def _leaves(tree: Any) -> list[Array]:
    return jax.tree.leaves(tree)
