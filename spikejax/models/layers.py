"""Layers that every network here is built of: linear, layer norm, convolutions, gated MLP, stacked blocks.

Conventions: channels last; parameters are float32 and are cast to the dtype of the layer's input, so the computation
follows the input (float64 checks, bfloat16 compute). Every parameter names its dimensions (`axes` metadata);
`spikejax.distributed.sharding` alone knows what a mesh makes of the names:

    layers          blocks that are scanned over            embed       width of the features, contracted
    mlp             width of a hidden layer or projection    heads       attention heads
    features_in     input channels of a convolution         features_out  its output channels
    kernel          a tap axis of a convolution              offsets     rows of a relative position table
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

LAYER_NORM_EPSILON = 1e-5


def truncated_normal(key: Array, shape: tuple[int, ...], *, fan_in: int) -> Array:
    """Initial weights of variance 1 / fan_in, cut at two standard deviations."""
    return jax.nn.initializers.truncated_normal(fan_in**-0.5)(key, shape, jnp.float32)


class Linear(nnx.Module):
    """y = x W + b over the last axis."""

    def __init__(
        self,
        features_in: int,
        features_out: int,
        *,
        axes: tuple[str, str] = ("embed", "mlp"),
        zero_init: bool = False,
        rngs: nnx.Rngs,
    ):
        shape = (features_in, features_out)
        kernel = jnp.zeros(shape) if zero_init else truncated_normal(rngs.params(), shape, fan_in=features_in)
        self.kernel = nnx.Param(kernel, axes=axes)
        self.bias = nnx.Param(jnp.zeros(features_out), axes=axes[1:])

    def __call__(self, x: Float[Array, "*batch i"], outputs: slice = slice(None)) -> Float[Array, "*batch o"]:
        """`outputs` selects a part of the features that come out, computed alone."""
        kernel, bias = self.kernel[:, outputs].astype(x.dtype), self.bias[outputs].astype(x.dtype)
        y = lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
        return y + bias.reshape((1,) * (x.ndim - 1) + (-1,))


class LayerNorm(nnx.Module):
    """Layer normalisation over the last axis, eps 1e-5; the statistics are float32 at least."""

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.ones(features), axes=("embed",))
        self.bias = nnx.Param(jnp.zeros(features), axes=("embed",))

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """`x`, normalised."""
        wide = x.astype(accumulation_dtype(x.dtype))
        centred = wide - wide.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        channels = (1,) * (x.ndim - 1) + (-1,)
        scale, bias = (p[...].astype(wide.dtype).reshape(channels) for p in (self.scale, self.bias))
        return (centred * lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + bias).astype(x.dtype)


class Conv2D(nnx.Module):
    """A k x k convolution in space, zero-padded, by k // 2 unless told otherwise, with bias; leading axes are batch."""

    def __init__(
        self,
        features_in: int,
        features_out: int,
        size: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        zero_init: bool = False,
        rngs: nnx.Rngs,
    ):
        shape = (size, size, features_in, features_out)
        kernel = (
            jnp.zeros(shape) if zero_init else truncated_normal(rngs.params(), shape, fan_in=size * size * features_in)
        )
        self.kernel = nnx.Param(kernel, axes=("kernel", "kernel", "features_in", "features_out"))
        self.bias = nnx.Param(jnp.zeros(features_out), axes=("features_out",))
        self.stride = stride
        self.padding = size // 2 if padding is None else padding

    def __call__(self, x: Float[Array, "*batch h w i"]) -> Float[Array, "*batch h2 w2 o"]:
        """The convolved images."""
        images = x.reshape(-1, *x.shape[-3:])
        y = conv2d(images, self.kernel[...].astype(x.dtype), self.stride, self.padding)
        y = y + self.bias[...].astype(x.dtype).reshape(1, 1, 1, -1)
        return y.reshape(*x.shape[:-3], *y.shape[1:])


class Conv3D(nnx.Module):
    """A 3x3x3 convolution over (t, h, w), zero-padded by 1, stride (s_t, s, s), with bias.

    It is computed as one convolution in space for each of the three time taps: on a CPU less than half the time of a
    3-D convolution.
    """

    def __init__(self, features_in: int, features_out: int, *, stride: tuple[int, int] = (1, 1), rngs: nnx.Rngs):
        shape = (3, 3, 3, features_in, features_out)
        self.kernel = nnx.Param(
            truncated_normal(rngs.params(), shape, fan_in=27 * features_in),
            axes=("kernel", "kernel", "kernel", "features_in", "features_out"),
        )
        self.bias = nnx.Param(jnp.zeros(features_out), axes=("features_out",))
        self.stride = stride

    def __call__(self, x: Float[Array, "b t h w i"]) -> Float[Array, "b t2 h2 w2 o"]:
        """The convolved clip."""
        stride_t, stride = self.stride
        kernel = self.kernel[...].astype(x.dtype)
        batch, frames = x.shape[:2]
        frames_out = (frames - 1) // stride_t + 1
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
        y = self.bias[...].astype(x.dtype).reshape(1, 1, 1, -1)
        for tap in range(3):
            frames_of_tap = padded[:, tap : tap + stride_t * (frames_out - 1) + 1 : stride_t]
            y = y + conv2d(frames_of_tap.reshape(-1, *x.shape[2:]), kernel[tap], stride, 1)
        return y.reshape(batch, frames_out, *y.shape[1:])


