"""The deformable convolution and its own backward pass, against JAX's derivatives of the plain formula."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from einops import rearrange
from jax import Array

from spikejax.models import deformable
from spikejax.models.deformable import deformable_convolution
from spikejax.models.warp import sample_bilinear
from tests.models.parameters import normal
from tests.models.quick import quick_jit

CLIPS, IMAGES, HEIGHT, WIDTH, TAPS, SOURCES, GROUPS, CHANNELS, PIXELS = 2, 2, 4, 6, 9, 2, 2, 3, 24


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    """The comparisons are exact ones."""
    with jax.enable_x64(True):
        yield


def arguments() -> tuple[Array, ...]:
    """Image, positions (a part of them outside of it), mask and kernel."""
    groups = SOURCES * GROUPS
    position = normal(CLIPS, IMAGES, PIXELS, TAPS, groups, 2, seed=1) * 3 + np.array([WIDTH / 2, HEIGHT / 2])
    return tuple(
        jnp.asarray(x)
        for x in (
            normal(CLIPS, IMAGES, HEIGHT, WIDTH, groups, CHANNELS),
            position,
            normal(CLIPS, IMAGES, PIXELS, TAPS, groups, seed=2),
            normal(SOURCES, TAPS * GROUPS * CHANNELS, 5, seed=3),
        )
    )


def plain(image: Array, position: Array, mask: Array, kernel: Array) -> Array:
    """The formula: sample, modulate, sum over taps and channels, source by source."""
    image, position = (rearrange(x, "b n ... -> (b n) ...") for x in (image, position))
    samples = rearrange(sample_bilinear(image, position), "(b n) ... -> b n ...", b=CLIPS) * mask[..., None]
    samples = rearrange(samples, "b n p tap (k g) c -> b n p k (tap g c)", k=SOURCES)
    return rearrange(jnp.einsum("bnpkj,kjo->bnpko", samples, kernel), "b n p k o -> b n p (k o)")


def answer(function: Callable[..., Array]) -> list[np.ndarray]:
    """What `function` returns, and the gradients of everything that goes in."""

    def loss(*inputs: Array) -> tuple[Array, Array]:
        merged = function(*inputs)
        return (merged * jnp.asarray(normal(*merged.shape, seed=4))).sum(), merged

    gradients, merged = quick_jit(jax.grad(loss, argnums=(0, 1, 2, 3), has_aux=True))(*arguments())
    return [np.asarray(x) for x in (merged, *gradients)]


@pytest.mark.parametrize("schedule", ("in one go", "in chunks", "in chunks of chunks", "image by image elsewhere"))
def test_the_backward_pass_is_that_of_the_formula(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a wrong derivative, samples from outside, chunks in the wrong order, gradients lost between chunks."""
    samples = CLIPS * IMAGES * PIXELS * TAPS * SOURCES * GROUPS * CHANNELS
    # Seven chunks do not divide the 24 pixels: eight are taken.
    monkeypatch.setattr(deformable, "_SAMPLES_IN_CACHE", samples if schedule == "in one go" else samples // 7)
    of_corners = samples // 2 if schedule == "in chunks of chunks" else samples
    monkeypatch.setattr(deformable, "_SAMPLES_OF_CORNERS", of_corners)
    if schedule == "image by image elsewhere":
        monkeypatch.setattr(deformable, "_SAMPLES_OF_IMAGE", samples // CLIPS // IMAGES // 7)
        monkeypatch.setattr(deformable.lax, "platform_dependent", lambda *args, cpu, default: default(*args))
    for ours, expected in zip(answer(deformable_convolution), answer(plain), strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-11)
