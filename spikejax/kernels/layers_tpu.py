"""Layers within kernels for TPUs, differentiable there: norms, products with parameters.

Parameters are float32. A kernel that differentiates what it computes, by `jax.vjp` of its blocks, has all gradients.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from spikejax.kernels.layer_math import LAYER_NORM_EPSILON
from spikejax.kernels.products import product

_VMEM_BYTES = 64 * 2**20
_LANES = 128


def compiler_params(axes: int) -> Any:
    """Of a grid with so many axes: gradients of parameters are added up over it, so it has an order."""
    order = (pltpu.GridDimensionSemantics.ARBITRARY,) * axes
    return pltpu.CompilerParams(dimension_semantics=order, vmem_limit_bytes=_VMEM_BYTES)


def as_matrices(parameters: tuple[Array, ...]) -> tuple[Array, ...]:
    """Biases and scales as rows."""
    return tuple(x.astype(jnp.float32).reshape(-1, x.shape[-1]) for x in parameters)


def whole(matrix: Array) -> pl.BlockSpec:
    """A matrix that every step of the grid has all of."""
    return pl.BlockSpec(matrix.shape, lambda *_: (0, 0))


def as_lanes(scale: Array) -> Array:
    """A number for each clip, in all lanes of a register's row."""
    return jnp.broadcast_to(scale.astype(jnp.float32).reshape(-1, 1, 1), (len(scale), 1, _LANES))


def of_clip() -> pl.BlockSpec:
    """The row of `as_lanes` of the clip that is the grid's first axis."""
    return pl.BlockSpec((1, 1, _LANES), lambda clip, *_: (clip, 0, 0))


def zero_at_first(refs: Sequence[Any], axes: int) -> None:
    """Sets what is added up over a grid of so many axes to zero in its first step."""
    first = pl.program_id(0) == 0
    for axis in range(1, axes):
        first &= pl.program_id(axis) == 0

    @pl.when(first)
    def _() -> None:
        for ref in refs:
            ref[...] = jnp.zeros_like(ref)


def normed(x: Array, scale: Array, bias: Array) -> Array:
    """Layer normalisation of rows."""
    accurate = x.astype(jnp.float32)
    centred = accurate - accurate.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return (centred * lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + bias).astype(x.dtype)


def times(x: Array, matrix: Array, *, exact: bool = False, interpret: bool) -> Array:
    """A product in x's type, float32; see `spikejax.kernels.products`."""
    return _times(x, matrix, exact, interpret)


# JAX's own derivative would multiply arrays of two types.
@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _times(x: Array, matrix: Array, exact: bool, interpret: bool) -> Array:
    return product(x, matrix.astype(x.dtype), 1, 0, exact=exact, interpret=interpret)


def _times_forward(x: Array, matrix: Array, exact: bool, interpret: bool) -> tuple[Array, tuple[Array, Array]]:
    return _times(x, matrix, exact, interpret), (x, matrix)


def _times_backward(exact: bool, interpret: bool, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, matrix = saved
    multiply = partial(product, exact=exact, interpret=interpret)
    dy = dy.astype(x.dtype)
    return multiply(dy, matrix.astype(x.dtype), 1, 1).astype(x.dtype), multiply(x, dy, 0, 0)


_times.defvjp(_times_forward, _times_backward)
