"""A network compiled for clips of one shape, called with NumPy arrays."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, UInt8


class CompiledNetwork:
    """Restores clips of one shape; a `pipeline.ClipRestorer`.

    Attributes:
        compile_seconds: what compiling took.
        seconds: what all calls took together.
    """

    def __init__(
        self, model: nnx.Module, *, clip_shape: tuple[int, int, int], voxel_shape: tuple[int, int, int, int] | None
    ) -> None:
        """Compiles the network.

        Args:
            model: a Restorer, called as model(blur, voxels, key=None).
            clip_shape: frames, rows and columns of the clips.
            voxel_shape: frames, rows, columns and bins of their voxels; None = without spikes.

        Raises:
            InputError: the network cannot take such a clip.
        """
        graphdef, self._params = nnx.split(model)

        def forward(
            params: Any, blur: UInt8[Array, "t h w 3"], voxels: Float32[Array, "t h2 w2 k"] | None
        ) -> Float[Array, "t h w 3"]:
            clip = blur.astype(jnp.float32)[jnp.newaxis] / 255.0
            recon = nnx.merge(graphdef, params)(clip, None if voxels is None else voxels[jnp.newaxis], key=None)
            return recon[0].astype(jnp.float32)

        started = time.perf_counter()
        blur = jax.ShapeDtypeStruct((*clip_shape, 3), jnp.uint8)
        voxels = None if voxel_shape is None else jax.ShapeDtypeStruct(voxel_shape, jnp.float32)
        self._forward = jax.jit(forward).lower(self._params, blur, voxels).compile()
        self.compile_seconds = time.perf_counter() - started
        self.seconds = 0.0

    def __call__(
        self, blur: UInt8[np.ndarray, "t h w 3"], voxels: Float32[np.ndarray, "t h2 w2 k"] | None
    ) -> Float32[np.ndarray, "t h w 3"]:
        """The restored clip, about [0, 1]."""
        started = time.perf_counter()
        restored = np.asarray(self._forward(self._params, blur, voxels))
        self.seconds += time.perf_counter() - started
        return restored
