"""Blocks of one kind stacked into one module, whose parameters have a leading axis to scan over."""

from collections.abc import Callable
from typing import TypeVar

import jax
from flax import nnx

from spikejax.models.rngs import make_rngs

Block = TypeVar("Block", bound=nnx.Module)


def stack_blocks(count: int, make: Callable[[nnx.Rngs], Block], *, rngs: nnx.Rngs) -> Block:
    """`count` blocks as one module whose parameters have a leading axis "layers", to be scanned over."""
    keys = jax.random.split(rngs.params(), count)
    blocks = nnx.vmap(lambda key: make(make_rngs(key)))(keys)
    for _, variable in nnx.iter_graph(blocks):
        if isinstance(variable, nnx.Param):
            variable.set_metadata(axes=("layers", *variable.get_metadata("axes")))
    return blocks
