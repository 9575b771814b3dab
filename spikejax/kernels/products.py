"""Products of matrices within kernels and beside them: operands of any type, sums in float32."""

import jax
import jax.numpy as jnp
from jax import Array, lax


def product(a: Array, b: Array, axis_a: int, axis_b: int, *, exact: bool = False, interpret: bool = False) -> Array:
    """The sum over `axis_a` of `a` and `axis_b` of `b`, in float32 at least.

    Args:
        a: its other axes come first.
        b: of the same type.
        axis_a: the axis that is summed over.
        axis_b: the same.
        exact: whether float32 operands keep all of their bits, whatever JAX is told of its products.
        interpret: on a CPU, which does not multiply all shapes of bfloat16 into float32; so operands are widened first,
            which is exact.
    """
    dtype = a.dtype if jnp.finfo(a.dtype).bits >= 32 else jnp.dtype(jnp.float32)
    # Whatever is asked for outside: Mosaic knows these two alone, and the higher one of float32 operands alone.
    exact = exact or _asked_for() in ("high", "highest")
    precision = lax.Precision.HIGHEST if exact and a.dtype == dtype else lax.Precision.DEFAULT
    if interpret:
        a, b = a.astype(dtype), b.astype(dtype)
    dimensions = (((axis_a,), (axis_b,)), ((), ()))
    return lax.dot_general(a, b, dimensions, precision=precision, preferred_element_type=dtype)


def _asked_for() -> str | None:
    """The precision of products that JAX is told to use here, see `jax.default_matmul_precision`."""
    return getattr(jax.config, "jax_default_matmul_precision", None)  # not in JAX's type hints
