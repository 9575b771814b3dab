"""Where the published PyTorch VRT keeps its parameters, and what it keeps beside them."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from flax import nnx

from spikejax.models import imagenet
from spikejax.models.attention import Window, WindowAttention, relative_position_index

from .rules import ARRAY, CONV, CONV_IN_SPACE, LINEAR_1X1, Counterpart, Rule, linear, nest, norm
from .transfer import Buffer

_TABLE = "relative_position_bias_table"

_MLP = (*linear("fc11", "fc11"), *linear("fc12", "fc12"), *linear("fc2", "fc2"))

_BLOCK = (
    *norm("norm1", "norm1"),
    *linear("attention.qkv_self", "attn.qkv_self"),
    *linear("attention.qkv_mutual", "attn.qkv_mut"),
    *linear("attention.projection", "attn.proj"),
    Rule("attention.relative_bias", f"attn.{_TABLE}", ARRAY),
    *norm("norm2", "norm2"),
    *nest("mlp.", "mlp.", _MLP),
)

_ALIGNMENT = (
    Rule("kernel", "weight", CONV),
    Rule("bias", "bias", ARRAY),
    *linear("offset_convolutions.{j}", "conv_offset.{j*2}", CONV),
    *linear("offset_projection", "conv_offset.6", CONV),
)

_STAGE = (
    *norm("reshape.norm", "reshape.1"),
    *linear("reshape.linear", "reshape.2"),
    *nest("mutual_group.blocks.", "residual_group1.blocks.{layer}.", _BLOCK),
    *linear("mutual_linear", "linear1"),
    *nest("self_group.blocks.", "residual_group2.blocks.{layer}.", _BLOCK),
    *linear("self_linear", "linear2"),
    *nest("warping.alignment.", "pa_deform.", _ALIGNMENT),
    *nest("warping.fuse.", "pa_fuse.", _MLP),
)

SPYNET = linear("levels.{i}.convolutions.{j}", "basic_module.{i}.basic_module.{j*2}", CONV)

_BODY = (
    *nest("spynet.", "spynet.", SPYNET),
    *linear("conv_first", "conv_first", CONV_IN_SPACE),
    *nest("stages.{i}.", "stage{i+1}.", _STAGE),
    *norm("reconstruction_norm", "stage8.0.1"),
    *linear("reconstruction_linear", "stage8.0.2"),
    *nest("reconstruction_groups.{i}.group.blocks.", "stage8.{i+1}.residual_group.blocks.{layer}.", _BLOCK),
    *linear("reconstruction_groups.{i}.linear", "stage8.{i+1}.linear"),
    *norm("norm", "norm"),
    *linear("linear_after_body", "conv_after_body"),
)

# The heads share names of ours and differ in theirs.
_PICTURE = linear("head.conv_last", "conv_last", CONV_IN_SPACE)
_UPSCALING = (
    *linear("head.conv_before_upsample", "conv_before_upsample.0", CONV_IN_SPACE),
    *linear("head.shuffles.{i}", "upsample.{i*5}", CONV_IN_SPACE),
    *_PICTURE,
)
_INTERPOLATION = (
    *linear("head.linear_fuse", "linear_fuse", LINEAR_1X1),
    *linear("head.conv_last", "conv_last", CONV),
)


def vrt_rules(*, upscale: int, warp_frames: int) -> tuple[Rule, ...]:
    """The rules of a published VRT: of its body and of the head that its task has."""
    if not warp_frames:
        return (*_BODY, *_INTERPOLATION)
    if upscale == 1:
        return (*_BODY, *_PICTURE)
    # Behind every pixel shuffle there are four modules without parameters.
    shuffles = 1 if upscale == 3 else upscale.bit_length() - 1
    return (
        *_BODY,
        *_UPSCALING,
        *linear("head.conv_after_upsample", f"upsample.{5 * shuffles}", CONV_IN_SPACE),
    )


def spynet_buffers() -> dict[str, Buffer]:
    """What SpyNet normalises with, [1, 3, 1, 1]."""
    constants = {"mean": imagenet.MEAN, "std": imagenet.STD}
    return {
        key: Buffer((1, 3, 1, 1), np.dtype(np.float32), partial(_constant, values)) for key, values in constants.items()
    }


def attention_buffers(model: nnx.Module, counterparts: Mapping[str, Counterpart]) -> dict[str, Buffer]:
    """What every attention of `model` keeps of its window of N tokens and its C features.

    `relative_position_index` is int64 [N, N]. `position_bias`, only where there is mutual attention, is the encoding of
    one frame's window, float32 [1, N / 2, C], see `published_encoding`: the original repeats it for both frames when it
    attends.

    Args:
        model: may be shapes alone.
        counterparts: of its parameters, by PyTorch key.
    """
    attentions = {
        ".".join(map(str, path)): module
        for path, module in nnx.iter_graph(model)
        if isinstance(module, WindowAttention)
    }
    buffers = {}
    for key, counterpart in counterparts.items():
        if not key.endswith(_TABLE):
            continue
        attention = attentions[counterpart.parameter.rpartition(".")[0]]
        tokens, prefix = int(np.prod(attention.window)), key.removesuffix(_TABLE)
        index = partial(_index, attention.window)
        buffers[f"{prefix}relative_position_index"] = Buffer((tokens, tokens), np.dtype(np.int64), index)
        if attention.qkv_mutual is not None:
            features = attention.qkv_mutual.kernel.shape[-2]
            height, width = attention.window[1:]
            encoding = partial(_position_bias, height, width, features)
            buffers[f"{prefix}position_bias"] = Buffer((1, height * width, features), np.dtype(np.float32), encoding)
    return buffers


def _constant(values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def _index(window: Window) -> np.ndarray:
    return relative_position_index(window).astype(np.int64)


def published_encoding(height: int, width: int, features: int) -> np.ndarray:
    """`sine_position_encoding` as the original computes it, float32 [height * width, features].

    It rounds to float32 after every step, also where the rest of the network is float64 then: frequencies, angles (up
    to 2 pi, so that these are off by up to 2.4e-7) and sines. Our networks take the exact values.
    """
    half, one = features // 2, np.float32(1)
    powers = np.float32(2) * np.floor(np.arange(half, dtype=np.float32) / 2) / np.float32(half)
    # The power and the sines are rounded once; NumPy's own in float32 are off by several units.
    frequency = (10000.0 ** powers.astype(np.float64)).astype(np.float32)
    parts = []
    for axis, length in enumerate((height, width)):
        position = np.arange(1, length + 1, dtype=np.float32) / (length * one + np.float32(1e-6))
        angle = ((position * np.float32(2 * np.pi))[:, None] / frequency).astype(np.float64)
        encoding = np.where(np.arange(half) % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)
        parts.append(np.broadcast_to(np.expand_dims(encoding, 1 - axis), (height, width, half)))
    return np.concatenate(parts, axis=-1).reshape(height * width, features)


def _position_bias(height: int, width: int, features: int) -> np.ndarray:
    return published_encoding(height, width, features)[None]
