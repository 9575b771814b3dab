"""Working on large arrays in equal chunks, one after the other, so that what is in between never exists as a whole.

What is done to a chunk is a `part(total, *arrays) -> (total, results)`, as `lax.scan` has it: the total is carried from
chunk to chunk, the results are joined again. `arrays` are [b, n, ...], cut along n, so that every chunk has something
of every b and devices that share the batch stay busy.
"""

from collections.abc import Callable
from typing import Any

import jax
from einops import rearrange
from jax import lax

Part = Callable[..., tuple[Any, Any]]


def count_chunks(size: int, *, limit: int, divides: int) -> int:
    """The least number of equal chunks, a divisor of `divides`, of which none has more than `limit` of `size`.

    If there is no such number, it is `divides` itself: chunks of one thing each.
    """
    return next((chunks for chunks in range(-(-size // limit), divides + 1) if divides % chunks == 0), divides)


def in_chunks(part: Part, total: Any, arrays: tuple, *, chunks: int, interleaved: bool) -> tuple[Any, Any]:
    """`part` of each of the equal chunks of arrays [b, n, ...]: the last total, and the results [b, n, ...].

    Args:
        part: see above; of arrays [b, n / chunks, ...].
        total: what the first chunk is given.
        arrays: trees of arrays; None stays None.
        chunks: divides n.
        interleaved: whether a chunk has every `chunks`-th of the n, or neighbours. What devices share by n (rows of a
            picture, say) has to be interleaved: with neighbours, one device after the other would work, and XLA would
            give each of them the others' part.
    """
    if chunks == 1:
        return part(total, *arrays)
    axis = "(n chunks)" if interleaved else "(chunks n)"
    # An axis of size 1 is left out of what is scanned over: XLA on CPUs would copy all of it.
    b = "1" if len(jax.tree.leaves(arrays)[0]) == 1 else "b"
    listed, of_chunk = b.strip("1"), f"{b} n ..."
    cut = jax.tree.map(lambda x: rearrange(x, f"{b} {axis} ... -> chunks {listed} n ...", chunks=chunks), arrays)

    def step(total: Any, arrays: tuple) -> tuple[Any, Any]:
        total, results = part(total, *jax.tree.map(lambda x: rearrange(x, f"{listed} n ... -> {of_chunk}"), arrays))
        return total, jax.tree.map(lambda x: rearrange(x, f"{of_chunk} -> {listed} n ..."), results)

    total, results = lax.scan(step, total, cut)
    return total, jax.tree.map(lambda x: rearrange(x, f"chunks {listed} n ... -> {b} {axis} ..."), results)
