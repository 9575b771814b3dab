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
from spikejax.models.warp import Corner, add_pixels, bilinear_corners, flatten_pixels, gather_pixels

# Samples (positions times channels) held at once: of one frame of every clip; on CPUs of all images, of which a few
# megabytes stay in the cache.
_SAMPLES_OF_FRAME = 2**22
_SAMPLES_IN_CACHE = 2**20
_SAMPLES_OF_CORNERS = 2**22


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def deformable_convolution(
    image: Float[Array, "n h w kg c"],
    position: Float[Array, "n p tap kg 2"],
    mask: Float[Array, "n p tap kg"],
    kernel: Float[Array, "k gtapc o"],
    clips: int = 1,
) -> Float[Array, "n p ko"]:
    """The convolution of what is seen from p pixels.

    Args:
        image: k sources of g groups of channels each.
        position: (column, row) of every tap, for each group of channels; zeros lie outside the image.
        mask: what every sample is multiplied with.
        kernel: of each source, over its taps, groups and channels; it makes o of the result's channels.
        clips: how many clips the images are of, one clip's images after the other's. Devices may share them.
    """
    return _forward(image, position, mask, kernel, clips)


def _forward(image: Array, position: Array, mask: Array, kernel: Array, clips: int) -> Array:
    def of_images(in_parts: Callable, image: Array, position: Array, mask: Array) -> tuple[Array, None]:
        pixels = flatten_pixels(image)

        def part(total: None, corners: list[Corner], mask: Array) -> tuple[None, Array]:
            samples = _sample([gather_pixels(pixels, corner.place) for corner in corners], corners, mask)
            return None, _by_pixel(_product("kpj,kjo->kpo", _by_source(samples, kernel), kernel), len(mask))

        merged = in_parts(part, None, image.shape, position, mask)[1]
        return rearrange(merged, "n p k o -> n p (k o)"), None

    return _by_platform(of_images, clips, image, position, mask)[0]


def _backward(clips: int, saved: tuple[Array, ...], dy: Array) -> tuple[Array, ...]:
    image, position, mask, kernel = saved
    wide = position.dtype

    def of_images(in_parts: Callable, image: Array, position: Array, mask: Array, dy: Array) -> tuple[tuple, Array]:
        pixels = flatten_pixels(image)

        def part(total: tuple, corners: list[Corner], mask: Array, dy: Array) -> tuple[tuple, tuple[Array, Array]]:
            dpixels, dkernel = total
            seen = [gather_pixels(pixels, corner.place) for corner in corners]
            samples = _sample(seen, corners, mask)
            dy = rearrange(dy, "n p k o -> k (n p) o")
            # Of the two, dy is the one to be turned for the product: it has far fewer elements.
            dkernel += _product("kpo,kpj->koj", dy, _by_source(samples, kernel), wide)
            dsamples = _product("kpo,kjo->kpj", dy, kernel)
            dsamples = rearrange(
                dsamples, "k (n p) (tap g c) -> n p tap (k g) c", n=len(mask), tap=mask.shape[2], c=pixels.shape[-1]
            )
            dmask, dposition = jnp.zeros(mask.shape, wide), jnp.zeros((*mask.shape, 2), wide)
            for corner, pixel in zip(corners, seen, strict=True):
                # What the loss would change by if every sample were this corner's pixel alone.
                alone = (pixel.astype(wide) * dsamples.astype(wide)).sum(-1)
                dmask += corner.weight * alone
                dposition += corner.slope * alone[..., None]
                dpixel = (corner.weight.astype(pixel.dtype) * mask)[..., None] * dsamples
                dpixels = add_pixels(dpixels, corner.place, dpixel)
            return (dpixels, dkernel), (dposition * mask.astype(wide)[..., None], dmask)

        total = jnp.zeros_like(pixels), jnp.zeros(kernel.swapaxes(1, 2).shape, wide)
        (dpixels, dkernel), (dposition, dmask) = in_parts(part, total, image.shape, position, mask, dy)
        return (dpixels.reshape(image.shape), dposition, dmask.astype(mask.dtype)), dkernel

    dy = rearrange(dy, "n p (k o) -> n p k o", k=len(kernel))
    dinputs, dkernel = _by_platform(of_images, clips, image, position, mask, dy)
    return *dinputs, dkernel.swapaxes(1, 2).astype(kernel.dtype)


