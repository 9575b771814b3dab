"""Blocks of one kind stacked into one module, whose parameters have a leading axis to scan over."""

from collections.abc import Callable
from typing import TypeVar

from flax import nnx

Block = TypeVar("Block", bound=nnx.Module)


def stack_blocks(count: int, make: Callable[[nnx.Rngs], Block], *, rngs: nnx.Rngs) -> Block:
    """`count` blocks as one module whose parameters have a leading axis "layers", to be scanned over."""
    blocks = nnx.vmap(make)(rngs.split(count))
    for _, variable in nnx.iter_graph(blocks):
        if isinstance(variable, nnx.Param):
            variable.set_metadata(axes=("layers", *variable.get_metadata("axes")))
    return blocks
