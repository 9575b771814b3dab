"""The convolution in space and its gradients, against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from spikejax.models.convolution import convolve
from tests.models.parameters import normal


@pytest.mark.parametrize("padded", (True, False))
@pytest.mark.parametrize("stride", (1, 2))
@pytest.mark.parametrize("size", (3, 7))
def test_gradients_are_xlas(size: int, stride: int, padded: bool) -> None:
    """Catches a weight gradient of the wrong pixels: of a tap, of a stride, at an edge."""
    padding = size // 2 if padded else 0
    with jax.enable_x64(True):
        x, kernel = jnp.asarray(normal(2, 11, 14, 3)), jnp.asarray(normal(size, size, 3, 4))

        def reference(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return lax.conv_general_dilated(
                x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        def gradients(function: jax.stages.Wrapped, x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, ...]:
            y, back = jax.vjp(function, x, kernel)
            return y, *back(jnp.asarray(normal(*y.shape, seed=1)))

        ours = jax.jit(lambda *args: gradients(lambda x, kernel: convolve(x, kernel, stride, padding), *args))(
            x, kernel
        )
        theirs = jax.jit(lambda *args: gradients(reference, *args))(x, kernel)
        for name, a, b in zip(("y", "dx", "dkernel"), ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-11, err_msg=name)
