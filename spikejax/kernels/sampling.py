"""Deformable convolution and warping by kernels, in place of `spikejax.models.deformable` and `warp`.

A kernel takes what the offset convolution gives and what the flows point to; positions and masks, several hundred
numbers a pixel, are only ever in it, and so are their gradients. Rows may be split over devices: each device has the
whole pictures and samples for its own rows, and the gradients of the pictures are summed.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jaxtyping import Float

from spikejax.kernels.choice import Choice, Dimensions, Form, over_devices
from spikejax.kernels.sampling_layout import PART, SLOT, TAPS, Sampling

_DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
_CLIPS: Dimensions = ("clips",)
_PIXELS: Dimensions = ("clips", None, "rows")
_BASE: Dimensions = ("clips", None, None, "rows")


def fits(form: Form, sampling: Sampling, *, dtype: jnp.dtype, rows: int, columns: int) -> bool:
    """Whether the kernel of that form samples pictures of `rows` and `columns` so."""
    return jnp.dtype(dtype) in _DTYPES and _module(form).fits(sampling, rows=rows, columns=columns)


def arrange_offsets(x: Float[Array, "*axes _offsets"], sampling: Sampling) -> Float[Array, "*axes _columns"]:
    """What the offset convolution gives, or its weights, in the order in which kernels take it.

    The convolution has (source, group, tap, y before x) and then the masks, (source, group, tap); kernels have slots of
    `SLOT` columns for each group, (9 in x, 9 in y, 9 masks), in parts of `PART` columns.
    """
    groups = sampling.sources * sampling.groups
    offsets, masks = jnp.split(x, [2 * TAPS * groups], axis=-1)
    offsets = rearrange(offsets, "... (group tap yx) -> ... group yx tap", tap=TAPS, yx=2)[..., ::-1, :]
    masks = rearrange(masks, "... (group tap) -> ... group 1 tap", tap=TAPS)
    slots = rearrange(jnp.concatenate([offsets, masks], axis=-2), "... group kind tap -> ... group (kind tap)")
    slots = _widen(slots, SLOT).reshape(*x.shape[:-1], sampling.parts, -1)
    return _widen(slots, PART).reshape(*x.shape[:-1], -1)


def _widen(x: Array, columns: int) -> Array:
    return jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, columns - x.shape[-1]),))


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def sample(
    image: Float[Array, "b n h w kg c"],
    offsets: Float[Array, "b n h w _columns"] | None,
    base: Float[Array, "b n k h w 2"],
    kernel: Float[Array, "k gtapc o"] | None,
    sampling: Sampling,
    choice: Choice,
) -> Float[Array, "b n h w ko"]:
    """The deformable convolution of what every pixel of n targets looks at; without offsets, what it looks at.

    Args:
        image: the sources' groups of channels; zeros lie outside.
        offsets: what the offset convolution gives, in the order of `arrange_offsets`; float32.
        base: (column, row) that the flow of each source points to; float32.
        kernel: of each source, over its taps, groups and channels.
        sampling: how.
        choice: the form.
    """
    return _forward(image, offsets, base, kernel, sampling, choice)[0]


def _forward(
    image: Array, offsets: Array | None, base: Array, kernel: Array | None, sampling: Sampling, choice: Choice
) -> tuple[Array, tuple[Array | None, ...]]:
    def on_device(
        axes: dict[str, tuple[str, ...]], image: Array, offsets: Array | None, base: Array, kernel: Array | None
    ) -> Array:
        lists = map(_one_list, (image, offsets, base))
        result = _module(choice.form).forward(*lists, kernel, sampling, interpret=choice.interpret)
        return result.reshape(*image.shape[:2], *result.shape[1:])

    inputs = _CLIPS, _PIXELS, _BASE, ()
    result = over_devices(on_device, choice, image, offsets, base, kernel, inputs=inputs, outputs=_PIXELS)
    return result, (image, offsets, base, kernel)


def _backward(sampling: Sampling, choice: Choice, saved: tuple[Array | None, ...], dy: Array) -> tuple:
    def on_device(
        axes: dict[str, tuple[str, ...]],
        image: Array,
        offsets: Array | None,
        base: Array,
        kernel: Array | None,
        dy: Array,
    ) -> tuple[Array, ...]:
        lists = map(_one_list, (image, offsets, base))
        gradients = _module(choice.form).backward(*lists, kernel, _one_list(dy), sampling, interpret=choice.interpret)
        summed_over = axes["rows"], (), (), axes["clips"] + axes["rows"]
        return tuple(
            (lax.psum(x, over) if over else x).reshape(given.shape).astype(given.dtype)
            for x, given, over in zip(gradients, (image, offsets, base, kernel), summed_over, strict=True)
            if given is not None
        )

    image, offsets, base, kernel = saved
    inputs = _CLIPS, _PIXELS, _BASE, ()
    there = [x is not None for x in saved]
    outputs = tuple(names for names, given in zip(inputs, there, strict=True) if given)
    gradients = iter(over_devices(on_device, choice, *saved, dy, inputs=(*inputs, _PIXELS), outputs=outputs))
    return tuple(next(gradients) if given else None for given in there)


sample.defvjp(_forward, _backward)


def _module(form: Form) -> Any:
    """The module of a form; imported when a program for such a device is traced, since Pallas takes a while."""
    if form == "tpu":
        from spikejax.kernels import sampling_tpu

        return sampling_tpu
    from spikejax.kernels import sampling_gpu

    return sampling_gpu


def _one_list(x: Array | None) -> Array | None:
    """The targets of all clips."""
    return None if x is None else x.reshape(-1, *x.shape[2:])
