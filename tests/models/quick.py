"""Building and compiling for tests: a program is run a few times, so most of XLA's effort for it would be lost."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
from flax import nnx

Network = TypeVar("Network", bound=nnx.Module)

quick_jit = partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


def quick_build(make: Callable[[], Network]) -> Network:
    """The network that `make` makes, its weights drawn by one program."""
    definition, _ = nnx.split(nnx.eval_shape(make))
    return nnx.merge(definition, quick_jit(lambda: nnx.split(make())[1])())
