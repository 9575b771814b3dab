"""Layers that every network here is built of: linear, layer norm, convolutions, gated MLP.

Conventions: channels last; parameters are float32 and are cast to the dtype of the layer's input, so the computation
follows the input (float64 checks, bfloat16 compute). Every parameter names its dimensions (`axes` metadata);
`spikejax.distributed.sharding` alone knows what a mesh makes of the names:

    layers          blocks that are scanned over            embed       width of the features, contracted
    mlp             width of a hidden layer or projection    heads       attention heads
    features_in     input channels of a convolution         features_out  its output channels
    kernel          a tap axis of a convolution              offsets     rows of a relative position table
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from spikejax.kernels import convolution_3d
from spikejax.kernels.choice import choose, shares_rows
from spikejax.kernels.convolution_3d import convolve_3d
from spikejax.kernels.layer_math import LAYER_NORM_EPSILON
from spikejax.kernels.products import product
from spikejax.models.convolution import convolve


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
        y = _times(x, kernel)
        return y + bias.reshape((1,) * (x.ndim - 1) + (-1,))

    def in_parts(self, x: Float[Array, "*batch i"], parts: int, *, width: int) -> Float[Array, "*batch _o"]:
        """The features that come out as equal `parts` side by side, each with zeros behind it up to `width` of them."""
        kernel, bias = (leaf.astype(x.dtype) for leaf in self.padded(parts, width))
        y = _times(x, kernel)
        return y + bias.reshape((1,) * (x.ndim - 1) + (-1,))

    def padded(self, parts: int, width: int) -> tuple[Float[Array, "i _o"], Float[Array, " _o"]]:
        """Kernel and bias of `in_parts`."""

        def pad(leaf: Array) -> Array:
            apart = rearrange(leaf, "... (parts o) -> ... parts o", parts=parts)
            return jnp.pad(apart, ((0, 0),) * (apart.ndim - 1) + ((0, width - apart.shape[-1]),))

        kernel, bias = pad(self.kernel[...]), pad(self.bias[...])
        return kernel.reshape(len(kernel), -1), bias.reshape(-1)

    def kernels_of_parts(self, parts: int, width: int) -> tuple[Float[Array, "_i o"], ...]:
        """The kernel for each of the equal `parts` of the features that go in, with zeros for what is behind them."""
        kernels = jnp.split(self.kernel[...], parts)
        return tuple(jnp.pad(kernel, ((0, width - len(kernel)), (0, 0))) for kernel in kernels)

    def of_parts(
        self, parts: Sequence[Float[Array, "*batch _i"]], *, narrow: bool = False, interpret: bool = False
    ) -> Float[Array, "*batch o"]:
        """What the features in `parts`, each with anything behind its own, would give if they were one array.

        Args:
            parts: equal parts of the features that go in.
            narrow: whether the product of each part has the type of the features, as `__call__` gives it. XLA for GPUs
                writes float32 to memory, where windows are put together next.
            interpret: see `spikejax.kernels.products`.
        """
        features, last = parts[0].dtype, parts[0].ndim - 1
        multiply = _times if narrow else partial(product, axis_a=last, axis_b=0, interpret=interpret)
        dtype = features if narrow else accumulation_dtype(features)
        y = self.bias[...].astype(dtype).reshape((1,) * last + (-1,))
        for x, kernel in zip(parts, self.kernels_of_parts(len(parts), parts[0].shape[-1]), strict=True):
            y = y + multiply(x, kernel.astype(features))
        return y.astype(features)


def _times(x: Array, kernel: Array) -> Array:
    """The product over the last axis, in the type of both."""
    return lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))


class LayerNorm(nnx.Module):
    """Layer normalisation over the last axis, eps 1e-5; the statistics are float32 at least."""

    def __init__(self, features: int):
        self.scale = nnx.Param(jnp.ones(features), axes=("embed",))
        self.bias = nnx.Param(jnp.zeros(features), axes=("embed",))

    def __call__(self, x: Float[Array, "*batch c"]) -> Float[Array, "*batch c"]:
        """`x`, normalised."""
        accurate = x.astype(accumulation_dtype(x.dtype))
        centred = accurate - accurate.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        channels = (1,) * (x.ndim - 1) + (-1,)
        scale, bias = (p[...].astype(accurate.dtype).reshape(channels) for p in (self.scale, self.bias))
        return (centred * lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + bias).astype(x.dtype)


class Conv2D(nnx.Module):
    """A k x k convolution in space with bias, zero-padded, by default by k // 2; leading axes are batch."""

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

    def __call__(
        self, x: Float[Array, "*batch h w i"], arrange: Callable[[Array], Array] = lambda features: features
    ) -> Float[Array, "*batch h2 w2 o"]:
        """The convolved images; `arrange` puts the features that come out, the last axis, in another order."""
        images = x.reshape(-1, *x.shape[-3:])
        y = convolve(images, arrange(self.kernel[...]).astype(x.dtype), self.stride, self.padding)
        y = y + arrange(self.bias[...]).astype(x.dtype).reshape(1, 1, 1, -1)
        return y.reshape(*x.shape[:-3], *y.shape[1:])


