"""The convolution in space of all networks, with a weight gradient of its own on CPUs.

Images are [n, h, w, i], kernels [kh, kw, i, o].
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Kernels with more taps have the gradient of their result turned once for all of them. Parts of the CPU time that
# products of pictures take (the least of 5 runs in turn, one core), turned and in brackets not: 7x7 of 64 to 32
# channels 0.40 (0.67), 32 to 64 0.73 (1.01), 32 to 16 0.32 (0.91); 3x3 of 96 to 432 0.86 (0.67), 194 to 96 0.82 (0.63).
_TAPS_UNTURNED = 9


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    x: Float[Array, "n h w i"], kernel: Float[Array, "kh kw i o"], stride: int, padding: int
) -> Float[Array, "n h2 w2 o"]:
    """The cross-correlation of `x` with `kernel`, zero-padded; on CPUs its weight gradient has a way of its own."""
    return _plain(x, kernel, stride, padding)


def _plain(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _forward(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return _plain(x, kernel, stride, padding), (x, kernel)


def _backward(stride: int, padding: int, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved

    def by_xla(x: Array, dy: Array) -> Array:
        return jax.vjp(lambda kernel: _plain(x, kernel, stride, padding), kernel)[1](dy)[0]

    def by_taps(x: Array, dy: Array) -> Array:
        # XLA's weight gradient on CPUs runs at a twentieth of a matrix product's rate: a product for each tap of the
        # kernel takes its place.
        return _kernel_gradient_by_taps(x, dy, kernel.shape[:2], stride, padding)

    return _input_gradient(x, kernel, stride, padding, dy), lax.platform_dependent(x, dy, cpu=by_taps, default=by_xla)


def _input_gradient(x: Array, kernel: Array, stride: int, padding: int, dy: Array) -> Array:
    if stride == 1 and kernel.shape[0] == kernel.shape[1]:
        # A convolution like any other, with the kernel flipped and transposed; XLA would take a slower, more general
        # one (2 s of a training step of the published deblurring network).
        flipped = kernel[::-1, ::-1].swapaxes(2, 3)
        return _plain(dy, flipped, 1, kernel.shape[0] - 1 - padding)
    return jax.vjp(lambda x: _plain(x, kernel, stride, padding), x)[1](dy)[0]


def _kernel_gradient_by_taps(x: Array, dy: Array, size: tuple[int, ...], stride: int, padding: int) -> Array:
    images, height, width, channels = dy.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = stride * (height - 1) + 1, stride * (width - 1) + 1

    def under_tap(index: Array) -> Array:
        row, column = index // size[1], index % size[1]
        first = jnp.zeros_like(index)  # of the type of the others, with x64 as well
        under = lax.dynamic_slice(x, (first, row, column, first), (images, rows, columns, x.shape[-1]))
        return under[:, ::stride, ::stride].reshape(-1, x.shape[-1])

    taps = jnp.arange(size[0] * size[1], dtype=jnp.int32)
    dy = dy.reshape(-1, channels)
    if len(taps) > _TAPS_UNTURNED:
        # Behind the barrier XLA does not turn it for every tap again.
        turned = lax.optimization_barrier(dy.T)
        gradient = lax.map(lambda index: turned @ under_tap(index), taps).swapaxes(1, 2)
    else:
        gradient = lax.map(lambda index: under_tap(index).T @ dy, taps)
    return gradient.reshape(*size, x.shape[-1], channels)


convolve.defvjp(_forward, _backward)
