"""A norm and a gated MLP for TPUs (Pallas, Mosaic). It computes what `spikejax.models.blocks` defines.

The backward pass differentiates the same function inside its kernel, and adds the parameters' gradients up over the
grid.
"""

from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl

from spikejax.kernels.cycles import cycles_of_mlp, in_metadata
from spikejax.kernels.layer_math import gelu
from spikejax.kernels.layers_tpu import (
    as_lanes,
    as_matrices,
    compiler_params,
    normed,
    of_clip,
    times,
    whole,
    zero_at_first,
)
from spikejax.kernels.window_layout import largest_divisor

_PIXELS = 512  # of a block


def forward(x: Array, scale: Array, parameters: tuple[Array, ...], *, interpret: bool) -> Array:
    """The result [b, t, h, w, c]; see `spikejax.kernels.gated_mlp.gated_mlp`."""
    rows, scales, matrices = _as_rows(x), as_lanes(scale), as_matrices(parameters)
    grid, of_pixels = _blocks(rows)

    def kernel(x_ref: Any, scale_ref: Any, *refs: Any) -> None:
        *inputs, out_ref = refs
        out_ref[0] = _pixels(interpret, scale_ref[0, :, :1], x_ref[0], tuple(ref[...] for ref in inputs))

    result = pl.pallas_call(
        kernel,
        grid=grid,
        in_specs=[of_pixels, of_clip(), *map(whole, matrices)],
        out_specs=of_pixels,
        out_shape=jax.ShapeDtypeStruct(rows.shape, rows.dtype),
        compiler_params=compiler_params(2),
        interpret=interpret,
        name="gated_mlp",
        metadata=in_metadata(cycles_of_mlp(prod(rows.shape[:2]), rows.shape[2], gradient=False)),
    )(rows, scales, *matrices)
    return result.reshape(x.shape)


def backward(
    x: Array, scale: Array, parameters: tuple[Array, ...], dy: Array, *, interpret: bool
) -> tuple[Array, tuple[Array, ...]]:
    """The gradients of `x` and of the parameters, these float32."""
    rows, scales, matrices = _as_rows(x), as_lanes(scale), as_matrices(parameters)
    grid, of_pixels = _blocks(rows)

    def kernel(dy_ref: Any, x_ref: Any, scale_ref: Any, *refs: Any) -> None:
        inputs, (dx_ref, *outputs) = refs[: len(matrices)], refs[len(matrices) :]

        zero_at_first(outputs, 2)
        function: Any = partial(_pixels, interpret, scale_ref[0, :, :1])
        _, pull = jax.vjp(function, x_ref[0], tuple(ref[...] for ref in inputs))
        dx_ref[0], gradients = pull(dy_ref[0])
        for ref, gradient in zip(outputs, gradients, strict=True):
            ref[...] += gradient

    dx, *gradients = pl.pallas_call(
        kernel,
        grid=grid,
        in_specs=[of_pixels, of_pixels, of_clip(), *map(whole, matrices)],
        out_specs=[of_pixels, *map(whole, matrices)],
        out_shape=[
            jax.ShapeDtypeStruct(rows.shape, rows.dtype),
            *(jax.ShapeDtypeStruct(matrix.shape, jnp.float32) for matrix in matrices),
        ],
        compiler_params=compiler_params(2),
        interpret=interpret,
        name="gated_mlp_gradient",
        metadata=in_metadata(cycles_of_mlp(prod(rows.shape[:2]), rows.shape[2], gradient=True)),
    )(_as_rows(dy), rows, scales, *matrices)
    shaped = zip(gradients, parameters, strict=True)
    return dx.reshape(x.shape), tuple(gradient.reshape(parameter.shape) for gradient, parameter in shaped)


def _as_rows(x: Array) -> Array:
    """[b, pixels of all frames, c]."""
    return x.reshape(len(x), -1, x.shape[-1])


def _blocks(rows: Array) -> tuple[tuple[int, int], pl.BlockSpec]:
    """The grid, and a block of pixels."""
    clips, pixels, features = rows.shape
    size = 16 * largest_divisor(pixels // 16, _PIXELS // 16)
    return (clips, pixels // size), pl.BlockSpec((1, size, features), lambda clip, block: (clip, block, 0))


def _pixels(interpret: bool, scale: Array, x: Array, parameters: tuple[Array, ...]) -> Array:
    """The result of a block, [pixels, c]."""
    norm_scale, norm_bias, kernel11, bias11, kernel12, bias12, kernel2, bias2 = parameters
    y = normed(x, norm_scale, norm_bias)
    opened = gelu(times(y, kernel11, interpret=interpret) + bias11)
    hidden = (opened * (times(y, kernel12, interpret=interpret) + bias12)).astype(x.dtype)
    added = times(hidden, kernel2, interpret=interpret) + bias2
    return (x.astype(jnp.float32) + scale * added).astype(x.dtype)