class Conv3D(nnx.Module):
    """A 3x3x3 convolution over (t, h, w), zero-padded by 1, strided in space alone, with bias.

    It is computed as one convolution in space for each of the three time taps: on a CPU less than half the time of a
    3-D convolution.
    """

    def __init__(self, features_in: int, features_out: int, *, stride: int = 1, rngs: nnx.Rngs):
        shape = (3, 3, 3, features_in, features_out)
        self.kernel = nnx.Param(
            truncated_normal(rngs.params(), shape, fan_in=27 * features_in),
            axes=("kernel", "kernel", "kernel", "features_in", "features_out"),
        )
        self.bias = nnx.Param(jnp.zeros(features_out), axes=("features_out",))
        self.stride = stride

    def __call__(
        self,
        x: Float[Array, "b t h w i"],
        *,
        added: Float[Array, "b t h2 w2 o"] | None = None,
        relu: bool = False,
    ) -> Float[Array, "b t h2 w2 o"]:
        """The convolved clip, and `added`; negative ones 0 if `relu`."""
        choice = choose(
            partial(
                convolution_3d.fits,
                dtype=x.dtype,
                features_in=x.shape[-1],
                features_out=self.bias.shape[0],
                columns=x.shape[3],
            )
        )
        if choice.form == "plain" or shares_rows(choice):
            y = self._plain(x)
        else:
            kernel, bias = self.kernel[...].astype(x.dtype), self.bias[...]
            if self.stride == 1:
                return convolve_3d(x, kernel, bias, added, relu, choice)
            # Of a stride all is computed and a part kept, which takes less than XLA's own strided convolution.
            y = convolve_3d(x, kernel, bias, None, False, choice)[:, :, :: self.stride, :: self.stride]
        y = y if added is None else y + added
        return jax.nn.relu(y) if relu else y

    def _plain(self, x: Array) -> Array:
        kernel = self.kernel[...].astype(x.dtype)
        batch, frames = x.shape[:2]
        padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)))
        y = self.bias[...].astype(x.dtype).reshape(1, 1, 1, -1)
        for tap in range(3):
            under_tap = padded[:, tap : tap + frames]
            y = y + convolve(under_tap.reshape(-1, *x.shape[2:]), kernel[tap], self.stride, 1)
        return y.reshape(batch, frames, *y.shape[1:])


class GatedMLP(nnx.Module):
    """fc2(gelu(fc11 x) * fc12 x), exact GELU."""

    def __init__(self, features: int, hidden: int, features_out: int | None = None, *, rngs: nnx.Rngs):
        self.fc11 = Linear(features, hidden, rngs=rngs)
        self.fc12 = Linear(features, hidden, rngs=rngs)
        self.fc2 = Linear(hidden, features_out or features, axes=("mlp", "embed"), rngs=rngs)

    def __call__(self, x: Float[Array, "*batch i"]) -> Float[Array, "*batch o"]:
        """The gated features."""
        return self.fc2(jax.nn.gelu(self.fc11(x), approximate=False) * self.fc12(x))


def accumulation_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """float32 for types of fewer bits, else `dtype`: what statistics, logits, flows and positions are kept in."""
    return jnp.dtype(dtype) if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)