class GatedMLP(nnx.Module):
    """fc2(gelu(fc11 x) * fc12 x), exact GELU."""

    def __init__(self, features: int, hidden: int, features_out: int | None = None, *, rngs: nnx.Rngs):
        self.fc11 = Linear(features, hidden, rngs=rngs)
        self.fc12 = Linear(features, hidden, rngs=rngs)
        self.fc2 = Linear(hidden, features_out or features, axes=("mlp", "embed"), rngs=rngs)

    def __call__(self, x: Float[Array, "*batch i"]) -> Float[Array, "*batch o"]:
        """The gated features."""
        return self.fc2(jax.nn.gelu(self.fc11(x), approximate=False) * self.fc12(x))


Block = TypeVar("Block", bound=nnx.Module)


def stack_blocks(count: int, make: Callable[[nnx.Rngs], Block], *, rngs: nnx.Rngs) -> Block:
    """`count` blocks as one module whose parameters have a leading axis "layers", to be scanned over."""
    blocks = nnx.vmap(make)(rngs.split(count))
    for _, variable in nnx.iter_graph(blocks):
        if isinstance(variable, nnx.Param):
            variable.set_metadata(axes=("layers", *variable.get_metadata("axes")))
    return blocks


def call(module: nnx.Module, *inputs: Any, recompute: bool, by: Callable[..., Any] = operator.call) -> Any:
    """Returns `by(module, *inputs)`.

    Args:
        module: what is called.
        inputs: arrays, or trees of them.
        recompute: the backward pass computes what is within again instead of storing it.
        by: what calls it.
    """
    if not recompute:
        return by(module, *inputs)
    definition, parameters = nnx.split(module)
    return jax.checkpoint(lambda parameters, *inputs: by(nnx.merge(definition, parameters), *inputs))(
        parameters, *inputs
    )


def count_parts(size: int, *, most: int, of: int) -> int:
    """Into how many equal parts `of` things are cut, so that none holds more than `most` of `size` (or one thing)."""
    return next((parts for parts in range(-(-size // most), of + 1) if of % parts == 0), of)


def accumulation_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """float32 for the short types, else `dtype`: what statistics, logits, flows and positions are kept in."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def conv2d(
    x: Float[Array, "n h w i"], kernel: Float[Array, "kh kw i o"], stride: int, padding: int
) -> Float[Array, "n h2 w2 o"]:
    """The cross-correlation of `x` with `kernel`, zero-padded; on CPUs its weight gradient has a way of its own."""
    return _conv2d(x, kernel, stride, padding)


def _conv2d(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv2d_forward(x: Array, kernel: Array, stride: int, padding: int) -> tuple[Array, tuple[Array, Array]]:
    return _conv2d(x, kernel, stride, padding), (x, kernel)


def _conv2d_backward(stride: int, padding: int, saved: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = saved

    def by_xla(x: Array, dy: Array) -> Array:
        return jax.vjp(lambda kernel: _conv2d(x, kernel, stride, padding), kernel)[1](dy)[0]

    def by_taps(x: Array, dy: Array) -> Array:
        # XLA's weight gradient on CPUs runs at a twentieth of a matrix product's rate: take a product for each tap of
        # the kernel instead.
        return _kernel_gradient_by_taps(x, dy, kernel.shape[:2], stride, padding)

    return _input_gradient(x, kernel, stride, padding, dy), lax.platform_dependent(x, dy, cpu=by_taps, default=by_xla)


def _input_gradient(x: Array, kernel: Array, stride: int, padding: int, dy: Array) -> Array:
    if stride == 1 and kernel.shape[0] == kernel.shape[1]:
        # A convolution like any other, with the kernel turned round; XLA would take a slower, more general one.
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        return _conv2d(dy, turned, 1, kernel.shape[0] - 1 - padding)
    return jax.vjp(lambda x: _conv2d(x, kernel, stride, padding), x)[1](dy)[0]


def _kernel_gradient_by_taps(x: Array, dy: Array, size: tuple[int, ...], stride: int, padding: int) -> Array:
    images, height, width, _ = dy.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = stride * (height - 1) + 1, stride * (width - 1) + 1

    def tap(index: Array) -> Array:
        row, column = index // size[1], index % size[1]
        first = jnp.zeros_like(index)  # of the type of the others, with x64 as well
        seen = lax.dynamic_slice(x, (first, row, column, first), (images, rows, columns, x.shape[-1]))
        return lax.dot_general(seen[:, ::stride, ::stride], dy, (((0, 1, 2), (0, 1, 2)), ((), ())))

    taps = lax.map(tap, jnp.arange(size[0] * size[1], dtype=jnp.int32))
    return taps.reshape(*size, x.shape[-1], dy.shape[-1])


conv2d.defvjp(_conv2d_forward, _conv2d_backward)
