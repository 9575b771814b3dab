"""Attention of many windows by kernels, in place of `spikejax.models.attend` and what prepares its arguments.

Queries, keys and values come as one array, as their projection makes it, all heads side by side, and so does their
gradient: no head is ever brought apart in memory. Forward and backward are a kernel each (on GPUs the bias' gradient
has one of its own), and the logits stay in it.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float, Int

from spikejax.kernels.choice import Choice, Dimensions, Form, over_devices
from spikejax.kernels.window_layout import Heads

# The name under which rematerialisation may keep what attention returns.
SAVED_NAME = "attended"
_DTYPES = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
_WINDOWS: Dimensions = ("clips", "rows")


def fits(form: Form, *, dtype: jnp.dtype, tokens: int, heads: int, depth: int) -> bool:
    """Whether the kernel of that form takes windows of `tokens` tokens and heads of `depth` features."""
    return jnp.dtype(dtype) in _DTYPES and _module(form).fits(tokens=tokens, heads=heads, depth=depth)


def lanes_of(form: Form, features: int) -> int:
    """The columns that each of queries, keys and values has to have."""
    return _module(form).lanes_of(features)


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def window_attention(
    qkv: Float[Array, "b nw n _lanes3"],
    bias: Float[Array, "heads n n"] | None,
    regions: Int[Array, "nw n"] | None,
    heads: Heads,
    choice: Choice,
) -> Float[Array, "b nw n _lanes"]:
    """softmax(q k + bias + mask) v in every window and head, q multiplied with `heads.scale`.

    Args:
        qkv: queries, keys and values, each of `heads.lanes` columns, those behind the heads' zero.
        bias: added to the logits of every window.
        regions: see `spikejax.models.attend`; in mutual attention those of the first frame serve both.
        heads: how the columns lie.
        choice: the form.
    """
    return _forward(qkv, bias, regions, heads, choice)[0]


def _forward(
    qkv: Array, bias: Array | None, regions: Array | None, heads: Heads, choice: Choice
) -> tuple[Array, tuple[Array | None, ...]]:
    def on_device(
        axes: dict[str, tuple[str, ...]], qkv: Array, bias: Array | None, regions: Array | None
    ) -> tuple[Array, Array, Array]:
        clips = len(qkv)
        form = _module(choice.form)
        qkv = form.add_masks(qkv, regions, heads)
        results = form.forward(_one_list(qkv), bias, regions, heads, interpret=choice.interpret)
        attended, log_total = (x.reshape(clips, -1, *x.shape[1:]) for x in results)
        return qkv, attended, log_total

    qkv, attended, log_total = over_devices(
        on_device, choice, qkv, bias, regions, inputs=(_WINDOWS, (), ("rows",)), outputs=(_WINDOWS,) * 3
    )
    attended, log_total = (checkpoint_name(x, SAVED_NAME) for x in (attended, log_total))
    return attended, (qkv, bias, regions, attended, log_total)


def _backward(
    heads: Heads, choice: Choice, saved: tuple[Array | None, ...], dy: Array
) -> tuple[Array, Array | None, None]:
    qkv, bias, regions, attended, log_total = saved

    def on_device(
        axes: dict[str, tuple[str, ...]], bias: Array | None, regions: Array | None, *of_windows: Array
    ) -> tuple[Array, Array | None]:
        clips = len(of_windows[0])
        qkv, attended, log_total, dy = map(_one_list, of_windows)
        dqkv, dbias = _module(choice.form).backward(
            qkv, bias, regions, attended, log_total, dy, heads, interpret=choice.interpret
        )
        if dbias is not None and any(axes.values()):
            dbias = lax.psum(dbias, axes["clips"] + axes["rows"])
        return dqkv.reshape(clips, -1, *dqkv.shape[1:]), dbias

    dqkv, dbias = over_devices(
        on_device,
        choice,
        *(bias, regions, qkv, attended, log_total, dy),
        inputs=((), ("rows",), *(_WINDOWS,) * 4),
        outputs=(_WINDOWS, ()),
    )
    return dqkv, None if bias is None or dbias is None else dbias.astype(bias.dtype), None


window_attention.defvjp(_forward, _backward)


def _module(form: Form) -> Any:
    """The module of a form; imported when a program for such a device is traced, since Pallas takes a while."""
    if form == "tpu":
        from spikejax.kernels import window_attention_tpu

        return window_attention_tpu
    from spikejax.kernels import window_attention_gpu

    return window_attention_gpu


def _one_list(x: Array) -> Array:
    """The windows of all clips."""
    return x.reshape(-1, *x.shape[2:])
