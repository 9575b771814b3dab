"""A 3x3x3 convolution over (t, h, w) with bias, sum and ReLU, by a kernel in place of `spikejax.models.layers.Conv3D`.

On TPUs XLA changes the layout of clips for each convolution, splits their columns into a batch, and compiles every time
tap, size and gradient into a program of its own.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from spikejax.kernels.choice import Choice, Dimensions, Form, over_devices

_DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
# A row needs its neighbours, so devices split clips alone.
_CLIPS: Dimensions = ("clips",)
_MAX_FEATURES = 128
_MAX_COLUMNS = 2048


def fits(form: Form, *, dtype: jnp.dtype, features_in: int, features_out: int, columns: int) -> bool:
    """Whether the kernel of that form takes clips of that shape; on GPUs there is none."""
    return (
        form == "tpu"
        and jnp.dtype(dtype) in _DTYPES
        and max(features_in, features_out) <= _MAX_FEATURES
        and columns % 16 == 0
        and columns <= _MAX_COLUMNS
    )


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def convolve_3d(
    x: Float[Array, "b t h w i"],
    kernel: Float[Array, "3 3 3 i o"],
    bias: Float[Array, " o"],
    added: Float[Array, "b t h w o"] | None,
    relu: bool,
    choice: Choice,
) -> Float[Array, "b t h w o"]:
    """The cross-correlation of `x`, zero-padded by 1, with `kernel`, and `bias` and `added`; negative ones 0 if `relu`.

    Args:
        x: clips.
        kernel: of their type.
        bias: float32.
        added: of their type, if there is anything to be added.
        relu: whether ReLU is last.
        choice: the form.
    """
    return _forward(x, kernel, bias, added, relu, choice)[0]


def _convolve(x: Array, kernel: Array, bias: Array, added: Array | None, relu: bool, choice: Choice) -> Array:
    from spikejax.kernels import convolution_3d_tpu

    def on_device(axes: dict[str, tuple[str, ...]], x: Array, kernel: Array, bias: Array, added: Array | None) -> Array:
        return convolution_3d_tpu.forward(x, kernel, bias, added, relu=relu, interpret=choice.interpret)

    return over_devices(on_device, choice, x, kernel, bias, added, inputs=(_CLIPS, (), (), _CLIPS), outputs=_CLIPS)


def _forward(
    x: Array, kernel: Array, bias: Array, added: Array | None, relu: bool, choice: Choice
) -> tuple[Array, tuple[Any, ...]]:
    y = _convolve(x, kernel, bias, added, relu, choice)
    # Of what is added only whether there is any: nothing, or a tuple of nothing.
    return y, (x, kernel, y if relu else None, None if added is None else ())


def _backward(
    relu: bool, choice: Choice, saved: tuple[Any, ...], dy: Array
) -> tuple[Array, Array, Array, Array | None]:
    from spikejax.kernels import convolution_3d_tpu

    x, kernel, y, adding = saved
    if y is not None:
        dy = jnp.where(y > 0, dy, jnp.zeros_like(dy))
    # Of the input: a convolution like any other, with the kernel flipped and transposed.
    flipped = kernel[::-1, ::-1, ::-1].swapaxes(3, 4)
    dx = _convolve(dy, flipped, jnp.zeros(x.shape[-1], jnp.float32), None, False, choice)

    def on_device(axes: dict[str, tuple[str, ...]], x: Array, dy: Array) -> Array:
        dkernel = convolution_3d_tpu.kernel_gradient(x, dy, interpret=choice.interpret)
        return lax.psum(dkernel, axes["clips"]) if axes["clips"] else dkernel

    dkernel = over_devices(on_device, choice, x, dy, inputs=(_CLIPS, _CLIPS), outputs=())
    dbias = dy.astype(jnp.float32).sum((0, 1, 2, 3))
    return dx, dkernel.astype(kernel.dtype), dbias, None if adding is None else dy


convolve_3d.defvjp(_forward, _backward)
