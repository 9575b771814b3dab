"""What stands around the attention in windows, by two kernels in place of `spikejax.models.blocks`'s layers.

The first one normalises a clip, cuts it into windows, shifted or not, and projects their tokens to queries, keys and
values. The second one projects what attention returned, puts it back to where it came from and adds it to the clip. So
shifting and cutting are where blocks are read from and written to, and no array of the clip's size is moved for them.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from spikejax.kernels.choice import Choice, Dimensions, Form, over_devices
from spikejax.kernels.window_layout import SIDE, Cut, Heads, Projections

_DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
_CLIPS: Dimensions = ("clips",)
_MAX_FEATURES = 256
# Bytes of a strip of windows with all that is projected of it, twice, which the vector memory has to hold.
_MAX_STRIP = 44 * 2**20


def fits(
    form: Form, *, dtype: jnp.dtype, size: tuple[int, ...], window: tuple[int, ...], heads: tuple[Heads, ...]
) -> bool:
    """Whether the kernels of that form take clips of `size` (t, h, w); on GPUs there is none."""
    if form != "tpu" or jnp.dtype(dtype) not in _DTYPES or window[1:] != (SIDE, SIDE):
        return False
    strip = window[0] * SIDE * size[2]
    projected = sum(3 * of.lanes for of in heads) * 2 * jnp.dtype(dtype).itemsize
    return (
        heads[0].features <= _MAX_FEATURES
        and heads[0].features % 4 == size[1] % SIDE == size[2] % (2 * SIDE) == 0
        and strip * (projected + 4 * heads[0].lanes) <= _MAX_STRIP
    )


@partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def into_windows(
    x: Float[Array, "b t h w c"],
    shifted: Int[Array, "1"],
    norm: tuple[Array, Array],
    projections: Projections,
    heads: tuple[Heads, ...],
    cut: Cut,
    choice: Choice,
) -> tuple[Float[Array, "b nw n _lanes3"], ...]:
    """Queries, keys and values of the windows of the normalised clip, with the masks of `window_attention`.

    Args:
        x: clips.
        shifted: whether windows are shifted, 0 or 1.
        norm: scale and bias.
        projections: kernel [c, 3 lanes], bias [3 lanes], and what is added to tokens first, [n, c], or None; its
            gradient is zero.
        heads: how the columns of each lie.
        cut: into which windows.
        choice: the form.
    """
    return _into(x, shifted, norm, projections, heads, cut, choice)[0]


def _into(
    x: Array,
    shifted: Array,
    norm: tuple[Array, Array],
    projections: Projections,
    heads: tuple[Heads, ...],
    cut: Cut,
    choice: Choice,
) -> tuple[tuple[Array, ...], Any]:
    from spikejax.kernels import windows_tpu

    leaves, structure = jax.tree.flatten((norm, projections))

    def on_device(axes: dict[str, tuple[str, ...]], x: Array, shifted: Array, *leaves: Array) -> tuple[Array, ...]:
        norm, projections = jax.tree.unflatten(structure, leaves)
        return windows_tpu.into(x, shifted, norm, projections, heads, cut, interpret=choice.interpret)

    inputs = _CLIPS, *((),) * (1 + len(leaves))
    results = over_devices(on_device, choice, x, shifted, *leaves, inputs=inputs, outputs=(_CLIPS,) * len(projections))
    return results, (x, shifted, norm, projections)


def _into_gradient(
    heads: tuple[Heads, ...], cut: Cut, choice: Choice, saved: Any, dqkv: tuple[Array, ...]
) -> tuple[Any, ...]:
    from spikejax.kernels import windows_tpu

    x, shifted, norm, projections = saved
    leaves, structure = jax.tree.flatten((norm, projections))
    count = len(dqkv)

    def on_device(axes: dict[str, tuple[str, ...]], x: Array, shifted: Array, *arrays: Array) -> tuple[Any, ...]:
        dqkv = arrays[:count]
        norm, projections = jax.tree.unflatten(structure, arrays[count:])
        dx, *gradients = windows_tpu.into_gradient(x, shifted, norm, projections, dqkv, cut, interpret=choice.interpret)
        over = axes["clips"]
        return dx, tuple(lax.psum(gradient, over) if over else gradient for gradient in gradients)

    inputs = _CLIPS, (), *(_CLIPS,) * count, *((),) * len(leaves)
    outputs = _CLIPS, ((),) * (2 + 2 * count)
    dx, gradients = over_devices(on_device, choice, x, shifted, *dqkv, *leaves, inputs=inputs, outputs=outputs)
    of_projections = tuple(
        (
            gradients[2 + 2 * index].astype(matrix.dtype),
            gradients[3 + 2 * index].astype(bias.dtype),
            None if added is None else jnp.zeros_like(added),
        )
        for index, (matrix, bias, added) in enumerate(projections)
    )
    return dx, None, tuple(gradients[:2]), of_projections


into_windows.defvjp(_into, _into_gradient)


@partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def out_of_windows(
    x: Float[Array, "b t h w c"],
    parts: tuple[Float[Array, "b nw n _lanes"], ...],
    shifted: Int[Array, "1"],
    scale: Float[Array, " b"],
    kernels: tuple[Float[Array, "_lanes c"], ...],
    bias: Float[Array, " c"],
    cut: Cut,
    choice: Choice,
) -> Float[Array, "b t h w c"]:
    """X and `scale` times the projection of what the windows' attention returned, at the place of its tokens.

    Args:
        x: clips.
        parts: what goes into the projection, one behind the other.
        shifted: see `into_windows`.
        scale: of what is added to each clip, float32; its gradient is zero.
        kernels: of the projection, for each part; float32.
        bias: of the projection.
        cut: into which windows.
        choice: the form.
    """
    return _out_of(x, parts, shifted, scale, kernels, bias, cut, choice)[0]


def _out_of(
    x: Array,
    parts: tuple[Array, ...],
    shifted: Array,
    scale: Array,
    kernels: tuple[Array, ...],
    bias: Array,
    cut: Cut,
    choice: Choice,
) -> tuple[Array, Any]:
    from spikejax.kernels import windows_tpu

    count = len(parts)

    def on_device(
        axes: dict[str, tuple[str, ...]], x: Array, shifted: Array, scale: Array, bias: Array, *arrays: Array
    ) -> Array:
        parts, kernels = arrays[:count], arrays[count:]
        return windows_tpu.out_of(x, parts, shifted, scale, kernels, bias, cut, interpret=choice.interpret)

    inputs = _CLIPS, (), _CLIPS, (), *(_CLIPS,) * count, *((),) * count
    arguments = x, shifted, scale, bias, *parts, *kernels
    result = over_devices(on_device, choice, *arguments, inputs=inputs, outputs=_CLIPS)
    return result, (parts, shifted, scale, kernels, bias)


def _out_of_gradient(cut: Cut, choice: Choice, saved: Any, dy: Array) -> tuple[Any, ...]:
    from spikejax.kernels import windows_tpu

    parts, shifted, scale, kernels, bias = saved
    count = len(parts)

    def on_device(
        axes: dict[str, tuple[str, ...]], dy: Array, shifted: Array, scale: Array, *arrays: Array
    ) -> tuple[Any, ...]:
        parts, kernels = arrays[:count], arrays[count:]
        dparts, gradients = windows_tpu.out_of_gradient(
            dy, parts, shifted, scale, kernels, cut, interpret=choice.interpret
        )
        over = axes["clips"]
        return dparts, tuple(lax.psum(gradient, over) if over else gradient for gradient in gradients)

    inputs = _CLIPS, (), _CLIPS, *(_CLIPS,) * count, *((),) * count
    outputs = (_CLIPS,) * count, ((),) * (count + 1)
    dparts, gradients = over_devices(
        on_device, choice, dy, shifted, scale, *parts, *kernels, inputs=inputs, outputs=outputs
    )
    *dkernels, dbias = gradients
    given = zip(dkernels, kernels, strict=True)
    dkernels = tuple(gradient.astype(kernel.dtype) for gradient, kernel in given)
    return dy, dparts, None, jnp.zeros_like(scale), dkernels, dbias.reshape(bias.shape).astype(bias.dtype)


out_of_windows.defvjp(_out_of, _out_of_gradient)