def _forward_and_save(
    image: Array, position: Array, mask: Array, kernel: Array, clips: int
) -> tuple[Array, tuple[Array, ...]]:
    return _forward(image, position, mask, kernel, clips), (image, position, mask, kernel)


deformable_convolution.defvjp(_forward_and_save, _backward)


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


def _by_platform(of_images: Callable, clips: int, image: Array, position: Array, *others: Array) -> tuple[Any, Any]:
    """`of_images(in_parts, image, position, *others)`: arrays of the images, and arrays that are sums over them."""

    def frame_by_frame(*arrays: Array) -> tuple[Any, Any]:
        # Accelerators store a pixel's few channels in the space of 128. A frame of every clip and pixels of all rows
        # are worked on at once, so that devices may share clips or rows.
        frames = jax.tree.map(lambda x: rearrange(x, "(clips frame) ... -> frame clips ...", clips=clips), arrays)
        results, totals = lax.map(lambda arrays: of_images(_one_level, *arrays), frames)
        results = jax.tree.map(lambda x: rearrange(x, "frame clips ... -> (clips frame) ..."), results)
        return results, jax.tree.map(lambda x: x.sum(0), totals)

    if position.size // 2 * image.shape[-1] <= _SAMPLES_IN_CACHE:
        return of_images(_at_once, image, position, *others)
    return lax.platform_dependent(
        *(image, position, *others), cpu=partial(of_images, _two_levels), default=frame_by_frame
    )


def _at_once(part: Callable, total: Any, image: tuple[int, ...], position: Array, *others: Array) -> tuple[Any, Any]:
    """(total, results) of `part(total, corners, *others)` over all pixels."""
    return part(total, bilinear_corners(position, *image[1:3]), *others)


def _one_level(part: Callable, total: Any, image: tuple[int, ...], position: Array, *others: Array) -> tuple[Any, Any]:
    """The same in equal parts one after the other, the pixels of each spread over the images."""
    parts = count_parts(_samples(image, position) // image[0], most=_SAMPLES_OF_FRAME, of=position.shape[1])

    def of_part(total: Any, position: Array, *others: Array) -> tuple[Any, Any]:
        return _at_once(part, total, image, position, *others)

    return _scan(of_part, total, (position, *others), parts=parts, spread=True)


def _two_levels(part: Callable, total: Any, image: tuple[int, ...], position: Array, *others: Array) -> tuple[Any, Any]:
    """The same in parts of neighbours: of a larger part the corners are computed, of its smaller parts the samples.

    The first are shared by all channels of a group, and XLA on CPUs would compute them again for every channel if they
    were not arrays of their own.
    """

    def of_larger(total: Any, position: Array, *others: Array) -> tuple[Any, Any]:
        corners = bilinear_corners(position, *image[1:3])
        parts = count_parts(_samples(image, position), most=_SAMPLES_IN_CACHE, of=position.shape[1])
        return _scan(part, total, (corners, *others), parts=parts, spread=False)

    parts = count_parts(_samples(image, position), most=_SAMPLES_OF_CORNERS, of=position.shape[1])
    return _scan(of_larger, total, (position, *others), parts=parts, spread=False)


def _samples(image: tuple[int, ...], position: Array) -> int:
    """How many numbers are sampled at `position` from images of that shape."""
    return position.size // 2 * image[-1]


def _scan(part: Callable, total: Any, arrays: tuple, *, parts: int, spread: bool) -> tuple[Any, Any]:
    """`part` of equal parts of the arrays' second axis, of neighbours or `spread`; results are joined on theirs."""
    if parts == 1:
        return part(total, *arrays)
    axis = "(p parts)" if spread else "(parts p)"
    cut = jax.tree.map(lambda x: rearrange(x, f"n {axis} ... -> parts n p ...", parts=parts), arrays)
    total, results = lax.scan(lambda total, arrays: part(total, *arrays), total, cut)
    return total, jax.tree.map(lambda x: rearrange(x, f"parts n p ... -> n {axis} ..."), results)
