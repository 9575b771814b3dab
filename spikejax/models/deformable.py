"""The modulated deformable convolution (Zhu et al., 2019), in parts that fit into the cache or the memory.

What is sampled is many times larger than what it is sampled from. Neither pass ever holds all of it: the backward pass
samples again, and adds the image's gradient up where it lies.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jaxtyping import Float

from spikejax.models.layers import count_parts
from spikejax.models.warp import Corner, add_pixels, bilinear_corners, gather_pixels

# Samples (positions times channels) of an image held at once. On CPUs a few megabytes of them, of all images, stay in
# the cache.
_SAMPLES_OF_IMAGE = 2**23
_SAMPLES_IN_CACHE = 2**20
_SAMPLES_OF_CORNERS = 2**22


@jax.custom_vjp
def deformable_convolution(
    image: Float[Array, "n h w kg c"],
    position: Float[Array, "n p tap kg 2"],
    mask: Float[Array, "n p tap kg"],
    kernel: Float[Array, "k gtapc o"],
) -> Float[Array, "n p ko"]:
    """The convolution of what is seen from p pixels.

    Args:
        image: k sources of g groups of channels each.
        position: (column, row) of every tap, for each group of channels; zeros lie outside the image.
        mask: what every sample is multiplied with.
        kernel: of each source, over its taps, groups and channels; it makes o of the result's channels.
    """
    return _forward(image, position, mask, kernel)


def _forward(image: Array, position: Array, mask: Array, kernel: Array) -> Array:
    def part(total: tuple, corners: list[Corner], mask: Array) -> tuple[tuple, Array]:
        samples = _sample([gather_pixels(image, corner.place) for corner in corners], corners, mask)
        return total, _by_pixel(_product("kpj,kjo->kpo", _by_source(samples, kernel), kernel), len(mask))

    merged = _in_parts(part, (), image.shape, position, mask)[1]
    return rearrange(merged, "n p k o -> n p (k o)")


def _backward(saved: tuple[Array, ...], dy: Array) -> tuple[Array, ...]:
    image, position, mask, kernel = saved
    wide = position.dtype
    dy = rearrange(dy, "n p (k o) -> n p k o", k=len(kernel))

    def part(total: tuple, corners: list[Corner], mask: Array, dy: Array) -> tuple[tuple, tuple[Array, Array]]:
        dimage, dkernel = total
        pixels = [gather_pixels(image, corner.place) for corner in corners]
        samples = _sample(pixels, corners, mask)
        dy = rearrange(dy, "n p k o -> k (n p) o")
        # Of the two, dy is the one to be turned for the product: it has far fewer elements.
        dkernel += _product("kpo,kpj->koj", dy, _by_source(samples, kernel), wide)
        dsamples = _product("kpo,kjo->kpj", dy, kernel)
        dsamples = rearrange(
            dsamples, "k (n p) (tap g c) -> n p tap (k g) c", n=len(mask), tap=mask.shape[2], c=image.shape[-1]
        )
        dmask, dposition = jnp.zeros(mask.shape, wide), jnp.zeros((*mask.shape, 2), wide)
        for corner, pixel in zip(corners, pixels, strict=True):
            # What the loss would change by if every sample were this corner's pixel alone.
            alone = (pixel.astype(wide) * dsamples.astype(wide)).sum(-1)
            dmask += corner.weight * alone
            dposition += corner.slope * alone[..., None]
            dpixel = (corner.weight.astype(image.dtype) * mask)[..., None] * dsamples
            dimage = add_pixels(dimage, corner.place, dpixel)
        return (dimage, dkernel), (dposition * mask.astype(wide)[..., None], dmask)

    total = jnp.zeros(image.shape, image.dtype), jnp.zeros(kernel.swapaxes(1, 2).shape, wide)
    (dimage, dkernel), (dposition, dmask) = _in_parts(part, total, image.shape, position, mask, dy)
    return dimage, dposition, dmask.astype(mask.dtype), dkernel.swapaxes(1, 2).astype(kernel.dtype)


deformable_convolution.defvjp(lambda *inputs: (_forward(*inputs), inputs), _backward)


def _sample(pixels: Sequence[Array], corners: Sequence[Corner], mask: Array) -> Float[Array, "n p tap kg c"]:
    weighted = [
        pixel * corner.weight.astype(pixel.dtype)[..., None] for pixel, corner in zip(pixels, corners, strict=True)
    ]
    return sum(weighted[1:], weighted[0]) * mask[..., None]


def _by_source(samples: Float[Array, "n p tap kg c"], kernel: Array) -> Float[Array, "k np tapgc"]:
    return rearrange(samples, "n p tap (k g) c -> k (n p) (tap g c)", k=len(kernel))


def _by_pixel(merged: Float[Array, "k np o"], images: int) -> Float[Array, "n p k o"]:
    return rearrange(merged, "k (n p) o -> n p k o", n=images)


def _product(subscripts: str, a: Array, b: Array, dtype: Any = None) -> Array:
    return jnp.einsum(subscripts, a, b, preferred_element_type=dtype or a.dtype)


def _in_parts(part: Callable, total: Any, image: tuple[int, ...], position: Array, *others: Array) -> tuple[Any, Any]:
    """(total, results) of `part(total, corners, *others)` over all pixels, in equal parts one after the other.

    There are two levels: of a larger part the corners are computed, of its smaller parts the samples. The first are
    shared by all channels of a group, and XLA on CPUs would compute them again for every channel if they were not
    arrays of their own.
    """
    images, height, width, _, channels = image
    of_image = position.size // (2 * images) * channels

    def corners_of(most: int, total: Any, position: Array, *others: Array) -> tuple[Any, Any]:
        corners = bilinear_corners(position, height, width)
        samples = position.size // (2 * images) * channels
        return _scan(part, total, (corners, *others), parts=count_parts(samples, most=most, of=position.shape[1]))

    def both_levels(most_corners: int, most: int, total: Any, *arrays: Array) -> tuple[Any, Any]:
        parts = count_parts(of_image, most=most_corners, of=position.shape[1])
        return _scan(partial(corners_of, most), total, arrays, parts=parts)

    if of_image * images <= _SAMPLES_IN_CACHE:
        return part(total, bilinear_corners(position, height, width), *others)
    return lax.platform_dependent(
        total,
        position,
        *others,
        cpu=partial(both_levels, _SAMPLES_OF_CORNERS // images, _SAMPLES_IN_CACHE // images),
        # All images at once, whose number is no matter of one device's memory: devices may share them.
        default=partial(both_levels, _SAMPLES_OF_IMAGE, _SAMPLES_OF_IMAGE),
    )


def _scan(part: Callable, total: Any, arrays: tuple, *, parts: int) -> tuple[Any, Any]:
    """`part` of equal parts of the arrays' second axis; results are joined on theirs."""
    if parts == 1:
        return part(total, *arrays)
    cut = jax.tree.map(lambda x: rearrange(x, "n (parts p) ... -> parts n p ...", parts=parts), arrays)
    total, results = lax.scan(lambda total, arrays: part(total, *arrays), total, cut)
    return total, jax.tree.map(lambda x: rearrange(x, "parts n p ... -> n (parts p) ..."), results)
