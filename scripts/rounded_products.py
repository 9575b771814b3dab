"""Products of float32 arrays as TPUs and GPUs compute them, emulated on a CPU, which itself always keeps all bits.

Such a device rounds the operands of a product to fewer bits; each product of two rounded numbers and the sum over them
are float32 still. So a function is traced, and of every product in it that does not ask for `highest` the operands are
rounded first.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend import core

# An operand as arrays of fewer bits, whose sum it is, or nearly; those of few bits come first.
Split = Callable[[Array], tuple[Array, ...]]


def _rounded_to(bits: int) -> Callable[[Array], Array]:
    """Rounding to the nearest number of so many bits, the leading one counted, with float32's exponents."""
    return lambda x: lax.reduce_precision(x, exponent_bits=8, mantissa_bits=bits - 1)


_bfloat16 = _rounded_to(8)


def one_pass(x: Array) -> tuple[Array, ...]:
    """What one bfloat16 pass has of an operand, 8 bits: `default` on TPUs."""
    return (_bfloat16(x),)


def three_passes(x: Array) -> tuple[Array, ...]:
    """What three bfloat16 passes have of an operand, 16 bits in two parts: `high` on TPUs."""
    head = _bfloat16(x)
    return head, _bfloat16(x - head)


def tensor_float_32(x: Array) -> tuple[Array, ...]:
    """What TensorFloat-32 has of an operand, 11 bits: `default` and `high` on GPUs."""
    return (_rounded_to(11)(x),)


# By what is asked for and where: how the operands are split. `highest` keeps all bits everywhere.
ROUNDINGS: Mapping[tuple[str, str], Split] = {
    ("high", "TPU"): three_passes,
    ("default", "TPU"): one_pass,
    ("high and default", "GPU"): tensor_float_32,
}


def with_rounded_products(function: Callable[..., Any], split: Split) -> Callable[..., Any]:
    """`function` with its float32 products computed of `split` operands, but for those that ask for `highest`.

    Args:
        function: of trees of arrays; its forward pass alone, as gradients have products of their own.
        split: one of `ROUNDINGS`.
    """

    def rounded(*arguments: Any) -> Any:
        with jax.default_matmul_precision("default"):
            traced, results = jax.make_jaxpr(function, return_shape=True)(*arguments)
        leaves = core.jaxpr_as_fun(_rewritten(traced, split))(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(results), leaves)

    return rounded


def _rewritten(value: Any, split: Split) -> Any:
    """A jaxpr, or what an operation has of them in its parameters, with its products rounded."""
    if isinstance(value, core.Jaxpr):  # asked first: from JAX 0.12 on a closed one is one too
        return value.replace(eqns=[_rewritten_equation(equation, split) for equation in value.eqns])
    if isinstance(value, core.ClosedJaxpr):
        return value.replace(jaxpr=_rewritten(value.jaxpr, split))
    if type(value) in (tuple, list):  # no named tuples, which are made otherwise and hold none
        return type(value)(_rewritten(entry, split) for entry in value)
    return value


def _rewritten_equation(equation: Any, split: Split) -> Any:
    if not _is_rounded(equation):
        params = {name: _rewritten(value, split) for name, value in equation.params.items()}
        return equation.replace(params=params)
    exact = {**equation.params, "precision": (lax.Precision.HIGHEST,) * 2}

    @jax.jit
    def product(a: Array, b: Array) -> Array:
        parts_a, parts_b = split(a), split(b)
        # Small ones are added first, and that of two small parts is left out.
        pairs = [(1, 0), (0, 1), (0, 0)] if len(parts_a) > 1 else [(0, 0)]
        return sum(equation.primitive.bind(parts_a[i], parts_b[j], **exact) for i, j in pairs)

    a, b = (jax.ShapeDtypeStruct(operand.aval.shape, operand.aval.dtype) for operand in equation.invars)
    (call,) = jax.make_jaxpr(product)(a, b).eqns
    return call.replace(invars=equation.invars, outvars=equation.outvars)


def _is_rounded(equation: Any) -> bool:
    if equation.primitive.name not in ("dot_general", "conv_general_dilated"):
        return False
    if any(operand.aval.dtype != jnp.float32 for operand in equation.invars):
        return False
    return equation.params["precision"] != (lax.Precision.HIGHEST,) * 2
