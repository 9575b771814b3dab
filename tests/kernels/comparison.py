"""Kernels against the plain form in float64: what both give, and the gradients of everything that goes in."""

from collections.abc import Callable, Container
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array

from spikejax.kernels.choice import Choice, Form

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


def times_chosen(
    monkeypatch: pytest.MonkeyPatch,
    owner: ModuleType,
    module: nnx.Module,
    *inputs: Array,
    dtype: str,
    form: Form = "tpu",
    forms: Container[Form] = ("tpu",),
    **named: Array,
) -> int:
    """Compares a module by kernels with its plain form, its gradients by all parameters included.

    Args:
        monkeypatch: of the test.
        owner: the Python module that chooses the kernels.
        module: what is compared.
        *inputs: of its call.
        dtype: of them there.
        form: of the kernels.
        forms: all that there are for it.
        **named: more of them.

    Returns:
        how often a kernel was chosen.
    """
    definition, parameters = nnx.split(module)
    given = cast((inputs, named), dtype)

    def called(parameters: Any, given: tuple[tuple[Array, ...], dict[str, Array]]) -> Array:
        return nnx.merge(definition, parameters)(*given[0], **given[1])

    expected = with_gradients(called, cast(parameters, "float64"), cast(given, "float64"))
    used = []

    def choose(fits: Any) -> Choice:
        assert all(fits(other) == (other in forms) for other in ("tpu", "gpu"))
        used.append(form)
        return Choice(form, interpret=True)

    monkeypatch.setattr(owner, "choose", choose)
    assert_close(with_gradients(called, cast(parameters, "float32"), given), expected, dtype)
    return len(used)


def _leaves(tree: Any) -> list[Array]:
    return jax.tree.leaves(tree)
