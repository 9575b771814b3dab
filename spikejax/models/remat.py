"""Rematerialisation: what the backward pass computes again instead of storing it."""

from collections.abc import Callable
from typing import Any, Literal

import jax
from flax import nnx

# "blocks": attention blocks, but for what attention returned; "everything": attention blocks, alignment, flows and the
# spike branch.
Remat = Literal["none", "blocks", "everything"]


def remat_if(recompute: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(module, *inputs)`, of which the backward pass computes everything again if `recompute`.

    Args:
        recompute: whether only the parameters and the inputs are stored.
        function: of a module and of trees of arrays; `operator.call` calls the module itself.
    """
    if not recompute:
        return function

    def recomputed(module: nnx.Module, *inputs: Any) -> Any:
        definition, parameters = nnx.split(module)
        pure = jax.checkpoint(lambda parameters, *inputs: function(nnx.merge(definition, parameters), *inputs))
        return pure(parameters, *inputs)

    return recomputed
