"""The modulated deformable convolution (Zhu et al., 2019), in chunks that fit into the cache or the memory.

What is sampled is many times larger than what it is sampled from. Neither pass ever holds all of it: the backward pass
samples again, and adds the image's gradient up where it lies.

Who calls whom, b clips of n images of p pixels that look at each of k * g groups of c channels with `tap` taps:

    deformable_convolution(image [b, n, h, w, kg, c], position [b, n, p, tap, kg, 2], mask [b, n, p, tap, kg], kernel)
      _forward, _backward     each has an `of_images(schedule, image [i, h, w, kg, c], ...)`, which makes a `part`
        _choose_schedule      calls it, by the number of samples, b * n * p * tap * kg * c, and the platform
          few:           of_images(_in_one_go, ...)             i = b * n
          CPU:           of_images(_in_chunks_of_chunks, ...)   i = b * n, chunks of neighbouring p
          accelerators:  of_images(_in_chunks, ...)             for one n after the other, i = b, interleaved p
    schedule(part, total, image_shape, position [i, p, tap, kg, 2], *others [i, p, ...]) -> (total, results)
      it makes `corners` of the positions and calls the part for all p or for chunks of them
    part(total, corners, mask, ...) -> (total, results)
      total: of no pixel in particular (the gradients of image and kernel), carried on from chunk to chunk
      results: of pixels, [i, p, ...]
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array, lax
from jaxtyping import Float

from spikejax.models.schedule import Part, count_chunks, in_chunks
from spikejax.models.warp import Corner, add_pixels, bilinear_corners, flatten_pixels, gather_pixels

# Times below are CPU times of forward and backward with 34 million samples, medians of 4 runs in turn, two busy cores.
# Samples (positions times channels), 4 MiB on CPUs: a chunk's samples stay in the cache. So few are not worth a loop.
# Limits of 2^18 to 2^21 differ by less than 6%, 2^22 takes 1.24 of the time.
_SAMPLES_IN_CACHE = 2**20
# On CPUs: of the positions behind so many samples the corners are computed at once. 2^21 and 2^24 differ by 1%; with
# 2^20, the same chunks for corners and samples, it takes 1.36 of the time.
_SAMPLES_OF_CORNERS = 2**22
# On accelerators: of one image of every clip, whose few channels take the room of 128 there. A bound on memory, whose
# speed has not been measured.
_SAMPLES_OF_IMAGE = 2**22


@jax.custom_vjp
def deformable_convolution(
    image: Float[Array, "b n h w kg c"],
    position: Float[Array, "b n p tap kg 2"],
    mask: Float[Array, "b n p tap kg"],
    kernel: Float[Array, "k gtapc o"],
) -> Float[Array, "b n p ko"]:
    """The convolution of what p pixels of n images of a clip look at.

    Args:
        image: k sources of g groups of channels each.
        position: (column, row) of every tap, for each group of channels; zeros lie outside the image.
        mask: what every sample is multiplied with.
        kernel: of each source, over its taps, groups and channels; it makes o of the result's channels.
    """
    return _forward(image, position, mask, kernel)


def _forward(image: Array, position: Array, mask: Array, kernel: Array) -> Array:
    def of_images(schedule: Callable, image: Array, position: Array, mask: Array) -> tuple[None, Array]:
        pixels = flatten_pixels(image)

        def part(total: None, corners: list[Corner], mask: Array) -> tuple[None, Array]:
            samples = _sample([gather_pixels(pixels, corner.flat_index) for corner in corners], corners, mask)
            return total, _by_pixel(_product("kpj,kjo->kpo", _by_source(samples, kernel), kernel), len(mask))

        _, merged = schedule(part, None, image.shape, position, mask)
        return None, rearrange(merged, "i p k o -> i p (k o)")

    return _choose_schedule(of_images, image, position, mask)[1]


def _backward(saved: tuple[Array, ...], dy: Array) -> tuple[Array, ...]:
    """The gradients of image, position, mask and kernel, of that of the result, `dy`.

    With corners q of a position, their weights b_q(position) and pixels x_q, samples s = mask * sum_q b_q x_q and
    result y = s kernel, for every pixel, tap and group:

        dkernel = sum over pixels of s dy           ds = dy kernel
        dx_q += b_q mask ds                         dmask = sum_q b_q (x_q ds)
        dposition = mask * sum_q slope_q (x_q ds)   (x_q ds is summed over the group's channels)
    """
    image, position, mask, kernel = saved
    accumulate_dtype = position.dtype

    def of_images(
        schedule: Callable, image: Array, position: Array, mask: Array, dy: Array
    ) -> tuple[Array, tuple[Array, Array, Array]]:
        pixels = flatten_pixels(image)

        def part(
            total: tuple[Array, Array], corners: list[Corner], mask: Array, dy: Array
        ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            dpixels, dkernel = total
            # Every corner is gathered once: for the samples that the kernel met, and for the gradients below.
            gathered = [gather_pixels(pixels, corner.flat_index) for corner in corners]
            samples = _sample(gathered, corners, mask)
            dy = rearrange(dy, "i p k o -> k (i p) o")
            # Of the two, dy is the one to be transposed for the product: it has far fewer elements.
            dkernel += _product("kpo,kpj->koj", dy, _by_source(samples, kernel), accumulate_dtype)
            dsamples = _product("kpo,kjo->kpj", dy, kernel)
            dsamples = rearrange(
                dsamples, "k (i p) (tap g c) -> i p tap (k g) c", i=len(mask), tap=mask.shape[2], c=pixels.shape[-1]
            )
            dmask, dposition = jnp.zeros(mask.shape, accumulate_dtype), jnp.zeros((*mask.shape, 2), accumulate_dtype)
            for corner, pixel in zip(corners, gathered, strict=True):
                # What the loss would change by if every sample were this corner's pixel alone.
                alone = (pixel.astype(accumulate_dtype) * dsamples.astype(accumulate_dtype)).sum(-1)
                dmask += corner.weight * alone
                dposition += corner.slope * alone[..., None]
                dpixel = (corner.weight.astype(pixel.dtype) * mask)[..., None] * dsamples
                dpixels = add_pixels(dpixels, corner.flat_index, dpixel)
            return (dpixels, dkernel), (dposition * mask.astype(accumulate_dtype)[..., None], dmask)

        total = jnp.zeros_like(pixels), jnp.zeros(kernel.swapaxes(1, 2).shape, accumulate_dtype)
        (dpixels, dkernel), (dposition, dmask) = schedule(part, total, image.shape, position, mask, dy)
        return dkernel, (dpixels.reshape(image.shape), dposition, dmask.astype(mask.dtype))

    dy = rearrange(dy, "b n p (k o) -> b n p k o", k=len(kernel))
    dkernel, dinputs = _choose_schedule(of_images, image, position, mask, dy)
    return *dinputs, dkernel.swapaxes(1, 2).astype(kernel.dtype)


def _forward_and_save(image: Array, position: Array, mask: Array, kernel: Array) -> tuple[Array, tuple[Array, ...]]:
    return _forward(image, position, mask, kernel), (image, position, mask, kernel)


deformable_convolution.defvjp(_forward_and_save, _backward)


def _sample(pixels: Sequence[Array], corners: Sequence[Corner], mask: Array) -> Float[Array, "i p tap kg c"]:
    weighted = [
        pixel * corner.weight.astype(pixel.dtype)[..., None] for pixel, corner in zip(pixels, corners, strict=True)
    ]
    return sum(weighted[1:], weighted[0]) * mask[..., None]


def _by_source(samples: Float[Array, "i p tap kg c"], kernel: Array) -> Float[Array, "k ip tapgc"]:
    return rearrange(samples, "i p tap (k g) c -> k (i p) (tap g c)", k=len(kernel))


def _by_pixel(merged: Float[Array, "k ip o"], images: int) -> Float[Array, "i p k o"]:
    return rearrange(merged, "k (i p) o -> i p k o", i=images)


def _product(subscripts: str, a: Array, b: Array, dtype: Any = None) -> Array:
    return jnp.einsum(subscripts, a, b, preferred_element_type=dtype or a.dtype)


def _choose_schedule(of_images: Callable, image: Array, position: Array, *others: Array) -> tuple[Any, Any]:
    """`of_images(schedule, image, position, *others)` of the images of all clips: its total and its results."""
    clips = len(image)

    def all_images(schedule: Callable, *arrays: Array) -> tuple[Any, Any]:
        one_list = jax.tree.map(lambda x: rearrange(x, "b n ... -> (b n) ..."), arrays)
        total, results = of_images(schedule, *one_list)
        return total, jax.tree.map(lambda x: rearrange(x, "(b n) ... -> b n ...", b=clips), results)

    def image_by_image(*arrays: Array) -> tuple[Any, Any]:
        # Accelerators store a pixel's few channels in the space of 128. An image of every clip and pixels of all rows
        # are worked on at once, so that devices may share clips or rows.
        cut = jax.tree.map(lambda x: rearrange(x, "b n ... -> n b ..."), arrays)
        totals, results = lax.map(lambda arrays: of_images(_in_chunks, *arrays), cut)
        total = jax.tree.map(lambda x: x.sum(0), totals)
        return total, jax.tree.map(lambda x: rearrange(x, "n b ... -> b n ..."), results)

    if _count_samples(image.shape, position) <= _SAMPLES_IN_CACHE:
        return all_images(_in_one_go, image, position, *others)
    on_cpus = partial(all_images, _in_chunks_of_chunks)
    return lax.platform_dependent(image, position, *others, cpu=on_cpus, default=image_by_image)


def _in_one_go(part: Part, total: Any, image: tuple[int, ...], position: Array, *others: Array) -> tuple[Any, Any]:
    """`part(total, corners, *others)` of all pixels."""
    return part(total, bilinear_corners(position, *image[1:3]), *others)


def _in_chunks(part: Part, total: Any, image: tuple[int, ...], position: Array, *others: Array) -> tuple[Any, Any]:
    """The same, of some of the pixels of every image at a time."""
    samples = _count_samples(image, position) // image[0]
    chunks = count_chunks(samples, limit=_SAMPLES_OF_IMAGE, divides=position.shape[1])

    def of_chunk(total: Any, position: Array, *others: Array) -> tuple[Any, Any]:
        return _in_one_go(part, total, image, position, *others)

    return in_chunks(of_chunk, total, (position, *others), chunks=chunks, interleaved=True)


def _in_chunks_of_chunks(
    part: Part, total: Any, image: tuple[int, ...], position: Array, *others: Array
) -> tuple[Any, Any]:
    """The same in chunks of neighbours: of a larger chunk the corners are computed, of its smaller ones the samples.

    The first are shared by all channels of a group, and XLA on CPUs would compute them again for every channel if they
    were not arrays of their own.
    """

    def of_larger(total: Any, position: Array, *others: Array) -> tuple[Any, Any]:
        corners = bilinear_corners(position, *image[1:3])
        samples, pixels = _count_samples(image, position), position.shape[1]
        chunks = count_chunks(samples, limit=_SAMPLES_IN_CACHE, divides=pixels)
        return in_chunks(part, total, (corners, *others), chunks=chunks, interleaved=False)

    samples, pixels = _count_samples(image, position), position.shape[1]
    chunks = count_chunks(samples, limit=_SAMPLES_OF_CORNERS, divides=pixels)
    return in_chunks(of_larger, total, (position, *others), chunks=chunks, interleaved=False)


def _count_samples(image: tuple[int, ...], position: Array) -> int:
    """How many numbers are sampled at `position` from images of that shape."""
    return position.size // 2 * image[-1]
