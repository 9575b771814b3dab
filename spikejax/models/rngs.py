"""Random keys for parameters, drawn as `nnx.Rngs` draws them, but quick to trace."""

import jax
from flax import nnx
from jax import Array


class _Stream(nnx.RngStream):
    """A stream that counts its keys in Python.

    Flax counts them in an array. While shapes are traced each count is a tracer, which Flax asks for its sharding, and
    JAX answers with an error whose text is found by walking through all that was traced so far: two thirds of the time
    in which a network is described.
    """

    def __init__(self, key: Array | int, *, tag: str) -> None:
        super().__init__(key, tag=tag)
        self.drawn = 0

    def __call__(self) -> Array:
        key = jax.random.fold_in(self.key[...], self.drawn)
        self.drawn += 1
        return key


def make_rngs(seed: Array | int) -> nnx.Rngs:
    """Keys for a network's parameters, the same as of `nnx.Rngs(seed)`; to be made where they are used.

    Args:
        seed: a number or a random key.
    """
    rngs = nnx.Rngs(seed)
    setattr(rngs, "default", _Stream(seed, tag="default"))  # noqa: B010  for type checkers it has no such attribute
    return rngs
