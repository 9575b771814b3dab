"""The spike encoder's pyramid."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from spikejax.models.rngs import make_rngs
from spikejax.models.spike_encoder import ResidualBlock3D, SpikeEncoder3D
from tests.models.parameters import build_random, normal


def test_a_residual_block_is_its_formula() -> None:
    """Catches a ReLU before the sum, or the sum before the second convolution."""
    block = build_random(lambda rngs: ResidualBlock3D(4, rngs=rngs))
    x = jnp.asarray(normal(1, 3, 4, 5, 4), jnp.float32)
    expected = jax.jit(lambda x: jax.nn.relu(block.conv2(jax.nn.relu(block.conv1(x))) + x))(x)
    np.testing.assert_allclose(jax.jit(block)(x), expected, atol=1e-5)


def test_scales_have_vrts_sizes() -> None:
    """Catches a pyramid that halves the frames, or is halved at its first scale already."""
    encoder = nnx.eval_shape(lambda: SpikeEncoder3D(5, (4, 6, 8, 10), rngs=make_rngs(0)))
    voxels = jax.ShapeDtypeStruct((2, 3, 16, 24, 5), jnp.float32)
    shapes = [x.shape for x in jax.eval_shape(lambda encoder, voxels: encoder(voxels), encoder, voxels)]
    assert shapes == [(2, 3, 16, 24, 4), (2, 3, 8, 12, 6), (2, 3, 4, 6, 8), (2, 3, 2, 3, 10)]


def test_a_scale_is_fed_by_the_one_before() -> None:
    """Catches scales that start from the voxels, or from the entry of the one before, without its residual blocks."""
    encoder = build_random(lambda rngs: SpikeEncoder3D(3, (4, 6), rngs=rngs))
    voxels = jnp.asarray(normal(1, 2, 6, 8, 3), jnp.float32)
    first, second = jax.jit(encoder)(voxels)
    scale = encoder.scales[1]

    @jax.jit
    def expected(x: jax.Array) -> jax.Array:
        x = jax.nn.relu(scale.entry(x))
        return scale.residual_blocks[1](scale.residual_blocks[0](x))

    np.testing.assert_allclose(second, expected(first), rtol=1e-5, atol=1e-5)
