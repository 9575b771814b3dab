"""Floating-point operations of a traced function: of its products and convolutions, which are nearly all of them.

Counted in the jaxpr, because XLA's own `cost_analysis` counts the body of a loop once, however often it runs, and the
blocks of the network are loops.
"""

import math
from collections.abc import Iterator
from typing import Any

# A trained parameter and every activation need one product forward and one each for their gradients.
BACKWARD_AND_FORWARD = 3


def count_flops(jaxpr: Any, *, platform: str) -> int:
    """The operations of one call, a multiplication and an addition counted as two.

    Of branches that are chosen when the program runs, the costliest counts; the body of a loop without a known number
    of rounds counts once. A kernel's products are those that it executes, zeros included, for each step of its grid.

    Args:
        jaxpr: of `jax.make_jaxpr(f)(...)` or `jax.jit(f).trace(...).jaxpr`.
        platform: "cpu", "tpu" or "cuda": which branches of `lax.platform_dependent` are taken.
    """
    return sum(_equation_flops(equation, platform) for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns)


def _equation_flops(equation: Any, platform: str) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval
        per_output = kernel.size // kernel.shape[params["dimension_numbers"].rhs_spec[0]]
        # The zeros between the elements of a dilated input are not worth an operation.
        return 2 * equation.outvars[0].aval.size * per_output // math.prod(params["lhs_dilation"])
    inner = [count_flops(jaxpr, platform=platform) for jaxpr in _inner_jaxprs(params)]
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "pallas_call":
        return math.prod(params["grid_mapping"].grid) * sum(inner)
    if name == "cond":
        of_platforms = params.get("branches_platforms")
        return inner[_branch(of_platforms, platform)] if of_platforms else max(inner)
    return sum(inner)


def _branch(of_platforms: tuple[tuple[str, ...] | None, ...], platform: str) -> int:
    """The branch of a platform; the one without platforms serves all others."""
    return next(index for index, names in enumerate(of_platforms) if names is None or platform in names)


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for entry in value if isinstance(value, tuple | list) else (value,):
            if hasattr(getattr(entry, "jaxpr", entry), "eqns"):
                yield entry
