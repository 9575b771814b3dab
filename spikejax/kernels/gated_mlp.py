"""The second half of a block, x + scale mlp(norm x), by a kernel in place of `spikejax.models.blocks`'s layers.

A block of pixels is read, normalised, goes through both of the MLP's layers and is added to itself at once, so that
features are read and written once and what is hidden is never in memory. The backward pass computes it again.
"""

from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from spikejax.kernels.choice import Choice, Dimensions, Form, over_devices

_DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
_PIXELS: Dimensions = ("clips", None, "rows")
_CLIPS: Dimensions = ("clips",)
_MAX_FEATURES, _MAX_HIDDEN = 256, 512


def fits(form: Form, *, dtype: jnp.dtype, features: int, hidden: int, columns: int) -> bool:
    """Whether the kernel of that form takes clips of that shape."""
    return (
        form != "plain"
        and jnp.dtype(dtype) in _DTYPES
        and features <= _MAX_FEATURES
        and hidden <= _MAX_HIDDEN
        and features % 4 == hidden % 8 == columns % 16 == 0
    )


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def gated_mlp(
    x: Float[Array, "b t h w c"], scale: Float[Array, " b"], parameters: tuple[Array, ...], choice: Choice
) -> Float[Array, "b t h w c"]:
    """X + scale fc2(gelu(fc11 y) fc12 y), of y = norm x.

    Args:
        x: features.
        scale: of what is added to each clip, float32; its gradient is zero.
        parameters: of the norm (scale, bias), fc11, fc12 and fc2 (kernel, bias each); float32.
        choice: the form.
    """
    return _forward(x, scale, parameters, choice)[0]


_Saved = tuple[Array, Array, tuple[Array, ...]]


def _forward(x: Array, scale: Array, parameters: tuple[Array, ...], choice: Choice) -> tuple[Array, _Saved]:
    def on_device(axes: dict[str, tuple[str, ...]], x: Array, scale: Array, *parameters: Array) -> Array:
        return _kernels_of(choice).forward(x, scale, parameters, interpret=choice.interpret)

    inputs = _PIXELS, _CLIPS, *((),) * len(parameters)
    result = over_devices(on_device, choice, x, scale, *parameters, inputs=inputs, outputs=_PIXELS)
    return result, (x, scale, parameters)


def _backward(choice: Choice, saved: _Saved, dy: Array) -> tuple[Array, Array, tuple[Array, ...]]:
    x, scale, parameters = saved

    def on_device(
        axes: dict[str, tuple[str, ...]], dy: Array, x: Array, scale: Array, *parameters: Array
    ) -> tuple[Array, tuple[Array, ...]]:
        dx, dparameters = _kernels_of(choice).backward(x, scale, parameters, dy, interpret=choice.interpret)
        over = axes["clips"] + axes["rows"]
        return dx, tuple(lax.psum(gradient, over) if over else gradient for gradient in dparameters)

    whole = ((),) * len(parameters)
    inputs = _PIXELS, _PIXELS, _CLIPS, *whole
    dx, dparameters = over_devices(
        on_device, choice, dy, x, scale, *parameters, inputs=inputs, outputs=(_PIXELS, whole)
    )
    given = zip(dparameters, parameters, strict=True)
    return dx, jnp.zeros_like(scale), tuple(gradient.astype(parameter.dtype) for gradient, parameter in given)


def _kernels_of(choice: Choice) -> ModuleType:
    if choice.form == "tpu":
        from spikejax.kernels import gated_mlp_tpu

        return gated_mlp_tpu
    from spikejax.kernels import gated_mlp_gpu

    return gated_mlp_gpu


gated_mlp.defvjp(_forward, _backward)
