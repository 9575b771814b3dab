"""Layers against formulas, loops and XLA's own convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from spikejax.models.layers import (
    Conv2D,
    Conv3D,
    GatedMLP,
    LayerNorm,
    Linear,
    accumulation_dtype,
    truncated_normal,
)
from spikejax.models.rngs import make_rngs
from tests.models import loops


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Random numbers, float64."""
    return np.random.default_rng(seed).normal(size=shape)


def test_linear_is_a_product_and_can_compute_a_part() -> None:
    """Catches a transposed kernel, a lost bias, and a part of the outputs that is not the part asked for."""
    layer = Linear(5, 7, rngs=make_rngs(0))
    layer.bias[...] = jnp.asarray(normal(7), jnp.float32)
    with jax.enable_x64(True):
        x = jnp.asarray(normal(2, 3, 5))
        expected = np.asarray(x) @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])
        np.testing.assert_allclose(layer(x), expected, atol=1e-12)
        np.testing.assert_allclose(layer(x, slice(2, 5)), expected[..., 2:5], atol=1e-12)
    assert not Linear(5, 7, zero_init=True, rngs=make_rngs(0)).kernel[...].any()


def test_initial_weights_have_the_size_of_their_fan_in() -> None:
    """Catches weights scaled by the wrong axis: a deep network would begin with exploding or vanishing features."""
    weights = np.asarray(truncated_normal(jax.random.key(0), (300, 100), fan_in=300))
    # A normal distribution that is cut at two standard deviations keeps 0.88 of its own.
    np.testing.assert_allclose(weights.std(), 0.88 * 300**-0.5, rtol=0.02)
    assert np.abs(weights).max() <= 2 * 300**-0.5
    assert Conv2D(4, 6, rngs=make_rngs(0)).kernel[...].std() == pytest.approx(0.88 * 36**-0.5, rel=0.15)
    assert Conv3D(4, 6, rngs=make_rngs(0)).kernel[...].std() == pytest.approx(0.88 * 108**-0.5, rel=0.15)


def test_layer_norm_is_its_formula() -> None:
    """Catches another epsilon (which shows where the variance is small), or statistics over the wrong axis."""
    layer = LayerNorm(6)
    layer.scale[...], layer.bias[...] = (jnp.asarray(normal(6, seed=seed), jnp.float32) for seed in (1, 2))
    with jax.enable_x64(True):
        x = normal(4, 3, 6) * np.array([1e-3, 1, 100, 1e-2]).reshape(4, 1, 1)
        scale, bias = (np.asarray(p[...], np.float64) for p in (layer.scale, layer.bias))
        np.testing.assert_allclose(layer(jnp.asarray(x)), loops.layer_norm(x, scale, bias), atol=1e-10)


def test_layer_norm_keeps_its_statistics_wide() -> None:
    """Catches statistics in bfloat16: a mean of 100 would be rounded by more than the spread about it."""
    x = jnp.asarray(100 + normal(8, 64), jnp.bfloat16)
    normed = LayerNorm(64)(x)
    assert normed.dtype == jnp.bfloat16
    expected = LayerNorm(64)(x.astype(jnp.float32))
    # The result alone is rounded, to 8 bits.
    np.testing.assert_allclose(np.asarray(normed, np.float32), expected, rtol=2**-8, atol=1e-6)


def test_conv2d_layer_is_a_zero_padded_cross_correlation() -> None:
    """Catches a flipped kernel, swapped kernel axes, an edge that is not zero, leading axes that are mixed."""
    layer = Conv2D(2, 3, rngs=make_rngs(0))
    layer.bias[...] = jnp.asarray(normal(3), jnp.float32)
    x = normal(2, 3, 5, 4, 2)
    with jax.enable_x64(True):
        kernel, bias = (np.asarray(p[...], np.float64) for p in (layer.kernel, layer.bias))
        expected = loops.convolution(x.reshape(6, 5, 4, 2), kernel, bias).reshape(2, 3, 5, 4, 3)
        np.testing.assert_allclose(layer(jnp.asarray(x)), expected, atol=1e-12)
    unpadded = Conv2D(2, 3, padding=0, rngs=make_rngs(0))
    assert unpadded(jnp.asarray(x, jnp.float32)).shape == (2, 3, 3, 2, 3)
    padded = Conv2D(2, 3, rngs=make_rngs(0))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(unpadded(jnp.asarray(x, jnp.float32)), padded[:, :, 1:-1, 1:-1], atol=1e-6)
    strided = Conv2D(2, 3, stride=2, rngs=make_rngs(0))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(strided, padded[:, :, ::2, ::2], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("frames", (2, 5))
@pytest.mark.parametrize("stride", (1, 2))
def test_conv3d_is_xlas(stride: int, frames: int) -> None:
    """Catches time taps in the wrong order, a stride in time, sizes that the stride does not divide; gradients too."""
    layer = Conv3D(3, 4, stride=stride, rngs=make_rngs(0))
    layer.bias[...] = jnp.asarray(normal(4), jnp.float32)
    with jax.enable_x64(True):
        kernel, bias = (p[...].astype(jnp.float64) for p in (layer.kernel, layer.bias))
        x = jnp.asarray(normal(2, frames, 7, 8, 3))

        def reference(kernel: jax.Array, x: jax.Array) -> jax.Array:
            y = lax.conv_general_dilated(
                x, kernel, (1, stride, stride), [(1, 1)] * 3, dimension_numbers=("NTHWC", "THWIO", "NTHWC")
            )
            return y + bias.reshape(1, 1, 1, 1, -1)

        definition, parameters = nnx.split(layer)
        expected, back = jax.vjp(reference, kernel, x)
        answer, back_of_ours = jax.vjp(lambda parameters, x: nnx.merge(definition, parameters)(x), parameters, x)
        np.testing.assert_allclose(answer, expected, atol=1e-12)
        dy = jnp.asarray(normal(*expected.shape, seed=1))
        (of_kernel, of_x), (of_parameters, of_our_x) = back(dy), back_of_ours(dy)
        np.testing.assert_allclose(of_our_x, of_x, atol=1e-11)
        # Parameters, and so their gradients, are float32.
        np.testing.assert_allclose(of_parameters["kernel"][...], of_kernel, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(of_parameters["bias"][...], dy.sum((0, 1, 2, 3)), rtol=1e-6, atol=1e-6)


def test_gated_mlp_is_its_formula() -> None:
    """Catches the gate on the wrong half, or the tanh approximation of GELU (off by 1e-4)."""
    mlp = GatedMLP(3, 5, 4, rngs=make_rngs(0))
    with jax.enable_x64(True):
        x = normal(6, 3)
        layers = (mlp.fc11, mlp.fc12, mlp.fc2)
        a, b, out = (
            lambda x, layer=layer: x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])
            for layer in layers
        )
        np.testing.assert_allclose(mlp(jnp.asarray(x)), out(loops.gelu(a(x)) * b(x)), atol=1e-12)
    assert GatedMLP(3, 5, rngs=make_rngs(0)).fc2.kernel.shape == (5, 3)


def test_sums_are_kept_in_float32_at_least() -> None:
    """Catches statistics of too few bits, or a float64 check that is rounded to float32 on the way."""
    expected = {"bfloat16": "float32", "float16": "float32", "float32": "float32", "float64": "float64"}
    assert {name: accumulation_dtype(jnp.dtype(name)).name for name in expected} == expected
