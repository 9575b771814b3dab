"""Attention over time at every pixel with all that surrounds it, by a kernel in place of `spikejax.models.temporal`.

Norms, projections, attention, residuals and MLP of a block of pixels are computed at once, so that features are read
and written once. The backward pass computes them again.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from spikejax.kernels.choice import Choice, Dimensions, Form, over_devices
from spikejax.kernels.over_time_layout import OverTime

_DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
_PIXELS: Dimensions = ("clips", None, "rows")
# The attention of a pixel is written out, frame by frame.
_MAX_FRAMES = 8
_MAX_FEATURES = 128


def fits(form: Form, *, dtype: jnp.dtype, frames: int, features: int, rows: int, columns: int) -> bool:
    """Whether the kernel of that form takes clips of that shape; on GPUs there is none."""
    return (
        form == "tpu"
        and jnp.dtype(dtype) in _DTYPES
        and frames <= _MAX_FRAMES
        and features <= _MAX_FEATURES
        and features % 8 == 0
        and columns % 16 == 0
    )


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def over_time(
    clips: tuple[Float[Array, "b t h w c"], ...], parameters: tuple[Array, ...], what: OverTime, choice: Choice
) -> Float[Array, "b t h w c"]:
    """Z + mlp(norm z), of z = x + attention(norm x to norm y).

    Args:
        clips: x, and y if it is asked.
        parameters: in the order of their use, of the norms of x (and of y, if it is asked), the projections to queries,
            keys, values and of the attention's result, the norm of z, and the MLP's two layers: scale or kernel, and
            then bias; float32.
        what: which of these.
        choice: the form.
    """
    return _forward(clips, parameters, what, choice)[0]


def _forward(
    clips: tuple[Array, ...], parameters: tuple[Array, ...], what: OverTime, choice: Choice
) -> tuple[Array, tuple[tuple[Array, ...], tuple[Array, ...]]]:
    from spikejax.kernels import over_time_tpu

    def on_device(axes: dict[str, tuple[str, ...]], *arrays: Array) -> Array:
        clips, parameters = arrays[: 1 + what.asks], arrays[1 + what.asks :]
        return over_time_tpu.forward(clips, parameters, what, interpret=choice.interpret)

    inputs = (_PIXELS,) * len(clips) + ((),) * len(parameters)
    result = over_devices(on_device, choice, *clips, *parameters, inputs=inputs, outputs=_PIXELS)
    return result, (clips, parameters)


def _backward(
    what: OverTime, choice: Choice, saved: tuple[tuple[Array, ...], tuple[Array, ...]], dy: Array
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    from spikejax.kernels import over_time_tpu

    clips, parameters = saved

    def on_device(axes: dict[str, tuple[str, ...]], dy: Array, *arrays: Array) -> tuple[tuple[Array, ...], ...]:
        clips, parameters = arrays[: 1 + what.asks], arrays[1 + what.asks :]
        dclips, dparameters = over_time_tpu.backward(clips, parameters, dy, what, interpret=choice.interpret)
        over = axes["clips"] + axes["rows"]
        return dclips, tuple(lax.psum(x, over) if over else x for x in dparameters)

    whole = ((),) * len(parameters)
    inputs = _PIXELS, *(_PIXELS,) * len(clips), *whole
    outputs = (_PIXELS,) * len(clips), whole
    dclips, dparameters = over_devices(on_device, choice, dy, *clips, *parameters, inputs=inputs, outputs=outputs)
    return dclips, tuple(x.astype(given.dtype) for x, given in zip(dparameters, parameters, strict=True))


over_time.defvjp(_forward, _backward)
